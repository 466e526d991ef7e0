"""Diversity without a count of modes: the order-2 Vendi score, relative to the real data.

Jalali et al., "An Information-Theoretic Evaluation of Generative Models", arXiv 2302.01315 (Renyi kernel entropy); it
is the Vendi score of order 2 (Pasarkar and Dieng, arXiv 2310.12952), which needs no eigenvalues.
"""

from __future__ import annotations

from torch import Tensor

from trainers.metrics.features import Features, blocks, distances, neighbour_radii, pair


def relative_diversity(real: Features, fake: Features) -> float:
    """Effective number of different fakes (m, d) over that of as many reals (n, d).

    About 1 for equal distributions, near 0 for a constant generator, above 1 for one that scatters more than the real
    data. The kernel's width is taken from the real data alone, so that a fake cannot choose its own ruler. Raises
    FeatureError.
    """
    x, y = pair(real, fake)
    n = min(len(x), len(y))
    width = kernel_width(x[:n])
    return effective_number(y[:n], width) / effective_number(x[:n], width)


def duplicates(real: Features, fake: Features) -> float:
    """Share of fakes (m, d) whose nearest other fake is nearer than 99 % of reals (n, d) have another real.

    0.01 for equal distributions, 1 for a constant generator. Raises FeatureError.
    """
    x, y = pair(real, fake)
    n = min(len(x), len(y))
    return float((neighbour_radii(y[:n], 1) <= neighbour_radii(x[:n], 1).quantile(0.01)).double().mean())


def effective_number(x: Tensor, width: float) -> float:
    """``1 / mean(k(xi, xj)^2)`` for the Gaussian kernel of that width: 1 for one repeated point, n for n points far
    apart."""
    total = sum(float((-(distances(x[rows], x) / width).square()).exp().sum()) for rows in blocks(x, len(x)))
    return len(x) ** 2 / total


def kernel_width(x: Tensor) -> float:
    """A third of the root mean square distance between rows: tells modes apart, yet sees the spread inside one."""
    return max(float((2 * x.var(0).sum()).sqrt()) / 3, 1e-12)
