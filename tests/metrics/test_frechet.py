"""The Frechet distance against closed forms, against scipy's matrix root and against torchmetrics."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor
from torchmetrics.image.fid import _compute_fid

from trainers.metrics.features import FeatureError
from trainers.metrics.frechet import Gaussian, distance_to, frechet_distance
from trainers.randomness import normal


def test_equal_sets_are_at_distance_zero(real: Tensor):
    assert frechet_distance(real, real.clone()) == pytest.approx(0, abs=1e-9)


def test_what_is_real_may_be_fitted_before(real: Tensor, fake: Tensor):
    assert distance_to(Gaussian.fit(real), fake) == frechet_distance(real, fake)
    with pytest.raises(FeatureError, match="24 dimensions, fake ones 3"):
        distance_to(Gaussian.fit(real), fake[:, :3])


def test_a_shift_costs_its_squared_length(real: Tensor):
    shift = torch.linspace(-1, 2, 24, dtype=torch.float64)
    assert frechet_distance(real, real + shift) == pytest.approx(float(shift.square().sum()), rel=1e-10)


def test_a_scaling_costs_the_squared_difference_of_the_deviations(real: Tensor):
    centred = real - real.mean(0)
    expected = (3 - 1) ** 2 * float(centred.var(0).sum())
    assert frechet_distance(centred, 3 * centred) == pytest.approx(expected, rel=1e-10)


def test_symmetry_and_order_of_samples(real: Tensor, fake: Tensor):
    value = frechet_distance(real, fake)
    assert frechet_distance(fake, real) == pytest.approx(value, rel=1e-10)
    assert frechet_distance(real.flip(0), fake[torch.randperm(500)]) == pytest.approx(value, rel=1e-10)


def test_scipys_matrix_root_agrees_on_well_conditioned_data(real: Tensor, fake: Tensor):
    x, y = real.numpy(), fake.numpy()
    root = scipy.linalg.sqrtm(np.cov(x.T) @ np.cov(y.T)).real
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(np.cov(x.T) + np.cov(y.T) - 2 * root)
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-9)


def test_torchmetrics_agrees_on_well_conditioned_data(real: Tensor, fake: Tensor):
    expected = float(_compute_fid(real.mean(0), real.T.cov(), fake.mean(0), fake.T.cov()))
    assert frechet_distance(real, fake) == pytest.approx(expected, rel=1e-6)


def test_fewer_samples_than_dimensions_are_exact():
    """Where the covariances are singular, eigenvalues of the large product must give what few singular values give."""
    x, y = normal((40, 300), "x").double(), 2 * normal((30, 300), "y").double()
    values = torch.linalg.eigvals(x.T.cov() @ y.T.cov()).real.clamp(min=0)
    trace = float(x.T.cov().trace() + y.T.cov().trace() - 2 * values.sqrt().sum())
    assert frechet_distance(x, y) == pytest.approx(trace + float((x.mean(0) - y.mean(0)).square().sum()), rel=1e-5)


def test_a_collapsed_generator_costs_the_mean_and_all_real_variance(real: Tensor):
    point = torch.full((500, 24), 0.7, dtype=torch.float64)
    expected = float((real.mean(0) - 0.7).square().sum() + real.var(0).sum())
    assert frechet_distance(real, point) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("different", [2, 5, 23, 30])
def test_few_different_points_are_exact(real: Tensor, different: int):
    """Covariances that are singular though there are more samples than dimensions: those of a collapsed generator."""
    few = normal((different, 24), "few").double().repeat(20, 1)
    x, y = ((z - z.mean(0)).numpy() / (len(z) - 1) ** 0.5 for z in (real, few))
    mean = float((real.mean(0) - few.mean(0)).square().sum())
    expected = mean + (x**2).sum() + (y**2).sum() - 2 * np.linalg.norm(x @ y.T, "nuc")
    assert frechet_distance(real, few) == pytest.approx(expected, rel=1e-10)


def test_arrays_and_single_precision_are_taken(real: Tensor, fake: Tensor):
    single = frechet_distance(real.float().numpy(), fake.float().numpy())
    assert single == pytest.approx(frechet_distance(real, fake), rel=1e-5)


@pytest.mark.parametrize(
    ("fake", "message"),
    [
        (torch.zeros(5, 3), "real features have 24 dimensions, fake ones 3"),
        (torch.zeros(1, 24), "1 fake samples: this measure needs at least 2"),
        (torch.full((5, 24), float("nan")), "5 of 5 fake samples have features that are NaN or infinite"),
        (torch.zeros(5, 2, 12), r"fake features have shape \(5, 2, 12\): expected \(n, d\)"),
    ],
)
def test_features_that_cannot_be_measured_are_named(real: Tensor, fake: Tensor, message: str):
    with pytest.raises(FeatureError, match=message):
        frechet_distance(real, fake)
