"""Diversity without a count of modes: the order-2 Vendi score, relative to the real data.

Jalali et al., "An Information-Theoretic Evaluation of Generative Models", arXiv 2302.01315 (Renyi kernel entropy); it
is the Vendi score of order 2 (Pasarkar and Dieng, arXiv 2310.12952), which needs no eigenvalues.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from trainers.metrics.features import Features, blocks, neighbour_radii, noise, one, pair


def relative_diversity(real: Features, fake: Features) -> float:
    """Effective number of different fakes (m, d) over that of as many reals (n, d).

    About 1 for equal distributions, near 0 for a constant generator, above 1 for one that scatters more than the real
    data. Raises FeatureError.
    """
    x, y = pair(real, fake)
    n = min(len(x), len(y))
    return Diversity.of(x[:n]).relative(y[:n])


class Diversity(NamedTuple):
    """The real data's effective number, and the kernel's width, which they alone decide: no fake chooses its ruler."""

    number: float
    width: float

    @classmethod
    def of(cls, real: Features) -> Diversity:
        """The ruler that reals (n, d) give."""
        x = one(real, "real")
        return cls(effective_number(x, kernel_width(x)), kernel_width(x))

    def relative(self, fake: Features) -> float:
        """``relative_diversity`` of fakes (n, d)."""
        return effective_number(one(fake, "fake"), self.width) / self.number


def duplicates(real: Features, fake: Features) -> float:
    """Share of fakes (m, d) whose nearest other fake is nearer than 99 % of reals (n, d) have another real.

    0.01 for equal distributions, 1 for a constant generator. Raises FeatureError.
    """
    x, y = pair(real, fake)
    n = min(len(x), len(y))
    limit = neighbour_radii(x[:n], 1).quantile(0.01).clamp(min=noise(x))
    return float((neighbour_radii(y[:n], 1) <= limit).double().mean())


def effective_number(x: Tensor, width: float) -> float:
    """``1 / mean(k(xi, xj)^2)`` for the Gaussian kernel of that width: 1 for one repeated point, n for n points far
    apart."""
    scaled = (x - x.mean(0)) / width
    squares = scaled.square().sum(1)
    total = 0.0
    for rows in blocks(x, len(x)):  # in place, since this is most of an evaluation's time: 2 xy - yy - xx is -|x - y|^2
        exponents = torch.addmm(squares, scaled[rows], scaled.T, beta=-1, alpha=2)
        total += float(exponents.sub_(squares[rows, None]).exp_().sum())
    return len(x) ** 2 / total


def kernel_width(x: Tensor) -> float:
    """A third of the root mean square distance between rows: tells modes apart, yet sees the spread inside one."""
    return max(float((2 * x.var(0).sum()).sqrt()) / 3, 1e-12)
