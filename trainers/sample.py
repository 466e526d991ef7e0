"""Examples from a generator, each a function of its own seed."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainers.config import Config
from trainers.randomness import normal

BATCH = (
    32  # always full: the last bits of a matrix product depend on its shape, and an example must not on its neighbours
)


@torch.no_grad()
def sample(
    generator: nn.Module, config: Config, seeds: NDArray[np.int64], labels: NDArray[np.int64] | None = None
) -> NDArray[Any]:
    """One example per seed: uint8 (n, H, W, C) for images, float32 (n, 2) in true coordinates for points.

    ``labels`` (n,) are for conditional generators; where missing, each seed draws its own class.
    """
    device = next(generator.parameters()).device
    pieces = []
    for start in range(0, len(seeds), BATCH):
        chosen = [int(s) for s in seeds[start : start + BATCH]]
        padded = chosen + chosen[-1:] * (BATCH - len(chosen))
        latents = torch.cat([normal((1, config.model.latent_dim), s, "sample") for s in padded])
        made = generator(latents.to(device), None)[: len(chosen)]
        pieces.append(to_arrays(made))
    return (
        np.concatenate(pieces)
        if pieces
        else to_arrays(generator(torch.zeros(1, config.model.latent_dim).to(device)))[:0]
    )


def to_arrays(examples: Tensor) -> NDArray[Any]:
    """Images (n, C, H, W) in [-1, 1] to uint8 (n, H, W, C); points stay float32 (n, 2)."""
    if examples.ndim == 2:
        return examples.float().cpu().numpy()
    levels = ((examples.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return levels.permute(0, 2, 3, 1).contiguous().cpu().numpy()
