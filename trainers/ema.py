"""An exponential moving average of the generator's weights, with its memory told in images."""

from __future__ import annotations

import torch
from torch import nn


def decay(half_life: float, batch_size: int) -> float:
    """The factor per step after which a weight's share has halved once ``half_life`` images have passed."""
    return 0.5 ** (batch_size / half_life) if half_life > 0 else 0.0


@torch.no_grad()
def update(average: nn.Module, model: nn.Module, keep: float) -> None:
    """``average <- keep * average + (1 - keep) * model`` for parameters; buffers (statistics, counters) are copied."""
    torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - keep)
    buffers = list(average.buffers())
    if buffers:
        torch._foreach_copy_(buffers, list(model.buffers()))
