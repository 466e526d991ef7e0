"""What to try next: the sampler's proposal on a view of the ledger, and never what was tried before."""

from __future__ import annotations

import copy
import random
from collections.abc import Container, Sequence
from itertools import islice
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from orchestrator.search.kept import kept
from orchestrator.search.objective import cost
from orchestrator.search.points import Points
from orchestrator.search.ranking import Key, Ranking
from orchestrator.search.space import distribution, suggest
from orchestrator.search.trial import Trial
from orchestrator.spec import Sweep

ASKS = 10
"""Times that the sampler is asked where it proposes what was tried; then any point that is left is drawn."""

GOOD = 25
"""TPE learns where to look from the best tenth, and never from more than so many."""

SHOWN = 10 * GOOD
"""Ended and waiting trials that the sampler is shown: as many as make ``GOOD`` of them a tenth. They are the best, so
that TPE's good ones are the same as if it saw all, and others by lot. It takes as long as it sees trials, 45 ms for
1,000."""


class View:
    """What the sampler is shown: trials as the ledger has them, but one that waits stands as PRUNED with its
    intermediate values, because TPE puts RUNNING ones into its bad group. Told of every change of a trial.
    """

    def __init__(self, sweep: Sweep) -> None:
        self._objective = sweep.objective
        self._ranking, self._running = Ranking(), set[int]()

    def put(self, trial: Trial, frozen: FrozenTrial) -> None:
        """As it stands now."""
        (self._running.add if trial.state == "running" else self._running.discard)(trial.id)
        self._ranking.put(trial.id, self._key(trial, frozen) if trial.state not in ("running", "crashed") else None)

    def of(self, trials: Sequence[FrozenTrial], seed: int) -> list[FrozenTrial]:
        """Those shown to the sampler of this seed, by number."""
        order, shown = self._ranking, set(self._running)
        if len(order) <= SHOWN:
            places: Sequence[int] = range(len(order))
        else:
            places = [*range(GOOD), *random.Random(seed).sample(range(GOOD, len(order)), SHOWN - GOOD)]
        shown |= {order[place] for place in places}
        return [_shown(trials[number], number in self._running) for number in sorted(shown)]

    def _key(self, trial: Trial, frozen: FrozenTrial) -> Key:
        """TPE's own order (Optuna 5.0, ``_split_trials``): what finished within its constraints, by score; what was
        pruned, by how far it came and its last score; what violates one, by how much.
        """
        violated = sum(v for v in frozen.constraints.values() if v > 0)
        if violated:
            return (2, violated, 0.0)
        if trial.state != "waiting" and frozen.value is not None:
            return (0, cost(self._objective, frozen.value), 0.0)
        if not frozen.intermediate_values:
            return (1, 1, 0.0)
        images, value = max(frozen.intermediate_values.items())
        return (1, -images, cost(self._objective, value))


def _shown(frozen: FrozenTrial, running: bool) -> FrozenTrial:
    seen = copy.copy(frozen)
    seen.number += 1  # 0 is the new one's
    if frozen.state == TrialState.RUNNING and not running:
        seen.state = TrialState.PRUNED
    return seen


class _Shown(InMemoryStorage):
    """The storage of a study that shows ``trials`` beside its own, without a copy of each."""

    def __init__(self, trials: Sequence[FrozenTrial]) -> None:
        super().__init__()
        self._trials = trials

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        own = super().get_all_trials(study_id, deepcopy, states)
        return [*(trial for trial in self._trials if states is None or trial.state in states), *own]


def propose(sweep: Sweep, number: int, view: View, trials: Sequence[FrozenTrial], points: Points) -> dict[str, Any]:
    """Settings of the new trial ``number``: the next of ``search.start_with``, or the sampler's. The same settings with
    the same seed would train to the same bits again, so what was tried comes only where nothing else is left.

    Seeded by the number, so that a resumed sweep proposes what an undisturbed one would have.
    """
    seed = (sweep.search.seed + 1_000_003 * number) % 2**32  # as far as a sampler takes seeds
    sampler, shown, first = sampler_of(sweep, seed), view.of(trials, seed), sweep.search.start_with[number:]
    params: dict[str, Any] = {}
    for attempt in range(ASKS):
        study = optuna.create_study(storage=_Shown(shown), direction=sweep.objective.direction, sampler=sampler)
        if first and attempt == 0:
            study.enqueue_trial(kept(first[0]))
        params = suggest(study.ask(), sweep)
        if not points.has(params):
            return params
    left = list(islice(points.left(), 10_000))
    return random.Random(number).choice(left) if left else params


def sampler_of(sweep: Sweep, seed: int) -> BaseSampler:
    """The one that the sweep asks for."""
    return Tpe(sweep, seed) if sweep.search.sampler == "tpe" else RandomSampler(seed=seed)


class Tpe(TPESampler):
    """Knows what it proposes jointly, the settings that every trial has; Optuna's own compares all trials for it."""

    def __init__(self, sweep: Sweep, seed: int) -> None:
        super().__init__(seed=seed)
        always = {name: distribution(one) for name, one in sorted(sweep.search.space.items()) if not one.when}
        self._always = {name: one for name, one in always.items() if not one.single()}

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._always
