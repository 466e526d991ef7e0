"""A warm start: trials of another sweep that the sampler of this one is shown beside its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from optuna.trial import FrozenTrial, TrialState, create_trial

from orchestrator.errors import UserError
from orchestrator.search import objective
from orchestrator.search.ends import end_of
from orchestrator.search.kept import kept, unkept
from orchestrator.search.known import Known
from orchestrator.search.space import searched
from orchestrator.search.trial import FATAL, Trial
from orchestrator.settings.dimension import inside
from orchestrator.spec import Sweep

WARM = "gansweep.warm"
"""The attribute that holds whose trials they are, and what is known of them."""


def warmth(other: Known, sweep: Sweep) -> dict[str, Any]:
    """What ``sweep`` takes over from another: its trials with a score or a bad end that lie in the space, as JSON.

    Raises UserError where the other searches for something else, or no trial of it lies in the space.
    """
    theirs, ours = other.sweep, sweep
    if (theirs.family, theirs.objective.goals) != (ours.family, ours.objective.goals):
        raise UserError(
            f"--warm-start {theirs.name}: what it knows is no help here: it is to {theirs.objective.told} (family "
            f"{theirs.family}), and this sweep to {ours.objective.told} (family {ours.family})"
        )
    known = [
        {"params": kept(params), "state": "waiting" if t.state == "running" else t.state}
        | {"images": t.images, "scores": t.scores, "violations": t.violations}
        for t in other.trials()
        if (t.scores or t.state in FATAL) and inside(ours.search.space, params := _here(t.params, theirs, ours))
    ]
    if not known:
        raise UserError(
            f"--warm-start {theirs.name}: none of its {len(other.trials())} trials has a score and lies in this space"
        )
    return {"from": theirs.name, "trials": known}


def _here(params: Mapping[str, Any], theirs: Sweep, ours: Sweep) -> dict[str, Any]:
    """Settings of a trial by the names that are searched here: what it did not search, its file says."""
    config = theirs.trial_config(dict(params))
    values = {
        name: getattr(getattr(config, group), key) for name in ours.search.space for group, key in [name.split(".")]
    }
    space = ours.search.space
    while off := [n for n, v in values.items() if any(values.get(o) not in held for o, held in space[n].when.items())]:
        values = {name: value for name, value in values.items() if name not in off}
    return values


def shown(found: Mapping[str, Any], sweep: Sweep) -> Sequence[tuple[Trial, FrozenTrial]]:
    """As a ledger and Optuna would have them."""
    trials = [_trial(number, one, sweep) for number, one in enumerate(found["trials"])]
    return [(trial, _frozen(trial, trials, sweep)) for trial in trials]


def _trial(number: int, one: Mapping[str, Any], sweep: Sweep) -> Trial:
    scores = tuple(one["scores"])
    return Trial(
        *(number, unkept(one["params"], sweep), one["state"], one["images"], one["images"], 1),
        scores=scores,
        score=scores[0] if scores else None,
        violations=one["violations"],
    )


def _frozen(trial: Trial, all_: Iterable[Trial], sweep: Sweep) -> FrozenTrial:
    kinds = searched(sweep)
    params = {name: value for name, value in kept(trial.params).items() if name in kinds}
    made = create_trial(
        state=TrialState.RUNNING,
        params=params,
        distributions={name: kinds[name] for name in params},
        intermediate_values={trial.images: trial.scores[0]} if trial.scores else {},
    )
    if trial.ended:
        worst = objective.worst(sweep.objective, (one.scores for one in all_ if one.scores))
        made.state, values, made.system_attrs = end_of(trial, lambda: worst)
        made.values = list(values) if values else None
    return made
