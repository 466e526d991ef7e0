"""How much training a sweep asks for when no trial ends badly, and how much of it goes into confirmation. Pure."""

from __future__ import annotations

from typing import NamedTuple

from orchestrator.spec import Sweep

MOST = 3
"""Trials that ``confirm.top: auto`` confirms, where a third of all images is enough for it."""


class Stage(NamedTuple):
    """``trainings`` come to ``level`` images; from the stage before to there they show ``images`` in all."""

    level: int
    trainings: int
    images: int


class Confirming(NamedTuple):
    """What ``confirm`` came to: the ``top`` trials (0: none) on ``seeds`` fresh seeds each."""

    top: int
    seeds: int


def searching(sweep: Sweep, keep: int) -> list[Stage]:
    """Rung by rung, as halving comes out when no trial ends badly, and at least ``keep`` go to the end."""
    reduction = sweep.rungs.reduction if sweep.rungs else 1
    reaching, before, stages = sweep.most_trials, 0, []
    for level in sweep.rung_images():
        stages.append(Stage(level, reaching, reaching * (level - before)))
        before, reaching = level, min(reaching, max(reaching // reduction, keep))
    return stages


def confirming(sweep: Sweep) -> Confirming:
    """``confirm`` in numbers: ``auto`` is what fits into a third of all images, fewer trials before fewer seeds."""
    top, seeds = sweep.confirm.top, sweep.confirm.seeds
    if top != "auto":
        return Confirming(top, seeds)
    for size in (*((t, seeds) for t in range(MOST, 1, -1)), *((1, s) for s in range(seeds, 0, -1))):
        again = size[0] * size[1] * sweep.train.images
        if 3 * again <= sum(stage.images for stage in searching(sweep, size[0])) + again:
            return Confirming(*size)
    return Confirming(0, seeds)
