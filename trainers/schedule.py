"""How a value changes over a training. Needs no torch."""

from __future__ import annotations

import math
from typing import Literal


def share(schedule: Literal["constant", "linear", "cosine"], final: float, progress: float) -> float:
    """The factor at ``progress`` in [0, 1]: from 1 to ``final`` along a line or half a cosine; constant stays 1."""
    if schedule == "constant":
        return 1.0
    left = 1 - min(progress, 1.0)
    if schedule == "cosine":
        left = (1 - math.cos(math.pi * left)) / 2
    return final + (1 - final) * left


def half_life(images: int, longest: float, ramp: float) -> float:
    """The half-life once ``images`` are shown: ``longest``, but at most the share ``ramp`` of them (0: always
    ``longest``), so that the average soon forgets the first weights (StyleGAN2-ADA, ``ema_rampup``).
    """
    return min(longest, images * ramp) if ramp else longest


def first_weights(images: int, longest: float, ramp: float) -> float:
    """What share the first weights still have in the average after ``images``. With a ramp it falls like a power of
    the images, within the first steps.
    """
    return 0.0 if ramp or not longest else 0.5 ** (images / longest)
