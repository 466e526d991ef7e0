"""Examples from a generator, each a function of its own seed."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainers.config import Config
from trainers.randomness import normal

# Batches are always full: the last bits of a matrix product depend on its shape, and an example must not depend on its
# neighbours.
BATCH = 32


@torch.no_grad()
def sample(
    generator: nn.Module, config: Config, seeds: NDArray[np.int64], labels: NDArray[np.int64] | None = None
) -> NDArray[Any]:
    """One example per seed: uint8 (n, H, W, C) for images, float32 (n, 2) in true coordinates for points.

    ``labels`` (n,) are for conditional generators; where missing, each seed draws its own class.
    """
    device = next(generator.parameters()).device
    pieces = []
    for start in range(0, max(len(seeds), 1), BATCH):
        chosen = seeds[start : start + BATCH]
        rows = np.resize(np.arange(start, start + len(chosen)), BATCH) if len(chosen) else np.zeros(0, np.int64)
        latents = [normal((1, config.model.latent_dim), int(seeds[row]), "sample") for row in rows]
        classes = None if labels is None else torch.from_numpy(labels[rows]).to(device)
        made = generator(torch.cat(latents).to(device), classes) if latents else _nothing(generator, config, device)
        pieces.append(to_arrays(made[: len(chosen)]))
    return np.concatenate(pieces)


def to_arrays(examples: Tensor) -> NDArray[Any]:
    """Images (n, C, H, W) in [-1, 1] to uint8 (n, H, W, C); points stay float32 (n, 2)."""
    if examples.ndim == 2:
        return examples.float().cpu().numpy()
    levels = ((examples.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return levels.permute(0, 2, 3, 1).contiguous().cpu().numpy()


def _nothing(generator: nn.Module, config: Config, device: torch.device) -> Tensor:
    made: Tensor = generator(torch.zeros(1, config.model.latent_dim, device=device), None)
    return made
