"""How much training a sweep asks for when no trial ends badly, and how much of it goes into confirmation. Pure."""

from __future__ import annotations

from typing import NamedTuple

from orchestrator.spec import Sweep

MOST = 3
"""Trials that ``confirm.top: auto`` confirms, where a third of all images is enough for it."""


class Effort(NamedTuple):
    """Of a search: its legs, and the images of all of them."""

    legs: int
    images: int


class Confirming(NamedTuple):
    """What ``confirm`` came to: the ``top`` trials (0: none) on ``seeds`` fresh seeds each."""

    top: int
    seeds: int


def searching(sweep: Sweep, keep: int) -> Effort:
    """Halving as it comes out when no trial ends badly, and at least ``keep`` go to the end."""
    reduction = sweep.rungs.reduction if sweep.rungs else 1
    reaching, images, legs, before = sweep.most_trials, 0, 0, 0
    for level in sweep.rung_images():
        images += reaching * (level - before)
        legs += reaching
        before, reaching = level, min(reaching, max(reaching // reduction, keep))
    return Effort(legs, images)


def confirming(sweep: Sweep) -> Confirming:
    """``confirm`` in numbers: ``auto`` is what fits into a third of all images, fewer trials before fewer seeds."""
    top, seeds = sweep.confirm.top, sweep.confirm.seeds
    if top != "auto":
        return Confirming(top, seeds)
    for size in (*((t, seeds) for t in range(MOST, 1, -1)), *((1, s) for s in range(seeds, 0, -1))):
        again = size[0] * size[1] * sweep.train.images
        if 3 * again <= searching(sweep, size[0]).images + again:
            return Confirming(*size)
    return Confirming(0, seeds)
