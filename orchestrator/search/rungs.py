"""Which leg comes next, decided from what the ledger knows. Pure: no Optuna, no clock.

Asynchronous successive halving by promotion (Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys
2020, section 3.2): a trial that reaches a rung waits there; a free slot takes the best promotable trial of the highest
rung, else a new trial. Nothing is stopped for good while the sweep runs, because GAN curves cross late.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from orchestrator.search.effort import confirming
from orchestrator.search.objective import costs, scores_at
from orchestrator.search.ranking import ranking
from orchestrator.search.trial import FATAL, Trial
from orchestrator.settings.groups import Objective
from orchestrator.spec import Sweep


@dataclass(frozen=True)
class Rules:
    """The part of a sweep that decides the order of legs. ``levels`` are images, rising; ``keep`` trials at least
    finish.
    """

    levels: Sequence[int]
    reduction: int
    keep: int
    objective: Objective


def rules_of(sweep: Sweep, levels: Sequence[int]) -> Rules:
    """As its file says."""
    reduction = sweep.rungs.reduction if sweep.rungs else 2
    return Rules(levels, reduction, max(1, confirming(sweep).top), sweep.objective)


@dataclass(frozen=True)
class Continue:
    """Train ``trial`` on, to ``until`` images: it was interrupted, or it is promoted to the next rung."""

    trial: Trial
    until: int

    @property
    def images(self) -> int:
        """To train."""
        return self.until - self.trial.images


Decision = Continue | Literal["ask", "wait", "done"]


class Ladder:
    """Who came to which rung, and who waits there, best first. Told of every change of a trial, so that a decision
    takes no longer with ten thousand trials than with ten.
    """

    def __init__(self, rules: Rules, trials: Iterable[Trial] = ()) -> None:
        self._rules = rules
        self._trials: dict[int, Trial] = {}
        self._came = [ranking(rules.objective) for _ in rules.levels[:-1]]
        self._waits: list[set[int]] = [set() for _ in rules.levels[:-1]]
        self._running: set[int] = set()
        self._finished: set[int] = set()
        for trial in trials:
            self.put(trial)

    def put(self, trial: Trial) -> None:
        """As it stands now."""
        if trial.outside:
            return
        self._trials[trial.id] = trial
        for rung, level in enumerate(self._rules.levels[:-1], start=1):
            self._came[rung - 1].put(trial.id, self._costs_at(trial, level) if _came(trial, rung, level) else None)
            _mark(self._waits[rung - 1], trial.id, trial.state == "waiting" and trial.rung == rung)
        _mark(self._running, trial.id, trial.state == "running")
        _mark(self._finished, trial.id, trial.state == "finished")

    def decide(self, in_flight: frozenset[int], may_ask: bool) -> Decision:
        """The next leg for a free slot. ``in_flight`` are trials whose leg is being trained now; ``may_ask``: whether a
        new trial may come.
        """
        if interrupted := self._running - in_flight:
            trial = self._trials[min(interrupted)]
            return Continue(trial, trial.target)
        if best := self._best_waiting(self._rules.reduction):
            return best
        if may_ask:
            return "ask"
        if in_flight:
            return "wait"
        return self.last_call(self._rules.keep) or "done"

    @property
    def has_finished(self) -> bool:
        """Whether a trial has come to the end."""
        return bool(self._finished)

    def last_call(self, keep: int) -> Continue | None:
        """Nothing runs and nothing new comes: what the quotas round away must not leave the sweep without ``keep``
        that finish.
        """
        return None if len(self._finished) >= keep else self._best_waiting(1)

    def _best_waiting(self, reduction: int) -> Continue | None:
        """Of the highest rung where one waits among the best 1/``reduction`` of those that came."""
        for came, waits, until in reversed(list(zip(self._came, self._waits, self._rules.levels[1:], strict=True))):
            best = map(came.__getitem__, range(len(came) // reduction if waits else 0))
            if (number := next((number for number in best if number in waits), None)) is not None:
                return Continue(self._trials[number], until)
        return None

    def _costs_at(self, trial: Trial, level: int) -> tuple[float, ...]:
        """At the first evaluation at or past ``level`` images; infinite for a trial that earned none."""
        objective = self._rules.objective
        return costs(objective, () if trial.state in FATAL else scores_at(objective, trial.reports, level))


def _mark(members: set[int], number: int, belongs: bool) -> None:
    (members.add if belongs else members.discard)(number)


def _came(trial: Trial, rung: int, level: int) -> bool:
    """Who ended badly on the way counts, and comes last. A crash says nothing of a trial, so it raises no quota."""
    return trial.state != "crashed" and (trial.rung >= rung or (trial.state in FATAL and trial.target >= level))
