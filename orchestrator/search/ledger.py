"""The sweep's single source of truth: one Optuna study that knows every trial, its state, rungs, verdicts, scores and
checkpoints.

It is written before anything acts on it, so whatever dies, opening it again tells what to do next. Each step is one
append: ``report:<images>``, then ``trial`` (our record, as JSON in a user attribute), then Optuna's own state. A death
in the middle leaves a state that ``_mend`` or the next leg completes. It is read once, when it is opened: its
driver is the only one who writes, and knows the rest.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from optuna.study import StudyDirection

from orchestrator.paths import RunKey, key_word
from orchestrator.search import objective, rungs
from orchestrator.search.asking import View, propose
from orchestrator.search.book import Book
from orchestrator.search.effort import confirming
from orchestrator.search.ends import end_of
from orchestrator.search.identity import makes_way, refuse_other_settings
from orchestrator.search.journal import Place, Study, place
from orchestrator.search.kept import kept
from orchestrator.search.known import FILE, MADE, Known, SweepState
from orchestrator.search.lease import Lease, place_of
from orchestrator.search.points import Points
from orchestrator.search.record import ended, history_of, record_of
from orchestrator.search.space import distribution
from orchestrator.search.trial import RETRIES, Leg, Trial, with_newest
from orchestrator.secrets import without_secrets
from orchestrator.spec import Sweep
from trainers.provenance import require_comparable


class Ledger(Known):
    """What its driver asks and writes. Safe to use from several threads of one process."""

    def __init__(self, sweep: Sweep, study: Study, studies: Place) -> None:
        super().__init__(sweep)
        self._studies = studies
        self._lock = threading.RLock()
        self._in_flight: set[int] = set()
        self._book = Book(study)
        self._take(study.attrs, study.trials, self._book.set_attr)
        self._book.forget()
        self._points = Points(sweep, (trial.params for trial in self._trials))
        self._ladder = rungs.Ladder(self._rules(), self._trials)
        self._view = View(sweep)
        for trial in self._trials:
            self._view.put(trial, self._book.trials[trial.id])

    @classmethod
    def open(cls, sweep: Sweep, default: Path | str, lease: Lease | None = None) -> Ledger:
        """The ledger of ``sweep``, made where there is none, written while the ``lease`` lasts; ``default`` is where it
        is for ``auto``. Raises UserError where it holds another search space.
        """
        studies = place(place_of(sweep, default), lease)
        study = studies.find(sweep.name)
        if study and makes_way(study, sweep):
            studies.delete(study)
            study = None
        if study is None:
            minimize = sweep.objective.direction == "minimize"
            study = studies.create(sweep.name, StudyDirection.MINIMIZE if minimize else StudyDirection.MAXIMIZE)
            book = Book(study)
            book.set_attr("gansweep.comparable", sweep.comparable())
            book.set_attr("gansweep.id", uuid.uuid4().hex)
        refuse_other_settings(sweep, study.attrs)
        ledger = cls(sweep, study, studies)
        ledger._mend()
        return ledger

    def _mend(self) -> None:
        """Finish what a death between two appends left half told: legs that were at their end, and Optuna's state."""
        for trial in self.trials():
            self._settle(trial)
        self.confirmations.mend()

    # -- what comes next -------------------------------------------------------------------------------------------

    def next_leg(self) -> Leg | Literal["wait", "done"]:
        """The next leg for a free slot, already written down as running; ``wait`` while only running legs can free more
        work.
        """
        with self._lock:
            decision = self._ladder.decide(frozenset(self._in_flight), self._may_ask())
            if decision == "ask":
                trial = self._ask()
            elif isinstance(decision, rungs.Continue):
                trial = replace(decision.trial, state="running", target=decision.until)
                self._write(trial)
            else:  # a slot that the search can't use, now or any more, confirms the best that stand
                leg = self.confirmations.next_leg(self._trials)
                return decision if leg == "done" else leg
            self._in_flight.add(trial.id)
            return Leg(trial.id, trial.params, trial.target, trial.checkpoints)

    def has_more(self) -> bool:
        """Whether the search has a leg for a free slot."""
        with self._lock:
            return self._ladder.decide(frozenset(self._in_flight), self._may_ask()) not in ("wait", "done")

    def is_over(self) -> bool:
        """Whether neither search nor confirmation has a leg left."""
        searched = self._ladder.decide(frozenset(), self._may_ask()) == "done"
        return searched and self.confirmations.are_done(self._trials)

    def release(self) -> None:
        """Forget which legs are in flight (their executor is gone); they will be handed out again."""
        self._in_flight.clear()
        self.confirmations.release()

    def _rules(self) -> rungs.Rules:
        sweep = self.sweep
        reduction = sweep.rungs.reduction if sweep.rungs else 2
        return rungs.Rules(sweep.rung_images(), reduction, max(1, confirming(sweep).top), sweep.objective)

    def _may_ask(self) -> bool:
        return len(self._trials) < self.sweep.search.trials and self._points.any_left()

    def _ask(self) -> Trial:
        """A new trial, proposed by the sampler on a view of the ledger and written down before anything trains it."""
        number = len(self._trials)
        params = propose(self.sweep, number, self._view, self._book.trials, self._points)
        unmeasured = objective.violations(self.sweep.objective, {})
        trial = Trial(number, params, "running", self.sweep.rung_images()[0], violations=unmeasured)
        space = {name: distribution(self.sweep.search.space[name]) for name in params}
        self._book.add(kept(params), space, record_of(trial))
        self._points.add(params)
        self._trials.append(trial)
        self._know(trial)
        return trial

    # -- what happened ---------------------------------------------------------------------------------------------

    def report(self, leg: Leg, report: Mapping[str, Any]) -> None:
        """Write down one report of a leg (as ``Report.as_dict``, with the keys of the checkpoints ``stored`` so far and
        the speed), after ``require_comparable``.
        """
        with self._lock:
            if leg.confirm_seed is not None:
                self.confirmations.report(leg, report)
                return
            trial, images, metrics = self.trial(leg.trial), report["images"], report["metrics"]
            if trial.ended:
                return
            reports = {**trial.reports, images: metrics}
            trial = replace(
                trial,
                images=images,
                reports=reports,
                score=objective.score(self.sweep.objective, reports),
                violations=objective.violations(self.sweep.objective, reports),
                verdict=report["health"]["verdict"],
                reasons=tuple(report["health"]["reasons"]),
                checkpoints=tuple(report["stored"]),
                images_per_second=round(report["images_per_second"], 1),
                reported_at=report["timestamp"],
            )
            value = objective.score(self.sweep.objective, {images: metrics})
            self._book.report(trial.id, report, value, record_of(trial))
            self._know(trial)

    def require_comparable(self, leg: Leg, provenance: dict[str, Any]) -> None:
        """Raises IncomparableError where a leg measures in another way than the legs before."""
        if known := self.provenance:
            require_comparable({"this sweep so far": known, f"trial {leg.trial} now": provenance})
        else:
            self._set("gansweep.provenance", provenance)

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
            if leg.confirm_seed is not None:
                self.confirmations.end_leg(leg)
                return None
            self._in_flight.discard(leg.trial)
            return self._settle(self.trial(leg.trial))

    def fail_leg(self, leg: Leg, error: str, counts: int = 1) -> Trial | None:
        """A leg died; it is handed out again from the last checkpoint until its retries are used up, of which this
        ``counts`` for so many: none where the trial is not at fault, all where it would die the same way each time.
        """
        with self._lock:
            if leg.confirm_seed is not None:
                self.confirmations.fail_leg(leg, error, counts)
                return None
            self._in_flight.discard(leg.trial)
            trial = self.trial(leg.trial)
            trial = replace(trial, attempts=trial.attempts + counts, error=error)
            if trial.attempts > RETRIES:
                trial = replace(trial, state="crashed", score=None)
            self._write(trial)
            return trial

    def close(self) -> list[Trial]:
        """The search is over: trials still waiting at a rung end as pruned, or as what they have become. Returns
        them.
        """
        with self._lock:
            pruned = [ended(trial, "pruned") for trial in self._trials if trial.state == "waiting"]
            for trial in pruned:
                self._write(trial)
            return pruned

    def set_run(self, key: RunKey, run_id: str) -> None:
        """Remember an MLflow run."""
        with self._lock:
            self._book.set_attr(f"run:{key_word(key)}", run_id)
            if isinstance(key, int):
                self._know(replace(self._trials[key], mlflow_run_id=run_id))

    def set_state(self, state: SweepState) -> None:
        self._set("gansweep.state", state)

    def keep_file(self) -> None:
        """The sweep file as it now is, without passwords, so that the sweep can be opened from anywhere."""
        text = without_secrets(self.sweep.to_yaml())
        if self._attrs.get(FILE) != text:
            self._set(FILE, text)

    def made(self, by: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """When the sweep began, by whom and on what, as ``by`` said at its first start."""
        if MADE not in self._attrs:
            self._set(MADE, by())
        found: dict[str, Any] = self._attrs[MADE]
        return found

    def history(self) -> dict[RunKey, dict[int, dict[str, Any]]]:
        """Every report of every training, by images: read anew, since it is much."""
        study = self._studies.find(self.sweep.name)
        assert study is not None
        return history_of(study.attrs, study.trials)

    # -- below -----------------------------------------------------------------------------------------------------

    def _set(self, name: str, value: Any) -> None:
        with self._lock:
            self._book.set_attr(name, value)

    def _settle(self, trial: Trial) -> Trial:
        """A trial after its leg: ended, waiting at a rung, or the same where it was cut short between two reports and
        is to be handed out again.
        """
        settled = self._settled(trial) if trial.state == "running" else trial
        if settled is not trial or self._is_untold(settled):
            self._write(settled)
        return settled

    def _settled(self, trial: Trial) -> Trial:
        levels = self.sweep.rung_images()
        if self.sweep.health.stops(trial.verdict):
            return ended(trial, "finished")
        if trial.images >= levels[-1]:
            return replace(ended(trial, "finished"), rung=len(levels))
        if trial.images >= trial.target:
            return replace(trial, state="waiting", rung=levels.index(trial.target) + 1, attempts=0)
        return trial

    def _write(self, trial: Trial) -> None:
        self._book.write(
            trial.id, record_of(trial), end_of(trial, self._worst_score) if self._is_untold(trial) else None
        )
        self._know(trial)

    def _know(self, trial: Trial) -> None:
        self._trials[trial.id] = trial
        self._ladder.put(trial)
        self._view.put(trial, self._book.trials[trial.id])

    def _is_untold(self, trial: Trial) -> bool:
        """Whether it has ended, and Optuna's part of it has not."""
        return trial.ended and not self._book.trials[trial.id].state.is_finished()

    def _worst_score(self) -> float:
        seen = (v for frozen in self._book.trials for v in frozen.intermediate_values.values())
        return objective.worst(self.sweep.objective, seen)
