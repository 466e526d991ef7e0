"""The kernel distance against its definition and against torchmetrics."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchmetrics.image.kid import poly_mmd

from trainers.metrics import features
from trainers.metrics.kernel import kernel_distance
from trainers.randomness import normal


def test_the_definition_with_explicit_loops():
    x, y = normal((7, 3), "x").double(), normal((5, 3), "y").double()

    def kernel(a: Tensor, b: Tensor) -> float:
        return (float(a @ b) / 3 + 1) ** 3

    xx = sum(kernel(x[i], x[j]) for i in range(7) for j in range(7) if i != j) / 42
    yy = sum(kernel(y[i], y[j]) for i in range(5) for j in range(5) if i != j) / 20
    xy = sum(kernel(a, b) for a in x for b in y) / 35
    assert kernel_distance(x, y) == pytest.approx(xx + yy - 2 * xy, rel=1e-12)


def test_torchmetrics_agrees(real: Tensor, fake: Tensor):
    assert kernel_distance(real[:500], fake) == pytest.approx(float(poly_mmd(real[:500], fake)), rel=1e-6)


def test_equal_distributions_are_at_zero_on_average_whatever_the_count():
    values = [kernel_distance(normal((60, 8), i, "x"), normal((20, 8), i, "y")) for i in range(200)]
    mean = torch.tensor(values).mean()
    assert abs(mean) < 3 * torch.tensor(values).std() / 200**0.5


def test_blocks_do_not_change_the_value(real: Tensor, fake: Tensor, monkeypatch: pytest.MonkeyPatch):
    whole = kernel_distance(real, fake)
    monkeypatch.setattr(features, "CHUNK", 1700)
    assert kernel_distance(real, fake) == pytest.approx(whole, rel=1e-12)
