"""What a ledger tells to those who look: read once, changed by nobody but its driver's ``Ledger``. No Optuna here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from orchestrator.commands import command
from orchestrator.errors import UserError
from orchestrator.paths import RunKey
from orchestrator.search import first_rung, objective
from orchestrator.search.budget import Spent, words
from orchestrator.search.confirmation import Confirmations, Write
from orchestrator.search.lease import place_of
from orchestrator.search.points import Points
from orchestrator.search.record import Stored, history_of, run_key, trial_of
from orchestrator.search.replay import Replay
from orchestrator.search.trial import Training, Trial
from orchestrator.settings.dimension import inside
from orchestrator.spec import Sweep, counted

ADDED, TAKEN = "gansweep.added", "gansweep.taken"
"""Attributes: settings that somebody wants tried, and keys of the requests that were taken."""
SPACES = "gansweep.spaces"
"""The attribute that holds the spaces before this one, of a sweep whose space was changed."""

FIRST_RUNG = "gansweep.first_rung"
"""The attribute that holds what ``first_rung.measured`` found; it stays."""

FILE, MADE, HOURS = "gansweep.sweep", "gansweep.made", "gansweep.hours"
"""Attributes of a study: the sweep file; when it began, by whom and on what; hours that drivers ran."""

SweepState = Literal["running", "finished", "stopped", "interrupted", "failed"]


class Known:
    """All that one sweep's study says."""

    def __init__(self, sweep: Sweep) -> None:
        self.sweep = sweep

    def _take(self, attrs: dict[str, Any], stored: Iterable[Stored], write: Write) -> None:
        """The study's attributes and trials; ``write`` is what sets an attribute."""
        self._attrs = attrs
        runs = self.runs()
        self._trials = [trial_of(one, self.sweep, runs) for one in stored]
        if SPACES in attrs:
            space = self.sweep.search.space
            self._trials = [replace(trial, outside=not inside(space, trial.params)) for trial in self._trials]
        if FIRST_RUNG in attrs:
            self._trials = self._past_all_rungs()
        self.confirmations = Confirmations(self.sweep, attrs, write)

    @property
    def id(self) -> str:
        """Tells this sweep from another of the same name on a shared MLflow server."""
        identifier: str = self._attrs["gansweep.id"]
        return identifier

    @property
    def key(self) -> str:
        """The folder of the sweep's files in an artifact store, which homes with sweeps of the same name may share."""
        return f"{self.sweep.name}-{self.id[:8]}"

    @property
    def first_rung(self) -> dict[str, Any] | None:
        """What ``first_rung.measured`` found; None before, and where nothing is to be measured."""
        found: dict[str, Any] | None = self._attrs.get(FIRST_RUNG)
        return found

    @property
    def ranked(self) -> Sweep:
        """The sweep with the rungs that stand: where they are measured, none before the first is found."""
        if not (self.sweep.startup and self.sweep.rungs):
            return self.sweep
        found = self.first_rung
        rungs = self.sweep.rungs.model_copy(update={"first_images": found["images"]}) if found else None
        return self.sweep.model_copy(update={"rungs": rungs})

    def _past_all_rungs(self) -> list[Trial]:
        """The trials, where those that finished before there were rungs count as having reached each."""
        rungs = len(self.ranked.rung_images())
        return [replace(trial, rung=rungs) if trial.state == "finished" else trial for trial in self._trials]

    @property
    def provenance(self) -> dict[str, Any]:
        """How all values of this sweep were measured; empty before the first report."""
        found: dict[str, Any] = self._attrs.get("gansweep.provenance", {})
        return found

    def trials(self) -> list[Trial]:
        return list(self._trials)

    def trial(self, number: int) -> Trial:
        return self._trials[number]

    def founders(self) -> list[Trial]:
        """Trials that began with their first image, not with the checkpoint of another."""
        return [trial for trial in self._trials if not trial.origin] if self.sweep.population else self._trials

    def branches(self) -> frozenset[str]:
        """Checkpoints from which others went on."""
        copies = self._trials if self.sweep.population else ()
        return frozenset(trial.origin.checkpoint for trial in copies if trial.origin)

    def best(self) -> Trial | None:
        """The first of the ``front`` where one objective says which is best."""
        return next(iter(self.front()), None) if len(self.sweep.objective.goals) == 1 else None

    def front(self) -> list[Trial]:
        """The finished, healthy trials that keep every constraint and that none of the others dominates: with one
        objective the one with the best score. A trial that failed on a fresh seed does not count at all, and confirmed
        medians count before single scores.
        """
        aim, known = self.sweep.objective, self.standing()
        costs = {number: objective.costs(aim, scores) for number, scores in known.items()}
        if len(aim.goals) == 1:
            return [self.trial(min(costs, key=costs.__getitem__))] if costs else []
        from orchestrator.search.pareto import first_front  # brings NumPy

        return [self.trial(number) for number in first_front(costs)]

    def standing(self) -> dict[int, objective.Scores]:
        """The scores by which trials compete: medians on fresh seeds, where there are any. With one objective who has
        none is out then; a front keeps all, since few of it are trained again.
        """
        medians = self.confirmations.medians()
        failed = {c.trial for c in self.confirmations.all() if c.failed}
        good = {t.id: t.scores for t in self.trials() if t.promotable and t.id not in failed}
        confirmed = {number: medians[number] for number in good if number in medians}
        return good | confirmed if len(self.sweep.objective.goals) > 1 else confirmed or good

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
            if run.done and run.checkpoints and run.reports
        ]
        return [own, *again]

    @property
    def notes(self) -> list[str]:
        """What there is to say beside trials and scores: why no more trials come, and who failed on a fresh seed."""
        found, trials = [], self.trials()
        if (
            len(self.founders()) < self.sweep.search.trials
            and not Points(self.sweep, (t.params for t in self.founders())).any_left()
        ):
            points = counted(self.sweep.most_trials, "point")
            found.append(f"the space has only {points}, and each was tried: no more trials come")
        if outside := [str(trial.id) for trial in trials if trial.outside]:
            found.append(f"outside the space as it is now, and counted no more: trial {', '.join(outside)}")
        if self.first_rung:
            found.append(first_rung.words(self.first_rung))
        elif self.sweep.startup:
            found.append(f"no rungs yet: the first {self.sweep.startup} trials to end tell where they go")
        found += [f"budget: {told}"] if (told := words(self.sweep.budget, self.spent())) else []
        return [*found, *self.confirmations.failures()]

    def spent(self) -> Spent:
        """As written down: the last minute of a driver who died is missing."""
        runs = self.confirmations.all()
        seconds = sum(t.device_seconds for t in self._trials) + sum(run.device_seconds for run in runs)
        return Spent(len(self.founders()) + len(runs), self._attrs.get(HOURS, 0.0), seconds / 3600)

    def state(self) -> SweepState:
        """As last written; a ``running`` sweep whose driver is dead is in truth interrupted (the caller knows the
        lock).
        """
        state: SweepState = self._attrs.get("gansweep.state", "interrupted")
        return state

    def runs(self) -> dict[RunKey, str]:
        """MLflow run ids by run key."""
        return {run_key(name[4:]): v for name, v in self._attrs.items() if name.startswith("run:")}


class Reading(Known):
    """The ledger of a sweep that exists, to look at: nothing is written. ``told`` takes in what ``history`` needs,
    which is much. Raises UserError where there is none.
    """

    def __init__(self, sweep: Sweep, default: Path | str, told: bool = False) -> None:
        super().__init__(sweep)
        where = place_of(sweep, default)
        self._read = _journal(sweep, where, told) if isinstance(where, Path) else _database(sweep, where)
        self.refresh()

    def refresh(self) -> None:
        """As it stands now."""
        found = self._read()
        if found is None:
            raise UserError(f"sweep '{self.sweep.name}' has no ledger yet; start it with: {command('submit', 'FILE')}")
        attrs, self._stored = found
        self._take(attrs, self._stored, attrs.__setitem__)

    def history(self) -> dict[RunKey, dict[int, dict[str, Any]]]:
        """Every report of every training, by images, with its verdict at that time."""
        return history_of(self._attrs, self._stored)


Read = Callable[[], tuple[dict[str, Any], Sequence[Stored]] | None]
"""A study's attributes and trials as they stand now."""


def _journal(sweep: Sweep, journal: Path, told: bool) -> Read:
    replay = Replay(journal, told)

    def read() -> tuple[dict[str, Any], Sequence[Stored]] | None:
        replay.read()
        study = replay.study(sweep.name)
        return (study.user_attrs, study.trials) if study else None

    return read


def _database(sweep: Sweep, url: str) -> Read:
    from orchestrator.search.journal import place  # brings Optuna and SQLAlchemy

    studies = place(url)

    def read() -> tuple[dict[str, Any], Sequence[Stored]] | None:
        study = studies.find(sweep.name)
        return (study.attrs, study.trials) if study else None

    return read
