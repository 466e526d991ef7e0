"""Missing parts of the real data, bin by bin: Richardson and Weiss, "On GANs and GMMs", arXiv 1805.12462 (NDB)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from trainers.metrics.features import Features, blocks, distances, pair
from trainers.randomness import stream

BINS, ROUNDS = 100, 20
SIGNIFICANT = 1.96
"""Deviations at which a bin's share counts as different: the paper's p = 0.05, two-sided."""


def missing_bins(real: Features, fake: Features, bins: int = BINS) -> dict[str, float]:
    """Shares of fakes (m, d) in the bins that k-means finds in the reals (n, d), against the shares of the reals.

    ``ndb``: share of bins whose two proportions differ significantly (z-test); 0.05 for equal distributions.
    ``missing_bins``: share of bins where the fakes are significantly fewer, which is what a lost mode looks like.
    Bins hold at least ten reals on average: fewer data, fewer bins. Raises FeatureError.
    """
    x, y = pair(real, fake, at_least=20)
    centers = k_means(x, bins)
    p, q = _shares(x, centers), _shares(y, centers)
    pooled = (p * len(x) + q * len(y)) / (len(x) + len(y))
    deviation = (pooled * (1 - pooled) * (1 / len(x) + 1 / len(y))).sqrt().clamp(min=math.ulp(1))
    z = (q - p) / deviation
    return {
        "ndb": float((z.abs() > SIGNIFICANT).double().mean()),
        "missing_bins": float((z < -SIGNIFICANT).double().mean()),
    }


def k_means(x: Tensor, bins: int = BINS) -> Tensor:
    """Centres of so many bins of ``x`` (n, d), fewer where they would hold under ten rows on average.

    A fixed number of Lloyd's rounds from seeded rows; a bin that empties keeps its centre.
    """
    bins = min(bins, len(x) // 10)
    centers = x[torch.randperm(len(x), generator=stream("bins"))[:bins]]
    for _ in range(ROUNDS):
        chosen = nearest(x, centers)
        counts = torch.bincount(chosen, minlength=bins)[:, None]
        sums = torch.zeros_like(centers).index_add_(0, chosen, x)
        centers = torch.where(counts > 0, sums / counts.clamp(min=1), centers)
    return centers


def _shares(x: Tensor, centers: Tensor) -> Tensor:
    return torch.bincount(nearest(x, centers), minlength=len(centers)) / len(x)


def nearest(x: Tensor, centers: Tensor) -> Tensor:
    """The number of the centre nearest to each row, int64 (n,)."""
    return torch.cat([distances(x[rows], centers).argmin(1) for rows in blocks(x, len(centers))])
