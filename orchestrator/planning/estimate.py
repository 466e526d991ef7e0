"""How much training a sweep asks for, before it starts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from orchestrator.search.effort import Stage, confirming, searching
from orchestrator.secrets import without_secrets
from orchestrator.settings.dimension import ancestors, extended
from orchestrator.spec import Sweep

if TYPE_CHECKING:
    from orchestrator.planning.earlier import Earlier
    from trainers.data import Space

CORNERS = 256
"""Combinations of settings whose networks are measured, at most."""


@dataclass(frozen=True)
class Estimate:
    """``images`` over all legs; ``share_of_full`` compares with training every trial to its whole budget."""

    trials: int
    legs: int
    confirmations: int
    images: int
    share_of_full: float


def parameters(sweep: Sweep) -> dict[str, int]:
    """Trained values of both networks as the file stands; empty where only reading the data would tell."""
    space = _space(sweep)
    return _counts(sweep, space, {}) if space else {}


def parameter_ranges(sweep: Sweep) -> dict[str, tuple[int, int]]:
    """The smallest and the largest that each network can be over the search space, at the ends of its intervals; empty
    where the search does not change them, or where only reading the data would tell.
    """
    space, searched = _space(sweep), sweep.search.space
    shaping = [name for name in searched if name.startswith("model.") or name == "train.packing"]
    if not space or not shaping:
        return {}
    names = set(shaping).union(*(ancestors(searched, name) for name in shaping)) & set(searched)
    points: Iterator[dict[str, Any]] = iter([{}])
    for name in sorted(names, key=lambda name: len(ancestors(searched, name))):
        points = extended(points, name, searched[name], searched[name].corners)
    counted = [_counts(sweep, space, point) for point in islice(points, CORNERS)]
    return {player: (min(c[player] for c in counted), max(c[player] for c in counted)) for player in counted[0]}


def _counts(sweep: Sweep, space: Space, params: dict[str, Any]) -> dict[str, int]:
    from trainers.families import FAMILIES

    config = sweep.trial_config(params)
    return FAMILIES[config.family].open().sizes(config, space)


def _space(sweep: Sweep) -> Space | None:
    from trainers.check import BUILT_IN, CLIPS, TEXT
    from trainers.data import Space, load

    data = sweep.data
    if data.name == "clips":
        return Space((data.frames, data.channels, data.resolution, data.resolution))
    if data.name in (*BUILT_IN, *TEXT, *CLIPS):
        return load(data).space
    if sweep.model.conditional or ":" in data.name:
        return None
    return Space((data.channels, data.resolution, data.resolution))


def estimate(sweep: Sweep) -> Estimate:
    """Counts halving as it comes out when no trial ends badly: a bad end only makes it cheaper."""
    trials, confirm = sweep.most_trials, confirming(sweep)
    search = searching(sweep, max(1, confirm.top))
    confirmations = confirm.trainings(trials)
    images = sum(stage.images for stage in search) + confirmations * sweep.train.images
    legs = sum(stage.trainings for stage in search) + confirmations
    full = (trials + confirmations) * sweep.train.images
    return Estimate(trials, legs, confirmations, images, images / full)


def stages(sweep: Sweep) -> list[tuple[str, Stage]]:
    """What each rung and the confirmation cost, named."""
    confirm = confirming(sweep)
    found = [(f"rung {i}", stage) for i, stage in enumerate(searching(sweep, max(1, confirm.top)), start=1)]
    again = confirm.trainings(sweep.most_trials)
    return [*found, ("fresh seeds", Stage(sweep.train.images, again, again * sweep.train.images))]


def document(sweep: Sweep, earlier: Earlier | None) -> dict[str, Any]:
    """What ``gansweep plan --json`` prints."""
    resolved = json.loads(without_secrets(json.dumps(sweep.model_dump(mode="json", by_alias=True, exclude={"code"}))))
    guess = estimate(sweep)
    seconds = guess.images / earlier.images_per_second if earlier else None
    told = {"sweep": resolved, "estimate": {**guess.__dict__, "seconds": seconds}}
    costs = [{"name": name, **stage._asdict()} for name, stage in stages(sweep)]
    sizes = {"parameters": parameters(sweep), "parameter_ranges": parameter_ranges(sweep)}
    return {**told, "stages": costs, **sizes}
