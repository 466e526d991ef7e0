"""An exponential moving average of the generator's weights, with its memory told in images."""

from __future__ import annotations

import torch
from torch import Tensor


def half_life(images: int, longest: float, ramp: float) -> float:
    """The half-life once ``images`` are shown: ``longest``, but at most the share ``ramp`` of them (0: always
    ``longest``), so that the average soon forgets the first weights (StyleGAN2-ADA, ``ema_rampup``).
    """
    return min(longest, images * ramp) if ramp else longest


def decay(half_life: float, batch_size: int) -> float:
    """The factor per step after which a weight's share has halved once ``half_life`` images have passed."""
    return 0.5 ** (batch_size / half_life) if half_life > 0 else 0.0


def first_weights(images: int, longest: float, ramp: float) -> float:
    """What share the first weights still have in the average after ``images``. With a ramp it falls like a power of
    the images, within the first steps.
    """
    return 0.0 if ramp or not longest else decay(longest, images)


@torch.no_grad()
def update(average: list[Tensor], model: list[Tensor], keep: float) -> None:
    """``average <- keep * average + (1 - keep) * model`` in place."""
    torch._foreach_lerp_(average, model, 1 - keep)
