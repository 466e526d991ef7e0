"""The sweep's single source of truth: one Optuna study that knows every trial, its state, rungs, verdicts, scores and
checkpoints.

It is written before anything acts on it, so whatever dies, opening it again tells what to do next. Each step is one
append: ``trial`` (our record, as JSON in a user attribute), then ``report:<images>``, then Optuna's own state. A death
between two appends leaves a state that ``_mend`` or the next leg completes.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from orchestrator.commands import command
from orchestrator.errors import UserError
from orchestrator.paths import RunKey, key_word
from orchestrator.search import objective, rungs
from orchestrator.search.asking import can_ask, propose
from orchestrator.search.confirmation import Confirmations
from orchestrator.search.effort import confirming
from orchestrator.search.identity import refuse_other_settings, standing
from orchestrator.search.journal import open_storage
from orchestrator.search.record import ended, record_of, run_key, trial_of
from orchestrator.search.space import distribution, kept
from orchestrator.search.trial import FATAL, RETRIES, Leg, State, Training, Trial, with_newest
from orchestrator.spec import Sweep, counted
from trainers.provenance import require_comparable

optuna.logging.set_verbosity(optuna.logging.ERROR)

SweepState = Literal["running", "finished", "stopped", "interrupted", "failed"]

_OPTUNA_STATE: dict[State, TrialState] = {
    "finished": TrialState.COMPLETE,
    **dict.fromkeys(FATAL, TrialState.COMPLETE),
    "pruned": TrialState.PRUNED,
    "crashed": TrialState.FAIL,
}


class Ledger:
    """All reads and writes of one sweep's study. Safe to use from several threads of one process."""

    def __init__(self, storage: BaseStorage, study_id: int, sweep: Sweep) -> None:
        self._storage, self._study, self.sweep = storage, study_id, sweep
        self.confirmations = Confirmations(storage, study_id, sweep)
        self._in_flight: set[int] = set()
        self._lock = threading.RLock()

    # -- opening ---------------------------------------------------------------------------------------------------

    @classmethod
    def read(cls, sweep: Sweep, journal: Path) -> Ledger:
        """The ledger of a sweep that exists, to look at: nothing is written."""
        storage = open_storage(sweep.search.storage, journal)
        try:
            return cls(storage, storage.get_study_id_from_name(sweep.name), sweep)
        except KeyError:
            raise UserError(
                f"sweep '{sweep.name}' has no ledger yet; start it with: {command('submit', 'FILE')}"
            ) from None

    @classmethod
    def open(cls, sweep: Sweep, journal: Path) -> Ledger:
        """The ledger of ``sweep``, made where there is none. Raises UserError where it holds another search space."""
        storage = open_storage(sweep.search.storage, journal)
        direction = StudyDirection.MINIMIZE if sweep.objective.direction == "minimize" else StudyDirection.MAXIMIZE
        study = standing(storage, sweep)
        if study is None:
            study = storage.create_new_study([direction], sweep.name)
            storage.set_study_user_attr(study, "gansweep.comparable", sweep.comparable())
            storage.set_study_user_attr(study, "gansweep.id", uuid.uuid4().hex)
        ledger = cls(storage, study, sweep)
        refuse_other_settings(sweep, storage.get_study_user_attrs(study))
        ledger._mend()
        return ledger

    def _mend(self) -> None:
        """Finish what a death between two appends left half told: legs that were at their end, and Optuna's state."""
        for trial, frozen in self._read():
            settled = self._settled(trial) if trial.state == "running" else trial
            if settled is not trial:
                self._write(settled)
            if settled.ended and not frozen.state.is_finished():
                self._tell(settled, frozen)
        self.confirmations.mend()

    # -- what is known ---------------------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """Tells this sweep from another of the same name on a shared MLflow server."""
        identifier: str = self._study_attrs()["gansweep.id"]
        return identifier

    @property
    def key(self) -> str:
        """The folder of the sweep's files in an artifact store, which homes with sweeps of the same name may share."""
        return f"{self.sweep.name}-{self.id[:8]}"

    @property
    def provenance(self) -> dict[str, Any]:
        """How all values of this sweep were measured; empty before the first report."""
        found: dict[str, Any] = self._study_attrs().get("gansweep.provenance", {})
        return found

    def trials(self) -> list[Trial]:
        return [trial for trial, _ in self._read()]

    def trial(self, number: int) -> Trial:
        return self.trials()[number]

    def best(self) -> Trial | None:
        """The finished, healthy trial with the best score that keeps every constraint. A trial that failed on a fresh
        seed does not count at all, and confirmed medians count before single scores.
        """
        failed = {c.trial for c in self.confirmations.all() if c.failed}
        good = [t for t in self.trials() if t.promotable and t.id not in failed]
        medians = self.confirmations.medians()
        if any(t.id in medians for t in good):
            good = [t for t in good if t.id in medians]
        return min(
            good, key=lambda t: objective.cost(self.sweep.objective, medians.get(t.id, t.score or 0.0)), default=None
        )

    def trainings(self, trial: Trial) -> list[Training]:
        """What there is to promote of a trial: the search's own training, and those on fresh seeds that came to their
        end. All of them have the same settings but the seed.
        """
        runs = self.runs()
        own = Training(
            *(self.sweep.train.seed, None, trial.state, trial.score, trial.verdict, trial.reasons),
            *(trial.images, trial.metrics, trial.violations, trial.checkpoint, trial.mlflow_run_id),
        )
        again = [
            Training(
                *(run.seed, run.seed, run.state, run.score, run.verdict, run.reasons),
                *(run.images, run.reports[run.images], objective.violations(self.sweep.objective, run.reports)),
                *(run.checkpoints[-1], runs.get((trial.id, run.seed), trial.mlflow_run_id)),
            )
            for run in self.confirmations.of(trial.id)
            if run.done and run.checkpoints
        ]
        return [own, *again]

    @property
    def notes(self) -> list[str]:
        """What there is to say beside trials and scores: why no more trials come, and who failed on a fresh seed."""
        trials, found = self.trials(), []
        if len(trials) < self.sweep.search.trials and not can_ask(self.sweep, trials):
            points = counted(self.sweep.most_trials, "point")
            found.append(f"the space has only {points}, and each was tried: no more trials come")
        return [*found, *self.confirmations.failures()]

    def state(self) -> SweepState:
        """As last written; a ``running`` sweep whose driver is dead is in truth interrupted (the caller knows the
        lock).
        """
        state: SweepState = self._study_attrs().get("gansweep.state", "interrupted")
        return state

    def set_state(self, state: SweepState) -> None:
        self._storage.set_study_user_attr(self._study, "gansweep.state", state)

    # -- what comes next -------------------------------------------------------------------------------------------

    def next_leg(self) -> Leg | Literal["wait", "done"]:
        """The next leg for a free slot, already written down as running; ``wait`` while only running legs can free more
        work.
        """
        with self._lock:
            trials = self.trials()
            decision = rungs.decide(trials, frozenset(self._in_flight), self._rules(trials))
            if decision == "ask":
                trial = self._ask(trials)
            elif isinstance(decision, rungs.Continue):
                trial = replace(decision.trial, state="running", target=decision.until)
                self._write(trial)
            else:  # a slot that the search can't use, now or any more, confirms the best that stand
                leg = self.confirmations.next_leg(trials)
                return decision if leg == "done" else leg
            self._in_flight.add(trial.id)
            return Leg(trial.id, trial.params, trial.target, trial.checkpoints)

    def is_over(self) -> bool:
        """Whether neither search nor confirmation has a leg left."""
        trials = self.trials()
        return rungs.decide(trials, frozenset(), self._rules(trials)) == "done" and self.confirmations.are_done(trials)

    def _rules(self, trials: list[Trial]) -> rungs.Rules:
        sweep = self.sweep
        reduction = sweep.rungs.reduction if sweep.rungs else 2
        most = len(trials) + can_ask(sweep, trials)
        return rungs.Rules(sweep.rung_images(), reduction, most, max(1, confirming(sweep).top), sweep.objective)

    def _ask(self, trials: list[Trial]) -> Trial:
        """A new trial, proposed by the sampler on a view of the ledger and written down before anything trains it."""
        number = len(trials)
        params = propose(self.sweep, self._sampler(number), self._read())
        trial = Trial(number, params, "running", self.sweep.rung_images()[0])
        space = {name: distribution(self.sweep.search.space[name]) for name in params}
        template = create_trial(
            state=TrialState.RUNNING, params=kept(params), distributions=space, user_attrs={"trial": record_of(trial)}
        )
        self._storage.create_new_trial(self._study, template)
        return trial

    def _sampler(self, number: int) -> BaseSampler:
        """Seeded by the trial's number, so that a resumed sweep proposes what an undisturbed one would have."""
        seed = self.sweep.search.seed + 1_000_003 * number
        return TPESampler(seed=seed) if self.sweep.search.sampler == "tpe" else RandomSampler(seed=seed)

    # -- what happened ---------------------------------------------------------------------------------------------

    def report(self, leg: Leg, report: Mapping[str, Any]) -> None:
        """Write down one report of a leg (as ``Report.as_dict``, with the keys of the checkpoints ``stored`` so far and
        the speed), after ``require_comparable``.
        """
        images, metrics, health = report["images"], report["metrics"], report["health"]
        if leg.confirm_seed is not None:
            self.confirmations.report(leg, report)
            return
        trial, frozen = self._read_one(leg.trial)
        if trial.ended:
            return
        self._storage.set_trial_user_attr(frozen._trial_id, f"report:{images}", metrics)
        reports = {**trial.reports, images: metrics}
        value = objective.score(self.sweep.objective, {images: metrics})
        if value is not None:
            self._storage.set_trial_intermediate_value(frozen._trial_id, images, value)
        self._write(
            replace(
                trial,
                images=images,
                reports=reports,
                score=objective.score(self.sweep.objective, reports),
                verdict=health["verdict"],
                reasons=tuple(health["reasons"]),
                checkpoints=tuple(report["stored"]),
                images_per_second=round(report["images_per_second"], 1),
                reported_at=report["timestamp"],
            )
        )

    def require_comparable(self, leg: Leg, provenance: dict[str, Any]) -> None:
        """Raises IncomparableError where a leg measures in another way than the legs before."""
        if known := self.provenance:
            require_comparable({"this sweep so far": known, f"trial {leg.trial} now": provenance})
        else:
            self._storage.set_study_user_attr(self._study, "gansweep.provenance", provenance)

    def stored_late(self, leg: Leg, checkpoint: str) -> None:
        """A checkpoint whose upload ended after the leg's last report."""
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
            trial, frozen = self._read_one(leg.trial)
            settled = self._settled(trial)
            if settled is not trial:
                self._write(settled)
            if settled.ended:
                self._tell(settled, frozen)
            return settled

    def _settled(self, trial: Trial) -> Trial:
        """A running trial after its leg: ended, waiting at a rung, or the same where it was cut short between two
        reports and is to be handed out again.
        """
        levels = self.sweep.rung_images()
        if self.sweep.health.stops(trial.verdict):
            return ended(trial, "finished")
        if trial.images >= levels[-1]:
            return replace(ended(trial, "finished"), rung=len(levels))
        if trial.images >= trial.target:
            return replace(trial, state="waiting", rung=levels.index(trial.target) + 1, attempts=0)
        return trial

    def fail_leg(self, leg: Leg, error: str, blame: bool = True, hopeless: bool = False) -> Trial | None:
        """A leg died; it is handed out again from the last checkpoint until its retries are used up.

        ``blame=False`` where the trial is not at fault (storage down, node lost), so that no retry is used up;
        ``hopeless`` where it would die the same way each time, so that all are.
        """
        counts = RETRIES + 1 if hopeless else int(blame)
        with self._lock:
            if leg.confirm_seed is not None:
                self.confirmations.fail_leg(leg, error, counts)
                return None
            self._in_flight.discard(leg.trial)
            trial, frozen = self._read_one(leg.trial)
            trial = replace(trial, attempts=trial.attempts + counts, error=error)
            if trial.attempts > RETRIES:
                trial = replace(trial, state="crashed", score=None)
            self._write(trial)
            if trial.ended:
                self._tell(trial, frozen)
            return trial

    def release(self) -> None:
        """Forget which legs are in flight (their executor is gone); they will be handed out again."""
        self._in_flight.clear()
        self.confirmations.release()

    def close(self) -> list[Trial]:
        """The search is over: trials still waiting at a rung end as pruned, or as what they have become. Returns
        them.
        """
        pruned = []
        for trial, frozen in self._read():
            if trial.state == "waiting":
                trial = ended(trial, "pruned")
                self._write(trial)
                self._tell(trial, frozen)
                pruned.append(trial)
        return pruned

    def set_run(self, key: RunKey, run_id: str) -> None:
        """Remember an MLflow run."""
        self._storage.set_study_user_attr(self._study, f"run:{key_word(key)}", run_id)

    def runs(self) -> dict[RunKey, str]:
        return {run_key(name[4:]): v for name, v in self._study_attrs().items() if name.startswith("run:")}

    # -- Optuna ----------------------------------------------------------------------------------------------------

    def _study_attrs(self) -> dict[str, Any]:
        return self._storage.get_study_user_attrs(self._study)

    def _read(self) -> list[tuple[Trial, FrozenTrial]]:
        runs = self.runs()
        found = self._storage.get_all_trials(self._study, deepcopy=False)
        return [(trial_of(frozen, self.sweep, runs), frozen) for frozen in found]

    def _read_one(self, number: int) -> tuple[Trial, FrozenTrial]:
        return self._read()[number]

    def _write(self, trial: Trial) -> None:
        trial_id = self._storage.get_trial_id_from_study_id_trial_number(self._study, trial.id)
        self._storage.set_trial_user_attr(trial_id, "trial", record_of(trial))

    def _tell(self, trial: Trial, frozen: FrozenTrial) -> None:
        """Close the trial in Optuna's terms. A bad end is COMPLETE with the worst score seen and a violated constraint,
        never NaN: the sampler must learn from it (FAIL would be ignored), and only a crash says nothing about the
        parameters.
        """
        constraints = dict(trial.violations)
        value = trial.score
        if trial.state in FATAL:
            constraints = {trial.state: 1.0, **{name: max(v, 0.0) for name, v in constraints.items()}}
            value = self._worst_score()
        if trial.state == "crashed":
            constraints = {}
        state = _OPTUNA_STATE[trial.state]
        values = [value if value is not None else self._worst_score()] if state == TrialState.COMPLETE else None
        with suppress(UpdateFinishedTrialError):  # who opened the ledger in this very moment has told it for us
            for key, violation in create_trial(state=TrialState.RUNNING, constraints=constraints).system_attrs.items():
                self._storage.set_trial_system_attr(frozen._trial_id, key, violation)
            self._storage.set_trial_state_values(frozen._trial_id, state, values)

    def _worst_score(self) -> float:
        seen = (v for _, frozen in self._read() for v in frozen.intermediate_values.values())
        return objective.worst(self.sweep.objective, seen)
