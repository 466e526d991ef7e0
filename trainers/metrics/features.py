"""Feature arrays as every measure wants them, and distances between them in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

Features = Tensor | np.ndarray[Any, Any]

CHUNK = 2**23
"""Entries of a distance or kernel block: 64 MiB in float64, so that no measure ever holds n x n values."""


class FeatureError(ValueError):
    """Features that a measure cannot answer for: wrong shape, too few, or not finite. The message says which and
    why."""


def pair(real: Features, fake: Features, at_least: int = 2) -> tuple[Tensor, Tensor]:
    """Both sets in float64, checked: (n, d) and (m, d) with finite values and at least so many rows each."""
    x, y = one(real, "real", at_least), one(fake, "fake", at_least)
    if x.shape[1] != y.shape[1]:
        raise FeatureError(
            f"real features have {x.shape[1]} dimensions, fake ones {y.shape[1]}: use one extractor for both"
        )
    return x, y


def one(features: Features, what: str, at_least: int = 2) -> Tensor:
    """One set in float64, checked; ``what`` names it in the error."""
    x = torch.as_tensor(features).detach().to(torch.float64)
    if x.ndim != 2:
        raise FeatureError(f"{what} features have shape {tuple(x.shape)}: expected (n, d)")
    if len(x) < at_least:
        raise FeatureError(f"{len(x)} {what} samples: this measure needs at least {at_least}")
    bad = len(x) - int(x.isfinite().all(dim=1).sum())
    if bad:
        raise FeatureError(f"{bad} of {len(x)} {what} samples have features that are NaN or infinite")
    return x


def blocks(x: Tensor, width: int) -> Iterator[slice]:
    """Slices over the rows of ``x`` such that a block of ``width`` columns holds at most CHUNK entries."""
    rows = max(1, CHUNK // width)
    return (slice(start, start + rows) for start in range(0, len(x), rows))


def distances(x: Tensor, y: Tensor) -> Tensor:
    """Euclidean distances (n, m) by one matrix product; exact zeros may come out as 1e-8 of the features' norm."""
    return torch.cdist(x, y, compute_mode="use_mm_for_euclid_dist")


def noise(x: Tensor) -> float:
    """The distance up to which ``distances`` can't tell two rows of the size of ``x``'s (n, d) apart."""
    return 1e-7 * float(x.norm(dim=1).mean())


def neighbour_radii(x: Tensor, k: int) -> Tensor:
    """Distance of each row to its k-th nearest other row, (n,)."""
    nearest = [distances(x[rows], x).topk(k + 1, dim=1, largest=False).values[:, k] for rows in blocks(x, len(x))]
    return torch.cat(nearest)
