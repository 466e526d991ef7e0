"""The sweep's single source of truth: one Optuna study that knows every trial, its state, rungs, verdicts, scores and
checkpoints.

It is written before anything acts on it, so whatever dies, opening it again tells what to do next. Each step is one
append: ``report:<images>``, then ``trial`` (our record, as JSON in a user attribute), then Optuna's own state. A death
in the middle leaves a state that ``_mend`` or the next leg completes. It is read once, when it is opened: its
driver is the only one who writes, and knows the rest.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from orchestrator.paths import RunKey, key_word
from orchestrator.search import objective, rungs
from orchestrator.search.asking import View, propose
from orchestrator.search.attributes import Attributes
from orchestrator.search.budget import BudgetTracker, Clock
from orchestrator.search.ends import end_of
from orchestrator.search.first_rung import measured
from orchestrator.search.identity import studied
from orchestrator.search.journal import Place, Study, place
from orchestrator.search.kept import kept
from orchestrator.search.known import ADDED, FIRST_RUNG, HOURS, TAKEN, Known, SweepState
from orchestrator.search.lease import Lease, place_of
from orchestrator.search.points import Points
from orchestrator.search.population import Exploit, Population, explored
from orchestrator.search.record import ended, record_of
from orchestrator.search.space import distribution
from orchestrator.search.trial import Blame, Leg, Origin, Trial, one_more, used_up, with_newest
from orchestrator.search.warm import WARM, shown
from orchestrator.settings.groups import Budget
from orchestrator.spec import Sweep

MINUTE = 1 / 60
"""Hours of a driver that are lost with it, at most."""


class Ledger(Attributes):
    """What its driver asks and writes. Safe to use from several threads of one process."""

    def __init__(self, sweep: Sweep, study: Study, studies: Place, clock: Clock = time.monotonic) -> None:
        super().__init__(sweep, study, studies)
        self._in_flight: set[int] = set()
        self._writer.forget()
        self._points = Points(sweep, (trial.params for trial in self.founders()))
        self._ladder = self._climbed()
        self._view = View(sweep, shown(self._attrs[WARM], sweep) if WARM in self._attrs else ())
        for trial in self._trials:
            self._view.put(trial, self._writer.trials[trial.id])
        images = sum(t.images - t.begun for t in self._trials) + sum(run.images for run in self.confirmations.all())
        self._tracker = BudgetTracker(sweep, self.spent(), images, clock)

    @classmethod
    def open(
        cls,
        sweep: Sweep,
        default: Path | str,
        lease: Lease | None = None,
        clock: Clock = time.monotonic,
        new_space: bool = False,
        before: Known | None = None,
    ) -> Ledger:
        """The ledger of ``sweep``, made where there is none, written while the ``lease`` lasts; ``default`` is where it
        is for ``auto``, and the budget is counted by the ``clock``. Raises UserError where it was made for other
        settings; a ``new_space`` may be one. A new sweep begins with what the one ``before`` knows.
        """
        studies = place(place_of(sweep, default), lease)
        study = studied(sweep, studies, new_space, before)
        ledger = cls(sweep, study, studies, clock)
        ledger._mend()
        return ledger

    def _mend(self) -> None:
        """Finish what a death between two appends left half told: legs that were at their end, and Optuna's state."""
        for trial in self.trials():
            self._settle(trial)
            if trial.origin:
                self._prune(trial.origin.replaced)
        self.confirmations.mend()

    # -- what comes next -------------------------------------------------------------------------------------------

    def next_leg(self) -> Leg | Literal["wait", "done"]:
        """The next leg for a free slot, already written down as running; ``wait`` while only running legs can free more
        work.
        """
        with self._lock:
            while isinstance(decision := self._decide(frozenset(self._in_flight)), Exploit):
                self._exploit(decision)
            if decision == "ask":
                trial = self._ask()
            elif isinstance(decision, rungs.Continue):
                trial = replace(decision.trial, state="running", target=decision.until)
                self._write(trial)
            else:  # a slot that the search can't use, now or any more, confirms the best that stand
                leg = self.confirmations.next_leg(self._trials)
                if isinstance(leg, Leg):
                    run = self.confirmations.of_leg(leg)
                    self._tracker.begin(leg.run, leg.until - run.images, not (run.reports or run.failures))
                return decision if leg == "done" else leg
            self._in_flight.add(trial.id)
            self._tracker.begin(trial.id, trial.target - trial.images, decision == "ask")
            return Leg(trial.id, trial.params, trial.target, trial.checkpoints, shared=self.branches())

    def has_more(self) -> bool:
        """Whether the search has a leg for a free slot."""
        with self._lock:
            return self._decide(frozenset(self._in_flight)) not in ("wait", "done")

    def is_over(self) -> bool:
        """Whether neither search nor confirmation has a leg left."""
        return self._decide(frozenset()) == "done" and self.confirmations.are_done(self._trials)

    def release(self) -> None:
        """Forget which legs are in flight (their executor is gone); they will be handed out again."""
        self._in_flight.clear()
        self.confirmations.release()

    def _decide(self, in_flight: frozenset[int]) -> rungs.Decision | Exploit:
        """The next leg of the search that fits into the budget, beside what confirmation needs."""
        decision = self._ladder.decide(in_flight, self._may_ask())
        if self.sweep.budget == Budget():
            return decision
        self.confirmations.plan(self._tracker.affords)
        if decision == "ask":
            new, until = 1, self.ranked.rung_images()[0]
            images = until
        elif isinstance(decision, rungs.Continue):
            new, until, images = 0, decision.until, decision.images
        else:
            return decision
        finish = until < self.sweep.train.images and not self._ladder.has_finished
        fits = self._tracker.has_room(new, images, self.confirmations.ahead, finish)
        if fits or in_flight:
            return decision if fits else "wait"
        last = self._ladder.last_call(keep=1)
        return last if last and self._tracker.has_room(0, last.images, [], finish=False) else "done"

    def _may_ask(self) -> bool:
        wanted = len(self.founders()) < self.sweep.search.trials or self._attrs.get(ADDED)
        return bool(wanted) and self._points.any_left()

    def _ask(self) -> Trial:
        """A new trial, proposed by the sampler on a view of the ledger and written down before anything trains it."""
        number = len(self._trials)
        added = self._attrs.get(ADDED, [])
        params = propose(self.sweep, number, self._view, self._writer.trials, self._points, added)
        trial = self._begin(Trial(number, params, "running", self.ranked.rung_images()[0]))
        self._points.add(params)
        if added and number >= len(self.sweep.search.start_with):
            self._set(ADDED, added[1:])
        return trial

    def _exploit(self, decision: Exploit) -> None:
        """A new trial from the checkpoint of another, in place of a third."""
        number, parent, replaced = len(self._trials), decision.parent, decision.replaced
        assert parent.checkpoint is not None
        params = explored(self.sweep.search.space, parent.params, self.sweep.search.seed, number)
        origin = Origin(parent.id, parent.images, parent.checkpoint, replaced.id)
        trial = Trial(number, params, "waiting", parent.target, parent.images, parent.rung, origin=origin)
        self._begin(replace(trial, checkpoints=(parent.checkpoint,)))
        self._prune(replaced.id)

    def _prune(self, number: int) -> None:
        """Another trial has taken its place."""
        if not self.trial(number).ended:
            self._write(ended(self.trial(number), "pruned"))

    def _begin(self, trial: Trial) -> Trial:
        """Writes a new trial down."""
        trial = replace(trial, violations=objective.violations(self.sweep.objective, {}))
        space = {name: distribution(self.sweep.search.space[name]) for name in trial.params}
        self._writer.add(kept(trial.params), space, record_of(trial))
        self._trials.append(trial)
        self._know(trial)
        return trial

    def take(self, key: str, request: Mapping[str, Any]) -> Trial | None:
        """A request, once: settings to try next, or a trial that is to end. Returns a trial that ended by it."""
        with self._lock:
            if key in (taken := self._attrs.get(TAKEN, [])):
                return None
            trial = None
            if "add" in request:
                self._set(ADDED, [*self._attrs.get(ADDED, []), request["add"]])
            elif not self.trial(request["stop"]).ended:
                trial = replace(self.trial(request["stop"]), unwanted=True)
                trial = trial if trial.id in self._in_flight else ended(trial, "pruned")
                self._write(trial)
            self._set(TAKEN, [*taken, key])
            return trial if trial and trial.ended else None

    # -- what happened ---------------------------------------------------------------------------------------------

    def report(self, leg: Leg, report: Mapping[str, Any]) -> None:
        """Write down one report of a leg (as ``Report.as_dict``, with the keys of the checkpoints ``stored`` so far and
        the speed), after ``require_comparable``.
        """
        with self._lock:
            if self._tracker.hours > self._attrs.get(HOURS, 0.0) + MINUTE:
                self._set(HOURS, self._tracker.hours)
            images, metrics = report["images"], report["metrics"]
            if leg.confirm_seed is not None:
                more = images - self.confirmations.of_leg(leg).images
                self.confirmations.report(leg, report, self._tracker.took(leg.run, more))
                return
            trial = self.trial(leg.trial)
            if trial.ended:
                return
            reports = {**trial.reports, images: metrics}
            scores = objective.scores(self.sweep.objective, reports)
            trial = replace(
                trial,
                images=images,
                reports=reports,
                score=scores[0] if scores else None,
                scores=scores,
                violations=objective.violations(self.sweep.objective, reports),
                verdict=report["health"]["verdict"],
                reasons=tuple(report["health"]["reasons"]),
                checkpoints=tuple(report["stored"]),
                images_per_second=round(report["images_per_second"], 1),
                device_seconds=trial.device_seconds + self._tracker.took(leg.run, images - trial.images),
                reported_at=report["timestamp"],
            )
            self._writer.report(trial.id, report, trial.score, record_of(trial))
            self._know(trial)

    def stored_late(self, leg: Leg, checkpoint: str) -> None:
        """A checkpoint whose upload ended after the leg's last report."""
        with self._lock:
            if leg.confirm_seed is not None:
                self.confirmations.stored_late(leg, checkpoint)
                return
            trial = self.trial(leg.trial)
            self._write(replace(trial, checkpoints=with_newest(trial.checkpoints, checkpoint)))

    def end_leg(self, leg: Leg) -> Trial | None:
        """A leg came to its end: the trial waits at a rung, or has ended. None for a confirmation."""
        with self._lock:
            self._tracker.end(leg.run)
            if leg.confirm_seed is not None:
                self.confirmations.end_leg(leg)
                return None
            self._in_flight.discard(leg.trial)
            return self._settle(self.trial(leg.trial))

    def fail_leg(self, leg: Leg, error: str, blame: Blame | None = "rank") -> Trial | None:
        """A leg died; it is handed out again from the last checkpoint until the retries of a class of failures are used
        up. No ``blame``: the trial is not at fault, and keeps them.
        """
        with self._lock:
            took = self._tracker.took(leg.run)
            self._tracker.end(leg.run)
            if leg.confirm_seed is not None:
                self.confirmations.fail_leg(leg, error, blame, took)
                return None
            self._in_flight.discard(leg.trial)
            trial = self.trial(leg.trial)
            seconds = trial.device_seconds + took
            failures = one_more(trial.failures, blame)
            trial = replace(trial, failures=failures, error=error, device_seconds=seconds)
            if used_up(failures):
                trial = replace(trial, state="crashed", score=None, scores=())
            self._write(trial)
            return trial

    def close(self) -> list[Trial]:
        """The search is over: trials that wait at a rung, or could go on if the budget allowed it, end as pruned, or as
        what they have become. Returns them.
        """
        with self._lock:
            pruned = [ended(trial, "pruned") for trial in self._trials if not trial.ended]
            for trial in pruned:
                self._write(trial)
            return pruned

    def set_run(self, key: RunKey, run_id: str) -> None:
        """Remember an MLflow run."""
        with self._lock:
            self._writer.set_attr(f"run:{key_word(key)}", run_id)
            if isinstance(key, int):
                self._know(replace(self._trials[key], mlflow_run_id=run_id))

    def set_state(self, state: SweepState) -> None:
        """How the sweep stands; the driver's hours count while it runs."""
        self._tracker.drive(runs=state == "running")
        self._set(HOURS, self._tracker.hours)
        self._set("gansweep.state", state)

    # -- below -----------------------------------------------------------------------------------------------------

    def _settle(self, trial: Trial) -> Trial:
        """A trial after its leg: ended, waiting at a rung, or the same where it was cut short between two reports and
        is to be handed out again.
        """
        settled = self._settled(trial) if trial.state == "running" else trial
        if settled is not trial or self._is_untold(settled):
            self._write(settled)
        if self.sweep.startup and not self.first_rung and (found := measured(self.sweep, self._trials)):
            self._set(FIRST_RUNG, found)
            self._trials = self._past_all_rungs()
            self._ladder = self._climbed()
        return self._trials[trial.id]

    def _climbed(self) -> rungs.Ladder | Population:
        rules = rungs.rules_of(self.sweep, self.ranked.rung_images())
        if self.sweep.population:
            return Population(rules, self.sweep.population.replace, self.sweep.search.seed, self._trials)
        return rungs.Ladder(rules, self._trials)

    def _settled(self, trial: Trial) -> Trial:
        levels = self.ranked.rung_images()
        if self.sweep.health.stops(trial.verdict):
            return ended(trial, "finished")
        if trial.unwanted:
            return ended(trial, "pruned")
        if trial.images >= levels[-1]:
            return replace(ended(trial, "finished"), rung=len(levels))
        if trial.images >= trial.target:
            return replace(trial, state="waiting", rung=levels.index(trial.target) + 1, failures={})
        return trial

    def _write(self, trial: Trial) -> None:
        self._writer.write(
            trial.id, record_of(trial), end_of(trial, self._worst_scores) if self._is_untold(trial) else None
        )
        self._know(trial)

    def _know(self, trial: Trial) -> None:
        self._trials[trial.id] = trial
        self._ladder.put(trial)
        self._view.put(trial, self._writer.trials[trial.id])

    def _is_untold(self, trial: Trial) -> bool:
        """Whether it has ended, and Optuna's part of it has not."""
        return trial.ended and not self._writer.trials[trial.id].state.is_finished()

    def _worst_scores(self) -> objective.Scores:
        return objective.worst(self.sweep.objective, (trial.scores for trial in self._trials if trial.scores))
