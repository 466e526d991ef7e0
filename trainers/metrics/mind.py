"""MIND, a Frechet-like score from far fewer samples: Berthet et al., "Monge Inception Distance", arXiv 2605.06797."""

from __future__ import annotations

import torch

from trainers.metrics.features import Features, pair
from trainers.randomness import normal

DIRECTIONS = 1000


def sliced_distance(real: Features, fake: Features) -> float:
    """``3 d`` times the mean squared Wasserstein distance over 1,000 fixed random directions of feature arrays (n, d).

    Zero for equal sets, in squared units of the features, on the scale of the Frechet distance. Of unequal counts only
    the first ``min(n, m)`` rows count: sorted projections are compared one by one. Raises FeatureError.
    """
    x, y = pair(real, fake)
    n, d = min(len(x), len(y)), x.shape[1]
    directions = torch.nn.functional.normalize(normal((DIRECTIONS, d), "mind").double(), dim=1).T
    gaps = (x[:n] @ directions).sort(dim=0).values - (y[:n] @ directions).sort(dim=0).values
    return 3 * d * float(gaps.square().mean())
