"""An exponential moving average of the generator's weights, with its memory told in images."""

from __future__ import annotations

import torch
from torch import Tensor


def decay(half_life: float, batch_size: int) -> float:
    """The factor per step after which a weight's share has halved once ``half_life`` images have passed."""
    return 0.5 ** (batch_size / half_life) if half_life > 0 else 0.0


@torch.no_grad()
def update(average: list[Tensor], model: list[Tensor], keep: float) -> None:
    """``average <- keep * average + (1 - keep) * model`` in place."""
    torch._foreach_lerp_(average, model, 1 - keep)
