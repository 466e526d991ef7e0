"""Circular Gaussians, the 2-D protocol of continuous conditions (Ding 2021, CcGAN, section 5.1).

120 angles on the unit circle, standard deviation .02, 10 points at each to train on. Generators are judged at 360
angles that were never trained on, every half degree; in the released code a third of them were. So whoever gives the
points of the nearest training angle is here at a squared distance of 2.9e-4, and a perfect sampler of 100 points at
1.45e-5.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from trainers.config import Data
from trainers.data.conditions import Column
from trainers.data.dataset import Dataset, Examples, Space
from trainers.randomness import normal

ANGLES, EACH, STD = 120, 10, 0.02
UNSEEN = 360
HELD_OUT = 10


def circular_gaussians(settings: Data) -> Dataset:
    """1,200 points, each with its angle in degrees; 3,600 held out at the unseen angles."""
    seen = torch.arange(ANGLES) * 360.0 / ANGLES
    unseen = (torch.arange(UNSEEN) + 0.5) * 360.0 / UNSEEN
    scale = math.sqrt(0.5) if settings.standardise else 1.0
    column = Column("angle", low=0.0, high=360.0, period=360.0)
    space = Space((2,), scale=scale, std=STD, columns=(column,))
    train, test = _points("train", seen, EACH), _points("test", unseen, HELD_OUT)
    return Dataset("circular-gaussians", space, train, test, asked=unseen[:, None])


def centers(angles: Tensor) -> Tensor:
    """(n, 2) of angles (n,) in degrees."""
    turns = torch.deg2rad(angles)
    return torch.stack((turns.cos(), turns.sin()), 1)


def _points(split: str, angles: Tensor, each: int) -> Examples:
    angles = angles.repeat_interleave(each)
    return Examples(centers(angles) + STD * normal((len(angles), 2), "circular-gaussians", split), angles[:, None])
