"""Which leg comes next, decided from what the ledger knows. Pure: no Optuna, no clock.

Asynchronous successive halving by promotion (Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys
2020, section 3.2): a trial that reaches a rung waits there; a free slot takes the best promotable trial of the highest
rung, else a new trial. Nothing is stopped for good while the sweep runs, because GAN curves cross late.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from orchestrator.search.objective import cost, score_at
from orchestrator.search.ranking import Ranking
from orchestrator.search.trial import FATAL, Trial
from orchestrator.spec import Objective


@dataclass(frozen=True)
class Rules:
    """The part of a sweep that decides the order of legs. ``levels`` are images, rising; ``keep`` trials at least
    finish.
    """

    levels: Sequence[int]
    reduction: int
    keep: int
    objective: Objective


@dataclass(frozen=True)
class Continue:
    """Train ``trial`` on, to ``until`` images: it was interrupted, or it is promoted to the next rung."""

    trial: Trial
    until: int


Decision = Continue | Literal["ask", "wait", "done"]


class Ladder:
    """Who came to which rung, and who waits there, best first. Told of every change of a trial, so that a decision
    takes no longer with ten thousand trials than with ten.
    """

    def __init__(self, rules: Rules, trials: Iterable[Trial] = ()) -> None:
        self._rules = rules
        self._trials: dict[int, Trial] = {}
        self._came = [Ranking() for _ in rules.levels[:-1]]
        self._waits = [Ranking() for _ in rules.levels[:-1]]
        self._running: set[int] = set()
        self._finished: set[int] = set()
        for trial in trials:
            self.put(trial)

    def put(self, trial: Trial) -> None:
        """As it stands now."""
        self._trials[trial.id] = trial
        for rung, level in enumerate(self._rules.levels[:-1], start=1):
            key = (self._cost_at(trial, level),) if _came(trial, rung, level) else None
            self._came[rung - 1].put(trial.id, key)
            self._waits[rung - 1].put(trial.id, key if trial.state == "waiting" and trial.rung == rung else None)
        for state, members in (("running", self._running), ("finished", self._finished)):
            (members.add if trial.state == state else members.discard)(trial.id)

    def decide(self, in_flight: frozenset[int], may_ask: bool) -> Decision:
        """The next leg for a free slot. ``in_flight`` are trials whose leg is being trained now; ``may_ask``: whether a
        new trial may come.
        """
        if interrupted := self._running - in_flight:
            trial = self._trials[min(interrupted)]
            return Continue(trial, trial.target)
        for came, waits, until in self._from_the_top():
            if waits and came.place(waits[0]) < len(came) // self._rules.reduction:
                return Continue(self._trials[waits[0]], until)
        if may_ask:
            return "ask"
        if in_flight:
            return "wait"
        return self._last_call() or "done"

    def _last_call(self) -> Continue | None:
        """Nothing runs and nothing new comes: what the quotas round away must not leave the sweep without a
        finisher.
        """
        if len(self._finished) >= self._rules.keep:
            return None
        best = ((waits[0], until) for _, waits, until in self._from_the_top() if waits)
        return next((Continue(self._trials[number], until) for number, until in best), None)

    def _from_the_top(self) -> Iterable[tuple[Ranking, Ranking, int]]:
        """Per rung: who came, who waits, and how far a promotion goes."""
        return reversed(list(zip(self._came, self._waits, self._rules.levels[1:], strict=True)))

    def _cost_at(self, trial: Trial, level: int) -> float:
        """Of the score at the first evaluation at or past ``level`` images; infinite for a trial that earned none."""
        value = None if trial.state in FATAL else score_at(self._rules.objective, trial.reports, level)
        return math.inf if value is None else cost(self._rules.objective, value)


def _came(trial: Trial, rung: int, level: int) -> bool:
    """Who ended badly on the way counts, and comes last. A crash says nothing of a trial, so it raises no quota."""
    return trial.state != "crashed" and (trial.rung >= rung or (trial.state in FATAL and trial.target >= level))
