"""The Frechet distance between two sets of features, without a matrix square root.

Heusel et al., "GANs Trained by a Two Time-Scale Update Rule", arXiv 1706.08500, section 4:
``|m1 - m2|^2 + tr(C1 + C2 - 2 sqrt(C1 C2))``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from trainers.metrics.features import FeatureError, Features, one, pair


def frechet_distance(real: Features, fake: Features) -> float:
    """Squared Frechet distance between the Gaussians fitted to two feature arrays (n, d) and (m, d).

    Zero for equal means and covariances; no upper bound; in squared units of the features. With ``C1 = A'A`` and
    ``C2 = B'B`` the eigenvalues of ``C1 C2`` are the squared singular values of ``A B'``, so the trace of its root is
    their sum. Where a covariance is singular (fewer samples than dimensions, a collapsed generator) none is formed, so
    that such values are as exact as any. Raises FeatureError.
    """
    x, y = pair(real, fake)
    return between(Gaussian.fit(x), Gaussian.fit(y))


def distance_to(real: Gaussian, fake: Features) -> float:
    """The same, where what is real has been fitted before: half of the work, for every generator after the first."""
    y = one(fake, "fake")
    if y.shape[1] != len(real.mean):
        raise FeatureError(f"real features have {len(real.mean)} dimensions, fake ones {y.shape[1]}")
    return between(real, Gaussian.fit(y))


SINGULAR = 1e-10
"""Smallest over largest pivot below which a covariance is not to be squared: half of the digits would be lost."""


class Gaussian(NamedTuple):
    """Mean (d,) and a matrix ``A`` of at most d rows whose ``A'A`` is the unbiased covariance."""

    mean: Tensor
    factor: Tensor

    @classmethod
    def fit(cls, x: Tensor) -> Gaussian:
        """To the rows of ``x`` (n, d)."""
        mean = x.mean(0)
        centred = (x - mean) / (len(x) - 1) ** 0.5
        if len(x) <= x.shape[1]:
            return cls(mean, centred)
        factor = torch.linalg.cholesky_ex(_gram(centred), upper=True).L
        pivots = factor.diagonal().square()
        if pivots.min() > SINGULAR * pivots.max():
            return cls(mean, factor)
        return cls(mean, torch.linalg.qr(centred, mode="r").R)


def between(p: Gaussian, q: Gaussian) -> float:
    """The squared Frechet distance of two Gaussians."""
    means = (p.mean - q.mean).square().sum()
    spread = p.factor.square().sum() + q.factor.square().sum()
    return max(0.0, float(means + spread) - 2 * _nuclear(p.factor @ q.factor.T))


def _nuclear(x: Tensor) -> float:
    """The sum of the singular values: the roots of the eigenvalues of ``x'x``, in half the time, unless several of them
    drown in rounding (one does where there are fewer samples than dimensions: centring makes it zero).
    """
    eigenvalues = np.linalg.eigvalsh(_gram(x if len(x) >= x.shape[1] else x.T).cpu().numpy())
    least = len(eigenvalues) * np.finfo(np.float64).eps * eigenvalues[-1]
    if eigenvalues[:2][-1] > least:
        return float(np.sqrt(eigenvalues[eigenvalues > least]).sum())
    return float(torch.linalg.svdvals(x).sum())


def _gram(x: Tensor) -> Tensor:
    """``x'x``; numpy sees that it is symmetric and computes half of it."""
    rows = x.cpu().numpy()
    return torch.from_numpy(rows.T @ rows).to(x.device)
