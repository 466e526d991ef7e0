"""How much training a sweep asks for, before it starts."""

from __future__ import annotations

from dataclasses import dataclass

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
    levels, trials = sweep.rung_images(), sweep.search.trials
    keep = max(1, sweep.confirm.top)
    reduction = sweep.rungs.reduction if sweep.rungs else 1
    images, legs, reaching, before = 0, 0, trials, 0
    for level in levels:
        images += reaching * (level - before)
        legs += reaching
        before, reaching = level, min(reaching, max(reaching // reduction, keep))
    confirmations = min(sweep.confirm.top, trials) * sweep.confirm.seeds
    images += confirmations * levels[-1]
    full = (trials + confirmations) * levels[-1]
    return Estimate(trials, legs + confirmations, confirmations, images, images / full)
