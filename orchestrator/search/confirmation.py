"""The best trials are trained again on seeds that the search has not used: was their score luck?

It begins when the search has nothing to do for a slot, with the best that stand. A confirmation is one JSON attribute
of the study, written before anything acts on it. It never touches the trial that it confirms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import groupby, product
from statistics import median
from typing import Any, Literal

from orchestrator.search import objective
from orchestrator.search.effort import Affords, Confirming, Round, confirming
from orchestrator.search.population import schedule
from orchestrator.search.ranking import in_order
from orchestrator.search.record import by_class, told_of
from orchestrator.search.trial import FATAL, Blame, Leg, State, Trial, one_more, used_up, with_newest
from orchestrator.spec import Sweep

SIZE = "gansweep.confirming"
"""The attribute that holds what a budget leaves for it; else the sweep file says so."""
FIRST_SEED = 1_000
"""Fresh seeds start so far above the sweep's own."""
AGAIN = 2
"""Times the planned number of re-trainings after which no further trial makes up for those that failed: settings that
collapse one after the other would cost more than their search. With each new trial of the search it starts again.
"""


@dataclass(frozen=True)
class Confirmation:
    """One training of a finished trial on a fresh seed, begun when the search had ``known`` trials; ``score`` is None
    until it ended, or if it failed.
    """

    trial: int
    seed: int
    done: bool = False
    score: float | None = None
    verdict: str = "unjudged"
    reasons: tuple[str, ...] = ()
    failures: dict[Blame, int] = field(default_factory=dict)
    error: str | None = None
    checkpoints: tuple[str, ...] = ()
    reported_at: float | None = None
    device_seconds: float = 0.0
    reports: dict[int, dict[str, float]] = field(default_factory=dict)
    known: int = 0

    @property
    def failed(self) -> bool:
        """It ended without a score: badly, with a constraint violated, or dead after its retries."""
        return self.done and self.score is None

    @property
    def state(self) -> State:
        """In the words of a trial; a re-training is ``finished`` though it violates a constraint."""
        if not self.done:
            return "running"
        fatal = next((verdict for verdict in FATAL if verdict == self.verdict), None)
        return "crashed" if used_up(self.failures) else fatal or "finished"

    @property
    def images(self) -> int:
        """Shown so far."""
        return max(self.reports, default=0)

    @property
    def metrics(self) -> dict[str, float]:
        """As last measured."""
        return self.reports.get(self.images, {})


Write = Callable[[str, Any], None]
"""Sets an attribute of the study."""


class Confirmations:
    """All that is known of a study's confirmations, and every change of them."""

    def __init__(self, sweep: Sweep, attrs: Mapping[str, Any], write: Write) -> None:
        self._sweep, self._set_attr = sweep, write
        self._affords: Affords = lambda batches: True
        self._size = Confirming.of(attrs[SIZE]) if SIZE in attrs else confirming(sweep)
        self._in_flight: set[tuple[int, int]] = set()
        found = [_read(value) for key, value in attrs.items() if key.startswith("confirm:")]
        self._runs = {(run.trial, run.seed): run for run in found}

    def all(self) -> list[Confirmation]:
        """By trial and seed."""
        return [self._runs[key] for key in sorted(self._runs)]

    def of(self, trial: int) -> list[Confirmation]:
        """Those of one trial."""
        return [run for run in self.all() if run.trial == trial]

    def of_leg(self, leg: Leg) -> Confirmation:
        """As it stands."""
        return self._runs[leg.trial, leg.confirm_seed or 0]

    def summaries(self) -> list[dict[str, Any]]:
        """Per confirmed trial: its fresh seeds, their scores, the median and the worst (None while a seed is missing or
        failed).
        """
        return [self._summary(trial, list(runs)) for trial, runs in groupby(self.all(), key=lambda run: run.trial)]

    def medians(self) -> dict[int, objective.Scores]:
        """The median scores of every trial whose fresh seeds all came to one."""
        complete = (s["trial"] for s in self.summaries() if s["median"] is not None)
        return {trial: self._median(self.of(trial)) for trial in complete}

    def failures(self) -> list[str]:
        """Who failed on which seed, and why."""
        return [
            f"trial {run.trial} failed on fresh seed {run.seed}, and is out: {self._why(run)}"
            for run in self.all()
            if run.failed
        ]

    def next_leg(self, trials: Sequence[Trial]) -> Leg | Literal["wait", "done"]:
        """The next one to train while these trials are known, already written down: the best trial's seeds first."""
        for trial, run in self._left(trials):
            if (run.trial, run.seed) not in self._in_flight and self._affords([1]):
                self._write(run)
                self._in_flight.add((run.trial, run.seed))
                until, params = next((u, p) for u, p in schedule(trial, trials) if u > run.images)
                until = int(min(until, self._sweep.train.images))
                return Leg(trial.id, params, until, run.checkpoints, run.seed)
        return "wait" if self._in_flight else "done"

    def are_done(self, trials: Sequence[Trial]) -> bool:
        """Whether no leg is left, or none fits into the budget."""
        return next(self._left(trials), None) is None or not self._affords([1])

    @property
    def ahead(self) -> list[int]:
        """Trainings that are planned and were not begun, in batches."""
        batches = self._size.batches(self._sweep.most_trials)
        return [max(0, sum(batches) - len(self._runs))] if self._runs else batches

    def plan(self, affords: Affords) -> None:
        """As much as a budget ``affords``: decided before the first is begun, and cut to what was done where no more
        can be begun.
        """
        self._affords, size = affords, self._size
        if not self._runs:
            size = confirming(self._sweep, affords)
        elif not (self._in_flight or affords([1]) or self.medians()):
            most = max((len(runs) for runs in self._clean().values()), default=0)
            size = Confirming.of([(1, most, 1)] if most else [])
        if size != self._size:
            self._size = size
            self._set_attr(SIZE, size.rounds)

    def _clean(self) -> dict[int, list[Confirmation]]:
        """Those of each trial that came to a score; none of a trial that failed on a seed."""
        by_trial = {trial: list(runs) for trial, runs in groupby(self.all(), key=lambda run: run.trial)}
        return {
            trial: [r for r in runs if r.done] for trial, runs in by_trial.items() if not any(r.failed for r in runs)
        }

    def report(self, leg: Leg, report: Mapping[str, Any], took: float) -> None:
        """Write down one report of a leg, which took so many device-seconds."""
        run, health = self.of_leg(leg), report["health"]
        self._set_attr(f"told:{run.trial}:{run.seed}:{report['images']}", told_of(report))
        self._write(
            replace(
                run,
                reports={**run.reports, report["images"]: report["metrics"]},
                verdict=health["verdict"],
                reasons=tuple(health["reasons"]),
                checkpoints=tuple(report["stored"]),
                reported_at=report["timestamp"],
                device_seconds=run.device_seconds + took,
            )
        )

    def stored_late(self, leg: Leg, checkpoint: str) -> None:
        """A checkpoint whose upload ended after the leg's last report."""
        run = self.of_leg(leg)
        self._write(replace(run, checkpoints=with_newest(run.checkpoints, checkpoint)))

    def end_leg(self, leg: Leg) -> None:
        """A leg came to its end: the confirmation has its score, or its bad end, or was interrupted."""
        run = self.of_leg(leg)
        self._settle(run)
        self._in_flight.discard((run.trial, run.seed))

    def mend(self) -> None:
        """Settle those whose leg had come to its end when the driver died."""
        for run in self.all():
            if not run.done:
                self._settle(run)

    def fail_leg(self, leg: Leg, error: str, blame: Blame | None, took: float) -> None:
        """As the ledger's."""
        run = self.of_leg(leg)
        failures = one_more(run.failures, blame)
        took += run.device_seconds
        self._write(replace(run, failures=failures, error=error, done=used_up(failures), device_seconds=took))
        self._in_flight.discard((run.trial, run.seed))

    def release(self) -> None:
        """Forget which legs are in flight."""
        self._in_flight.clear()

    def _settle(self, run: Confirmation) -> None:
        """It has come to its end at the last image, or where its verdict stopped it. A bad end or a violated constraint
        disqualifies the trial, and counts before any median: five good seeds of six are a collapse risk, not a score.
        """
        if run.images < self._sweep.train.images and not self._sweep.health.stops(run.verdict):
            return
        kept = all(distance <= 0 for distance in self._violations(run).values())
        survived = run.verdict not in FATAL and kept
        scores = objective.scores(self._sweep.objective, run.reports) if survived else ()
        self._write(replace(run, done=True, score=scores[0] if scores else None))

    def _left(self, trials: Sequence[Trial]) -> Iterator[tuple[Trial, Confirmation]]:
        """What was begun and has no end yet, then the best finished trials, round by round: a round is ranked when all
        of it is trained, by the medians on its fresh seeds. Who fails on one is out, and the next makes up for it where
        too few are left, until ``AGAIN`` times as many were trained as planned since the search's last trial began.
        """
        known, aim = self.all(), self._sweep.objective
        yield from ((trials[run.trial], run) for run in known if not run.done)
        begun, most = {run.trial for run in known}, AGAIN * self._size.trainings(len(trials))
        since = sum(run.known == len(trials) for run in known)
        costs = {t.id: objective.costs(aim, t.scores) for t in trials if t.promotable}
        for one in self._size.rounds:
            left = self._field(in_order(aim, costs), one)
            for trial, seed in product(left, self._seeds(one.seeds)):
                if (trial, seed) not in self._runs and (trial in begun or since < most):
                    yield trials[trial], Confirmation(trial, seed, known=len(trials))
            again = {trial: self._on(trial, one.seeds) for trial in left}
            if not all(len(runs) == one.seeds and all(run.done for run in runs) for runs in again.values()):
                return
            costs = {trial: objective.costs(aim, self._median(runs)) for trial, runs in again.items()}

    def _field(self, ranked: Sequence[int], one: Round) -> list[int]:
        """Who takes part in a round and has not failed in it: of the first of ``ranked``, until there are enough."""
        left: list[int] = []
        for place, trial in enumerate(ranked):
            if place >= one.top and len(left) >= one.need:
                break
            if not any(run.failed for run in self._on(trial, one.seeds)):
                left.append(trial)
        return left

    def _seeds(self, count: int) -> range:
        first = self._sweep.train.seed + FIRST_SEED
        return range(first, first + count)

    def _on(self, trial: int, seeds: int) -> list[Confirmation]:
        """Those of a trial on its first fresh ``seeds``."""
        return [self._runs[trial, seed] for seed in self._seeds(seeds) if (trial, seed) in self._runs]

    def _median(self, runs: Sequence[Confirmation]) -> objective.Scores:
        """Of each objective."""
        found = [objective.scores(self._sweep.objective, run.reports) for run in runs]
        return tuple(median(column) for column in zip(*found, strict=True))

    def _why(self, run: Confirmation) -> str:
        if run.state == "finished":
            broken = [name for name, distance in self._violations(run).items() if distance > 0]
            return f"it violates {', '.join(broken)}" if broken else "its objective was never finite"
        return f"{run.state} ({run.error if run.state == 'crashed' else '; '.join(run.reasons)})"

    def _violations(self, run: Confirmation) -> dict[str, float]:
        return objective.violations(self._sweep.objective, run.reports)

    def _summary(self, trial: int, runs: Sequence[Confirmation]) -> dict[str, Any]:
        known = [run.score for run in runs if run.score is not None]
        complete = len(known) == len(runs) >= self._size.seeds > 0
        return {
            "trial": trial,
            "seeds": [run.seed for run in runs],
            "scores": [run.score for run in runs],
            "median": median(known) if complete else None,
            "worst": max(known, key=lambda score: objective.cost(self._sweep.objective, score)) if complete else None,
        }

    def _write(self, run: Confirmation) -> None:
        self._set_attr(f"confirm:{run.trial}:{run.seed}", asdict(run))
        self._runs[run.trial, run.seed] = run


def _read(values: Mapping[str, Any]) -> Confirmation:
    reports = {int(images): metrics for images, metrics in values["reports"].items()}
    lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    return Confirmation(**by_class({**values, **lists, "reports": reports}))
