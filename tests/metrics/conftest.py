"""Features to measure: small, seeded, in float64."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from trainers.randomness import normal


@pytest.fixture
def real() -> Tensor:
    """600 correlated Gaussian features of 24 dimensions."""
    return normal((600, 24), "real").double() @ _mixing("real mixing") + 0.3


@pytest.fixture
def fake() -> Tensor:
    """500 of another mean and covariance."""
    return normal((500, 24), "fake").double() @ _mixing("fake mixing")


@pytest.fixture
def ring_centers() -> Tensor:
    angles = torch.arange(8, dtype=torch.float64) * 2 * math.pi / 8
    return torch.stack([angles.cos(), angles.sin()], 1)


def _mixing(name: str) -> Tensor:
    return torch.eye(24, dtype=torch.float64) + 0.3 * normal((24, 24), name).double()
