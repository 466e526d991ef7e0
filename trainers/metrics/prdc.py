"""Precision and recall (Kynkaanniemi et al., arXiv 1904.06991) and density and coverage (Naeem et al., arXiv
2002.09797)."""

from __future__ import annotations

import torch

from trainers.metrics.features import Features, blocks, distances, neighbour_radii, pair


def prdc(real: Features, fake: Features, k: int = 5) -> dict[str, float]:
    """How far two feature arrays (n, d), (m, d) cover each other, by balls that reach to the k-th nearest neighbour.

    ``precision``: share of fakes inside any real ball. ``recall``: share of reals inside any fake ball. ``density``:
    mean number of real balls around a fake, over k; may exceed 1. ``coverage``: share of real balls that hold a fake.
    Equal distributions give about 1, 1, 1, 1 - 2^-k in few dimensions, but precision and recall of only .48 in 1,000:
    trust density and coverage there. The values depend on n and m. Raises FeatureError.
    """
    x, y = pair(real, fake, at_least=k + 1)
    real_radii, fake_radii = neighbour_radii(x, k), neighbour_radii(y, k)
    covered, recalled = [], []
    balls_around_fake = torch.zeros(len(y), dtype=torch.float64, device=y.device)
    for rows in blocks(x, len(y)):
        block = distances(x[rows], y)
        inside = block < real_radii[rows, None]
        balls_around_fake += inside.sum(0)
        covered.append(inside.any(1))
        recalled.append((block < fake_radii).any(1))
    return {
        "precision": float((balls_around_fake > 0).double().mean()),
        "recall": float(torch.cat(recalled).double().mean()),
        "density": float(balls_around_fake.mean() / k),
        "coverage": float(torch.cat(covered).double().mean()),
    }
