"""Does a generator repeat its training data? Distances to it against distances to data it has never seen.

The three-sample idea of Meehan et al., "A Non-Parametric Test to Detect Data-Copying in Generative Models", arXiv
2004.05675.
"""

from __future__ import annotations

import torch
from torch import Tensor

from trainers.metrics.features import Features, blocks, distances, noise, one, pair


def memorisation(train: Features, held_out: Features, fake: Features) -> dict[str, float]:
    """Feature arrays (n, d), (h, d), (m, d); held-out data must come from the distribution of the training data.

    ``memorised``: probability that a fake is nearer to the training set than a held-out example is, rescaled to -1..1:
    0 where fakes are as far as fresh real data, 1 where every fake sits on training examples, below 0 where they stay
    farther off than real data (a blurred or broken generator). ``copies``: share of fakes as near to a training
    example as the nearest 1 % of held-out ones are, 0.01 for fresh real data. Raises FeatureError.
    """
    x, y = pair(train, fake)
    fresh = _nearest(one(held_out, "held-out"), x)
    fakes = _nearest(y, x)
    nearer = torch.searchsorted(fresh.sort().values, fakes, right=True).double() / len(fresh)
    return {
        "memorised": 1 - 2 * float(nearer.mean()),
        "copies": float((fakes <= fresh.quantile(0.01).clamp(min=noise(x))).double().mean()),
    }


def _nearest(points: Tensor, x: Tensor) -> Tensor:
    return torch.cat([distances(points[rows], x).amin(1) for rows in blocks(points, len(x))])
