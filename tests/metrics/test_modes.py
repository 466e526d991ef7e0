"""The mode report against what is known of mixtures in closed form."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from trainers.metrics.features import FeatureError
from trainers.metrics.modes import class_report, mode_report, relative_mode_diversity
from trainers.randomness import normal, stream

N = 20_000


def test_an_ideal_sampler(ring_centers: Tensor):
    report = mode_report(_mixture(ring_centers), ring_centers, 0.01)
    assert (report["modes"], report["strict_modes"]) == (8, 8)
    assert report["high_quality"] == pytest.approx(1 - math.exp(-4.5), abs=0.003)  # the disc of 3 sigma in 2-D
    assert report["reverse_kl"] == pytest.approx(7 / 2 / N, abs=0.0006)  # (K - 1) / 2n, the bias of an entropy


@pytest.mark.parametrize("kept", [1, 2, 5])
def test_lost_modes(ring_centers: Tensor, kept: int):
    report = mode_report(_mixture(ring_centers[:kept]), ring_centers, 0.01)
    assert (report["modes"], report["strict_modes"]) == (kept, kept)
    assert report["reverse_kl"] == pytest.approx(math.log(8 / kept), abs=0.001)


def test_noise_finds_modes_by_the_loose_count_only(ring_centers: Tensor):
    angles = 2 * math.pi * torch.rand(2500, generator=stream("noise"), dtype=torch.float64)
    report = mode_report(torch.stack([angles.cos(), angles.sin()], 1), ring_centers, 0.01)
    assert (report["modes"], report["strict_modes"]) == (8, 0)
    assert report["high_quality"] < 0.1


def test_half_of_the_fair_share_is_strict(ring_centers: Tensor):
    counts = torch.tensor([500, 499, 1001, 1000, 1000, 1000, 1000, 2000])  # of 8000: the share is 1000
    report = mode_report(ring_centers.repeat_interleave(counts, 0), ring_centers, 0.01)
    assert (report["modes"], report["strict_modes"]) == (8, 7)


def test_three_deviations_are_the_border(ring_centers: Tensor):
    step = torch.tensor([[0.0299, 0.0], [0.0301, 0.0]], dtype=torch.float64)
    assert mode_report(ring_centers[2] + step, ring_centers, 0.01)["high_quality"] == 0.5


def test_nothing_of_quality_is_the_worst_case(ring_centers: Tensor):
    samples = torch.tensor([[5.0, 5.0], [float("nan"), 0.0]])
    report = mode_report(samples, ring_centers, 0.01)
    assert report == {"modes": 0, "strict_modes": 0, "high_quality": 0, "reverse_kl": pytest.approx(math.log(8))}


def test_classes_are_modes_where_a_classifier_says_so():
    report = class_report(torch.tensor([0] * 60 + [1] * 20 + [2] * 4), 4)
    entropy = -sum(p * math.log(p) for p in (60 / 84, 20 / 84, 4 / 84))
    assert report == {"modes": 3, "strict_modes": 2, "reverse_kl": pytest.approx(math.log(4) - entropy)}


def test_samples_of_another_space_are_refused(ring_centers: Tensor):
    with pytest.raises(FeatureError, match=r"shape \(5, 3\): expected \(n, 2\)"):
        mode_report(torch.zeros(5, 3), ring_centers, 0.01)


def _mixture(centers: Tensor) -> Tensor:
    chosen = torch.arange(N) % len(centers)
    return centers[chosen] + 0.01 * normal((N, 2), "mixture")


@pytest.mark.parametrize(("count", "kept"), [(8, 8), (8, 2), (1000, 1000), (1000, 500), (1000, 1)])
def test_the_relative_number_of_modes_from_a_thousand_samples(count: int, kept: int):
    generator = torch.Generator().manual_seed(0)
    reals, fakes = (torch.randint(n, (1000,), generator=generator) for n in (count, kept))
    assert relative_mode_diversity(reals, fakes) == pytest.approx(kept / count, rel=0.15)
