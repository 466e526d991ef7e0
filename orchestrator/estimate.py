"""How much training a sweep asks for, before it starts."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.search.effort import Stage, confirming, searching
from orchestrator.spec import Sweep


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
    from trainers.check import BUILT_IN
    from trainers.data import Space, load
    from trainers.models import parameter_counts

    data, model = sweep.data, sweep.model
    if data.name in BUILT_IN:
        space = load(data).space
    elif model.conditional or ":" in data.name:
        return {}
    else:
        space = Space((data.channels, data.resolution, data.resolution))
    return parameter_counts(sweep.trial_config({}), space)


def estimate(sweep: Sweep) -> Estimate:
    """Counts halving as it comes out when no trial ends badly: a bad end only makes it cheaper."""
    trials, confirm = sweep.most_trials, confirming(sweep)
    search = searching(sweep, max(1, confirm.top))
    confirmations = min(confirm.top, trials) * confirm.seeds
    images = sum(stage.images for stage in search) + confirmations * sweep.train.images
    legs = sum(stage.trainings for stage in search) + confirmations
    full = (trials + confirmations) * sweep.train.images
    return Estimate(trials, legs, confirmations, images, images / full)


def stages(sweep: Sweep) -> list[tuple[str, Stage]]:
    """What each rung and the confirmation cost, named."""
    confirm = confirming(sweep)
    found = [(f"rung {i}", stage) for i, stage in enumerate(searching(sweep, max(1, confirm.top)), start=1)]
    again = min(confirm.top, sweep.most_trials) * confirm.seeds
    return [*found, ("fresh seeds", Stage(sweep.train.images, again, again * sweep.train.images))]
