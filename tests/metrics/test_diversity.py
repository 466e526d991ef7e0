"""The relative diversity where the number of different things is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from trainers.metrics.diversity import duplicates, effective_number, relative_diversity
from trainers.randomness import normal


def test_the_effective_number_of_points_far_apart_is_their_count():
    places = 100 * torch.eye(10, dtype=torch.float64)
    assert effective_number(places.repeat(30, 1), width=1.0) == pytest.approx(10)
    assert effective_number(places[:1].repeat(30, 1), width=1.0) == pytest.approx(1)


def test_it_is_the_vendi_score_of_order_two(real: Tensor):
    """By its definition: 1 over the sum of squared eigenvalues of the kernel matrix of trace one."""
    kernel = (-torch.cdist(real, real).square() / (2 * 4.0**2)).exp() / len(real)
    assert effective_number(real, width=4.0) == pytest.approx(1 / float(torch.linalg.eigvalsh(kernel).square().sum()))


@pytest.mark.parametrize("kept", [1, 2, 4, 8])
def test_lost_modes_of_the_ring(ring_centers: Tensor, kept: int):
    real = ring_centers.repeat(125, 1) + 0.01 * normal((1000, 2), "real")
    fake = ring_centers[:kept].repeat(1000 // kept, 1) + 0.01 * normal((1000, 2), "fake")
    assert relative_diversity(real, fake) == pytest.approx(kept / 8, abs=0.03)


def test_the_order_of_samples_does_not_matter(real: Tensor, fake: Tensor):
    assert relative_diversity(real[:500].flip(0), fake.flip(0)) == pytest.approx(relative_diversity(real[:500], fake))


def test_duplicates_are_counted_against_how_near_reals_come(real: Tensor):
    ten = real[:10].repeat(60, 1)
    assert duplicates(real, ten) == duplicates(torch.cat([real[:20], real[:580]]), ten) == 1, "whatever reals repeat"
    half = torch.cat([real[:300], real[:300] + 1e-9])
    assert duplicates(real, half) == 1
    assert duplicates(real[:300], real[300:]) < 0.05
    assert duplicates(real, torch.cat([real[:1].expand(300, -1), 10 * real[:300]])) == pytest.approx(0.5, abs=0.02)
