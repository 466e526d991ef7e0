"""The Frechet distance as it would be with endless samples.

Chong and Forsyth, "Effectively Unbiased FID and Inception Score and where to find them", arXiv 1911.07023: its bias is
linear in 1 / n with a slope that depends on the generator, so that two generators may change places between n.
"""

from __future__ import annotations

import torch

from trainers.metrics.features import FeatureError, Features, pair
from trainers.metrics.frechet import Gaussian, between
from trainers.randomness import stream

POINTS = 15
PER_DIMENSION = 3
"""Samples that the smallest subset has for each dimension: with fewer, covariances are near singular and the bias is
no longer linear (d = 192, m = 1,000, equal distributions: -5.3 from m / 10 on, -0.03 from 3 d on; the paper's smallest
has 2.4).
"""


def frechet_distance_infinity(real: Features, fake: Features) -> float:
    """Intercept of a line through the distances of 15 random subsets of the fakes (m, d), between m / 10 (at least 3 d)
    and m of them.

    Equally spaced in count, as in the paper. Removes the bias in m only; that of the real count stays, and is the same
    for all generators. May be slightly negative. Raises FeatureError.
    """
    x, y = pair(real, fake, at_least=20)
    n, d = y.shape
    if n < (PER_DIMENSION + 1) * d:
        raise FeatureError(f"{n} samples in {d} dimensions: it needs at least {(PER_DIMENSION + 1) * d} to extrapolate")
    counts = torch.linspace(max(n / 10, PER_DIMENSION * d), n, POINTS).long()
    order = stream("fid-infinity")
    subsets = [torch.randperm(len(y), generator=order)[:count] for count in counts.tolist()]
    truth = Gaussian.fit(x)
    values = torch.tensor([between(truth, Gaussian.fit(y[rows])) for rows in subsets], dtype=torch.float64)
    line = torch.stack([torch.ones(POINTS, dtype=torch.float64), 1 / counts.double()], 1)
    return float(torch.linalg.lstsq(line, values[:, None]).solution[0])
