"""What to try next: the sampler's proposal on a view of the ledger, and never what was tried before."""

from __future__ import annotations

import copy
import random
from collections.abc import Container, Sequence
from itertools import islice
from typing import Any

import optuna
from optuna.samplers import BaseSampler, RandomSampler
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from orchestrator.search.kept import kept
from orchestrator.search.objective import Scores, costs
from orchestrator.search.points import Points
from orchestrator.search.ranking import Key, Ranking, ranking
from orchestrator.search.samplers import SAMPLERS, STARTUP, Gp, Sobol, middle
from orchestrator.search.space import searched, suggest
from orchestrator.search.trial import BAD, Trial
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
    """What the sampler is shown: trials as the ledger has them, but one that waits at a rung, or trains on after one,
    with what is known of it: TPE puts RUNNING ones into its bad group, and the others know nothing of them.

    TPE with one objective ranks such trials by how far they came and their score there, as PRUNED ones. To the others
    they are COMPLETE with their scores so far, and every trial has all settings and the same constraints.
    """

    def __init__(self, sweep: Sweep, before: Sequence[tuple[Trial, FrozenTrial]] = ()) -> None:
        """``before`` are trials of another sweep, for a warm start."""
        self._objective, self._space = sweep.objective, searched(sweep)
        self._as_pruned = sweep.search.sampler == "tpe" and len(sweep.objective.goals) == 1
        self._absent = middle(self._space) if self._space else {}
        self._ranking = Ranking() if self._as_pruned else ranking(sweep.objective)
        self._running, self._trials = set[int](), dict[int, Trial]()
        self._before = [frozen for _, frozen in before]
        for place, (trial, frozen) in enumerate(before):
            self._put(place, trial, frozen)

    @property
    def known(self) -> int:
        """Trials of which something is known."""
        return len(self._ranking)

    def put(self, trial: Trial, frozen: FrozenTrial) -> None:
        """As it stands now."""
        if not trial.outside:
            self._put(len(self._before) + trial.id, trial, frozen)

    def _put(self, place: int, trial: Trial, frozen: FrozenTrial) -> None:
        new = trial.state == "running" and not trial.rung
        (self._running.add if new else self._running.discard)(place)
        self._trials[place] = trial
        key = self._key(trial, frozen) if self._as_pruned else self._costs(trial, frozen)
        self._ranking.put(place, None if new or frozen.state == TrialState.FAIL else key)

    def of(self, trials: Sequence[FrozenTrial], seed: int) -> list[FrozenTrial]:
        """Those shown to the sampler of this seed, by number."""
        order, shown = self._ranking, set(self._running)
        if len(order) <= SHOWN:
            places: Sequence[int] = range(len(order))
        else:
            places = [*range(GOOD), *random.Random(seed).sample(range(GOOD, len(order)), SHOWN - GOOD)]
        shown |= {order[place] for place in places}
        first = len(self._before)
        frozen = {place: self._before[place] if place < first else trials[place - first] for place in shown}
        return [self._shown(place, frozen[place]) for place in sorted(shown)]

    def _shown(self, place: int, frozen: FrozenTrial) -> FrozenTrial:
        trial, seen = self._trials[place], copy.copy(frozen)
        seen.number = place + 1  # 0 is the new one's
        if not self._as_pruned:
            seen.params = self._absent | frozen.params
        if place in self._running:
            return seen
        if not self._as_pruned:
            seen.state, seen.values = TrialState.COMPLETE, list(_values(trial, frozen))
            bad_end = {"ended badly": 1.0 if trial.state in BAD else -1.0}
            seen.system_attrs = create_trial(value=0, constraints=trial.violations | bad_end).system_attrs
        elif frozen.state == TrialState.RUNNING:
            seen.state = TrialState.PRUNED
        return seen

    def _costs(self, trial: Trial, frozen: FrozenTrial) -> Key | None:
        """None where nothing is known yet; a trial that violates a constraint comes last."""
        if not (values := _values(trial, frozen)):
            return None
        return costs(self._objective, values if trial.feasible and trial.state not in BAD else ())

    def _key(self, trial: Trial, frozen: FrozenTrial) -> Key:
        """TPE's own order (Optuna 5.0, ``_split_trials``): what finished within its constraints, by score; what was
        pruned, by how far it came and its last score; what violates one, by how much.
        """
        violated = sum(v for v in frozen.constraints.values() if v > 0)
        if violated:
            return (2, violated, 0.0)
        if frozen.values is not None:
            return (0, *costs(self._objective, tuple(frozen.values)), 0.0)
        if not frozen.intermediate_values:
            return (1, 1, 0.0)
        images, value = max(frozen.intermediate_values.items())
        return (1, -images, *costs(self._objective, (value,)))


def _values(trial: Trial, frozen: FrozenTrial) -> Scores:
    """As they were told at its end, or as they stand."""
    return tuple(frozen.values or trial.scores)


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


def propose(
    sweep: Sweep,
    number: int,
    view: View,
    trials: Sequence[FrozenTrial],
    points: Points,
    added: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    """Settings of the new trial ``number``: the next of ``search.start_with``, then of those ``added``, or the
    sampler's. The same settings with
    the same seed would train to the same bits again, so what was tried comes only where nothing else is left.

    Seeded by the number, so that a resumed sweep proposes what an undisturbed one would have.
    """
    seed = (sweep.search.seed + 1_000_003 * number) % 2**32  # as far as a sampler takes seeds
    shown, first = view.of(trials, seed), [*sweep.search.starts[number:], *added]
    if sweep.search.sampler == "grid" and not first:
        return next(points.left())
    sampler, params = sampler_of(sweep, number, seed, view.known), dict[str, Any]()
    directions = [goal.direction for goal in sweep.objective.goals]
    for attempt in range(ASKS):
        study = optuna.create_study(storage=_Shown(shown), directions=directions, sampler=sampler)
        if first and attempt == 0:
            study.enqueue_trial(kept(first[0]))
        params = suggest(study.ask(), sweep)
        if not points.has(params):
            return params
        if isinstance(sampler, Sobol | Gp):  # would propose the same again
            sampler = RandomSampler(seed=seed)
    left = list(islice(points.left(), 10_000))
    return random.Random(number).choice(left) if left else params


def sampler_of(sweep: Sweep, number: int, seed: int, known: int) -> BaseSampler:
    """The one that the sweep asks for; for trial ``number`` of one that learns, while too little is known, Sobol."""
    space, name = searched(sweep), sweep.search.sampler
    if name in ("tpe", "gp", "nsga2") and known < STARTUP and space:
        return Sobol(space, sweep.search.seed, number)
    return SAMPLERS[name](space, seed)
