"""Which leg comes next, decided from what the ledger knows. Pure: no Optuna, no clock, no state.

Asynchronous successive halving by promotion (Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys
2020, section 3.2): a trial that reaches a rung waits there; a free slot takes the best promotable trial of the highest
rung, else a new trial. Nothing is stopped for good while the sweep runs, because GAN curves cross late.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from orchestrator.search.objective import cost, score
from orchestrator.search.trial import FATAL, Trial
from orchestrator.spec import Objective


@dataclass(frozen=True)
class Rules:
    """The part of a sweep that decides the order of legs. ``levels`` are images, rising; ``keep`` trials at least
    finish.
    """

    levels: Sequence[int]
    reduction: int
    trials: int
    keep: int
    objective: Objective


@dataclass(frozen=True)
class Continue:
    """Train ``trial`` on, to ``until`` images: it was interrupted, or it is promoted to the next rung."""

    trial: Trial
    until: int


Decision = Continue | Literal["ask", "wait", "done"]


def decide(trials: Sequence[Trial], in_flight: frozenset[int], rules: Rules) -> Decision:
    """The next leg for a free slot. ``in_flight`` are trials whose leg is being trained now."""
    for trial in trials:
        if trial.state == "running" and trial.id not in in_flight:
            return Continue(trial, trial.target)
    for rung in reversed(range(1, len(rules.levels))):
        ranked = _ranked(trials, rung, rules)
        for trial in ranked[: len(ranked) // rules.reduction]:
            if _waits(trial, rung):
                return Continue(trial, rules.levels[rung])
    if len(trials) < rules.trials:
        return "ask"
    if in_flight:
        return "wait"
    return _last_call(trials, rules) or "done"


def _ranked(trials: Sequence[Trial], rung: int, rules: Rules) -> list[Trial]:
    """All trials that came to ``rung`` (1 is the first), best first; those that ended badly on the way count, and come
    last. A crash says nothing of a trial, so it raises no quota.
    """
    level = rules.levels[rung - 1]
    came = [t for t in trials if t.state != "crashed" and (t.rung >= rung or (t.state in FATAL and t.target >= level))]
    values = {t.id: _score_at(t, level, rules.objective) for t in came}
    return sorted(came, key=lambda t: cost(rules.objective, values[t.id]))


def _score_at(trial: Trial, level: int, objective: Objective) -> float:
    """Score at the first evaluation at or past ``level`` images; the worst there is for a trial that earned none."""
    upto = min((images for images in trial.reports if images >= level), default=None)
    value = score(objective, trial.reports, upto) if upto and trial.state not in FATAL else None
    nothing = math.inf if objective.direction == "minimize" else -math.inf
    return nothing if value is None else value


def _waits(trial: Trial, rung: int) -> bool:
    return trial.state == "waiting" and trial.rung == rung


def _last_call(trials: Sequence[Trial], rules: Rules) -> Continue | None:
    """Nothing runs and nothing new comes: what the quotas round away must not leave the sweep without a finisher."""
    if sum(t.state == "finished" for t in trials) >= rules.keep:
        return None
    for rung in reversed(range(1, len(rules.levels))):
        for trial in _ranked(trials, rung, rules):
            if _waits(trial, rung):
                return Continue(trial, rules.levels[rung])
    return None
