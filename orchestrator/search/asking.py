"""What to try next: the sampler's proposal on a view of the ledger, and never what was tried before."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import optuna
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from orchestrator.search.space import kept, suggest
from orchestrator.search.trial import Trial
from orchestrator.spec import Sweep

ASKS = 10
"""Times that the sampler is asked where it proposes what was tried; then any point that is left is drawn."""


def propose(sweep: Sweep, sampler: BaseSampler, known: Sequence[tuple[Trial, FrozenTrial]]) -> dict[str, Any]:
    """Settings of a new trial: the next of ``search.start_with``, or the sampler's. The same settings with the same
    seed would train to the same bits again, so what was tried comes only where nothing else is left.
    """
    trials, seen = [trial for trial, _ in known], [_as_sampler_sees(trial, frozen) for trial, frozen in known]
    before, first = _tried(trials), sweep.search.start_with[len(trials) :]
    params: dict[str, Any] = {}
    for attempt in range(ASKS):
        view = optuna.create_study(direction=sweep.objective.direction, sampler=sampler)
        view.add_trials(seen)
        if first and attempt == 0:
            view.enqueue_trial(kept(first[0]))
        params = suggest(view.ask(), sweep)
        if _point(params) not in before:
            return params
    left = list(islice(untried(sweep, trials) or (), 10_000))
    return random.Random(len(trials)).choice(left) if left else params


def can_ask(sweep: Sweep, trials: Sequence[Trial]) -> int:
    """How many new trials may come: those asked for, as far as the space has points that were not tried."""
    wanted = max(0, sweep.search.trials - len(trials))
    left = untried(sweep, trials)
    return wanted if left is None else sum(1 for _ in islice(left, wanted))


def untried(sweep: Sweep, trials: Iterable[Trial]) -> Iterator[dict[str, Any]] | None:
    """The points of a finite space that no trial stands for; None where there is no end of them."""
    points, before = sweep.search.points(), _tried(trials)
    return None if points is None else (point for point in points if _point(point) not in before)


def _tried(trials: Iterable[Trial]) -> set[str]:
    return {_point(trial.params) for trial in trials}


def _point(params: Mapping[str, Any]) -> str:
    """Equal for equal settings, in whatever order they were asked for, and by whatever sum a step was reached."""
    return repr(sorted((name, f"{v:.12g}" if isinstance(v, float) else v) for name, v in params.items()))


def _as_sampler_sees(trial: Trial, frozen: FrozenTrial) -> FrozenTrial:
    """A waiting trial stands as PRUNED with its intermediate values: TPE puts RUNNING ones into its bad group."""
    if trial.state != "waiting":
        return frozen
    return create_trial(
        state=TrialState.PRUNED,
        params=frozen.params,
        distributions=frozen.distributions,
        intermediate_values=frozen.intermediate_values,
    )
