"""Precision and recall (Kynkaanniemi et al., arXiv 1904.06991) and density and coverage (Naeem et al., arXiv
2002.09797)."""

from __future__ import annotations

import torch

from trainers.metrics.features import Features, blocks, distances, neighbour_radii, one, pair

NEIGHBOUR = 5  # the k of both papers' experiments


def prdc(real: Features, fake: Features, k: int = NEIGHBOUR, radii: torch.Tensor | None = None) -> dict[str, float]:
    """How far two feature arrays (n, d), (m, d) cover each other, by balls that reach to the k-th nearest neighbour.

    ``precision``: share of fakes inside any real ball. ``recall``: share of reals inside any fake ball. ``density``:
    mean number of real balls around a fake, over k; may exceed 1. ``coverage``: share of real balls that hold a fake.
    Equal distributions give about 1, 1, 1, 1 - 2^-k in few dimensions, but precision and recall of only .48 in 1,000:
    trust density and coverage there. The values depend on n and m. ``radii`` are ``real_radii(real, k)`` where they are
    known already. Raises FeatureError.
    """
    x, y = pair(real, fake, at_least=k + 1)
    around_real, fake_radii = real_radii(x, k) if radii is None else radii, neighbour_radii(y, k)
    covered, recalled = [], []
    balls_around_fake = torch.zeros(len(y), dtype=torch.float64, device=y.device)
    for rows in blocks(x, len(y)):
        block = distances(x[rows], y)
        inside = block < around_real[rows, None]
        balls_around_fake += inside.sum(0)
        covered.append(inside.any(1))
        recalled.append((block < fake_radii).any(1))
    return {
        "precision": float((balls_around_fake > 0).double().mean()),
        "recall": float(torch.cat(recalled).double().mean()),
        "density": float(balls_around_fake.mean() / k),
        "coverage": float(torch.cat(covered).double().mean()),
    }


def real_radii(real: Features, k: int = NEIGHBOUR) -> torch.Tensor:
    """Distance of each real (n, d) to its k-th nearest other one. Raises FeatureError."""
    return neighbour_radii(one(real, "real", at_least=k + 1), k)
