"""The 2-D Gaussians of protocol P (Lin 2018, PacGAN, section 4.1): 100,000 fixed points for training, true centres
known.
"""

from __future__ import annotations

import math

import torch

from trainers.config import Data
from trainers.data.dataset import Dataset, Examples, Space
from trainers.randomness import normal, stream

TRAIN, TEST = 100_000, 10_000

Centers = tuple[tuple[float, float], ...]


def ring(settings: Data) -> Dataset:
    """Eight Gaussians on the unit circle at angles 2 pi k / 8, standard deviation 0.01."""
    angles = [2 * math.pi * k / 8 for k in range(8)]
    return _mixture(settings, tuple((math.cos(a), math.sin(a)) for a in angles), std=0.01)


def grid(settings: Data) -> Dataset:
    """Twenty-five Gaussians on {-4, -2, 0, 2, 4}^2, standard deviation 0.05."""
    steps = (-4.0, -2.0, 0.0, 2.0, 4.0)
    return _mixture(settings, tuple((x, y) for x in steps for y in steps), std=0.05)


def _mixture(settings: Data, centers: Centers, std: float) -> Dataset:
    places = torch.tensor(centers)
    # Both sets are centred and have the same spread along x and y.
    scale = float(places.std(correction=0)) if settings.standardise else 1.0
    name = settings.name
    space = Space((2,), scale=scale, centers=centers, std=std)
    train, test = _points(name, "train", places, std, TRAIN), _points(name, "test", places, std, TEST)
    return Dataset(name, space, train, test)


def _points(name: str, split: str, places: torch.Tensor, std: float, count: int) -> Examples:
    chosen = torch.randint(len(places), (count,), generator=stream(name, split, "modes"))
    return Examples(places[chosen] + std * normal((count, 2), name, split, "noise"))
