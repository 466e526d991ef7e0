"""The Frechet distance between two sets of features, without a matrix square root.

Heusel et al., "GANs Trained by a Two Time-Scale Update Rule", arXiv 1706.08500, section 4:
``|m1 - m2|^2 + tr(C1 + C2 - 2 sqrt(C1 C2))``.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from trainers.metrics.features import Features, pair


def frechet_distance(real: Features, fake: Features) -> float:
    """Squared Frechet distance between the Gaussians fitted to two feature arrays (n, d) and (m, d).

    Zero for equal means and covariances; no upper bound; in squared units of the features. With ``C1 = A'A`` and
    ``C2 = B'B`` the eigenvalues of ``C1 C2`` are the squared singular values of ``A B'``, so the trace of its root is
    their sum. No covariance is ever formed or squared, so that singular ones (fewer samples than dimensions, a
    collapsed generator) are as exact as any. Raises FeatureError.
    """
    x, y = pair(real, fake)
    return between(Gaussian.fit(x), Gaussian.fit(y))


class Gaussian(NamedTuple):
    """Mean (d,) and a matrix ``A`` of at most d rows whose ``A'A`` is the unbiased covariance."""

    mean: Tensor
    factor: Tensor

    @classmethod
    def fit(cls, x: Tensor) -> Gaussian:
        """To the rows of ``x`` (n, d)."""
        mean = x.mean(0)
        factor = (x - mean) / (len(x) - 1) ** 0.5
        if len(factor) > factor.shape[1]:
            factor = torch.linalg.qr(factor, mode="r").R
        return cls(mean, factor)


def between(p: Gaussian, q: Gaussian) -> float:
    """The squared Frechet distance of two Gaussians."""
    means = (p.mean - q.mean).square().sum()
    spread = p.factor.square().sum() + q.factor.square().sum()
    return max(0.0, float(means + spread - 2 * torch.linalg.svdvals(p.factor @ q.factor.T).sum()))
