"""Which leg comes next where trials train as one population (Jaderberg et al., "Population Based Training of Neural
Networks", 2017). Pure: no Optuna, no clock.

All members train to a level; then the worst of them, and those that ended badly, are replaced: a new trial goes on from
the checkpoint of one of the best (exploit) with other settings (explore). Generations are synchronous, so that the same
sweep, interrupted or not, comes to the same trials.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.search.objective import costs, scores_at
from orchestrator.search.ranking import in_order
from orchestrator.search.rungs import Continue, Decision, Rules
from orchestrator.search.trial import Trial
from orchestrator.settings.dimension import Dimension, changing

FACTORS = (0.8, 1.2)
"""What a setting is multiplied with (section 4.1 of the paper)."""
RESAMPLE = 0.25
"""Chance that it is drawn anew instead."""


@dataclass(frozen=True)
class Exploit:
    """A new trial goes on from where ``parent`` stands, in place of ``replaced``."""

    parent: Trial
    replaced: Trial


class Population:
    """As ``Ladder``, for trials of which a share of ``replace`` is replaced at each level."""

    def __init__(self, rules: Rules, replace: float, seed: int, trials: Iterable[Trial] = ()) -> None:
        self._rules, self._replace, self._seed = rules, replace, seed
        self._trials: dict[int, Trial] = {}
        for trial in trials:
            self.put(trial)

    def put(self, trial: Trial) -> None:
        """As it stands now."""
        self._trials[trial.id] = trial

    def decide(self, in_flight: frozenset[int], may_ask: bool) -> Decision | Exploit:
        """As ``Ladder.decide``; or who is to be replaced before there is a next leg."""
        members = self._members()
        if interrupted := [t for t in members if t.state == "running" and t.id not in in_flight]:
            return Continue(interrupted[0], interrupted[0].target)
        if may_ask:
            return "ask"
        levels, waiting = self._rules.levels, [t for t in members if t.state == "waiting"]
        generation = 1 + levels.index(max((t.target for t in members if not t.ended), default=levels[0]))
        if late := [t for t in waiting if t.rung < generation]:
            return Continue(late[0], levels[late[0].rung])
        if in_flight:
            return "wait"
        if waiting:
            return self._exploit(members) or Continue(waiting[0], levels[generation])
        return "done"

    @property
    def has_finished(self) -> bool:
        """Whether a trial has come to the end."""
        return any(trial.state == "finished" for trial in self._trials.values())

    def last_call(self, keep: int) -> Continue | None:
        """For a budget that is too small for all: the best of those that came furthest goes on."""
        waiting = [t for t in self._members() if t.state == "waiting"]
        if self.has_finished or not waiting:
            return None
        rung = max(t.rung for t in waiting)
        best = self._ranked([t for t in waiting if t.rung == rung])[0]
        return Continue(best, self._rules.levels[rung])

    def _members(self) -> list[Trial]:
        """Who is of the population now: nobody that was replaced, has finished, or was ended by somebody."""
        gone = {trial.origin.replaced for trial in self._trials.values() if trial.origin}
        over = ("finished", "pruned")
        return [t for t in self._trials.values() if t.id not in gone and t.state not in over and not t.outside]

    def _exploit(self, members: Sequence[Trial]) -> Exploit | None:
        """The next to be replaced while all others wait at a level. Who has come here as a copy is judged next time."""
        waiting = [t for t in members if t.state == "waiting"]
        copies = [t for t in waiting if t.origin and t.images == t.begun]
        dead = [t for t in members if t.ended and t.target <= waiting[0].target]
        ranked = self._ranked([t for t in waiting if t not in copies])
        quota = max(1, int(self._replace * len(members)))
        best, worst = [t for t in ranked[:quota] if t.scores and t.checkpoint], ranked[quota:]
        if not best or max(quota - len(copies), len(dead)) <= 0 or not (dead or worst):
            return None
        chance = random.Random(f"{self._seed} {len(self._trials)}")
        return Exploit(chance.choice(best), dead[0] if dead else worst[-1])

    def _ranked(self, trials: Sequence[Trial]) -> list[Trial]:
        """Those that wait at a level, the best first."""
        aim, level = self._rules.objective, self._rules.levels
        at = {t.id: costs(aim, scores_at(aim, t.reports, level[t.rung - 1])) for t in trials}
        return [self._trials[number] for number in in_order(aim, at)]


def explored(space: Mapping[str, Dimension], params: Mapping[str, Any], seed: int, number: int) -> dict[str, Any]:
    """Settings of the new trial ``number``: those of the trial from whose checkpoint it goes on, of which each that may
    change on the way is multiplied by a factor, or drawn anew.
    """
    chance, found = random.Random(f"{seed} {number} explore"), dict(params)
    for name in sorted(params.keys() & changing(space)):
        found[name] = _other(space[name], params[name], chance)
    return found


def schedule(trial: Trial, trials: Sequence[Trial]) -> list[tuple[float, dict[str, Any]]]:
    """The settings under which a trial was trained from the first image on, each with the images up to which they held;
    infinity for its own.
    """
    found: list[tuple[float, dict[str, Any]]] = [(math.inf, trial.params)]
    while trial.origin:
        found.insert(0, (trial.begun, trials[trial.origin.trial].params))
        trial = trials[trial.origin.trial]
    return found


def words(trial: Trial, trials: Sequence[Trial]) -> str:
    """What changed on the way of a trial, and when; empty where nothing did."""
    if not trial.origin:
        return ""
    parts = schedule(trial, trials)
    changed = [name for name in sorted(trial.params) if len({repr(params[name]) for _, params in parts}) > 1]
    return "; ".join(
        ", ".join(f"{name} {params[name]:.4g}" for name in changed)
        + (f" up to {until:,} images" if math.isfinite(until) else " to the end")
        for until, params in parts
    )


def _other(dimension: Dimension, value: float, chance: random.Random) -> float:
    (low, high), step = dimension.ends, dimension.step or (1 if dimension.int_ else 0)
    if chance.random() < RESAMPLE:
        value = math.exp(chance.uniform(math.log(low), math.log(high))) if dimension.log else chance.uniform(low, high)
    else:
        value *= chance.choice(FACTORS)
    value = min(max(value, low), high)
    value = low + step * round((value - low) / step) if step else value
    return int(value) if dimension.int_ else value
