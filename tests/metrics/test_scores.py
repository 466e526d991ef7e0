"""MIND, the extrapolated Frechet distance, missing bins and memorisation, where the answer is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from trainers.metrics.bins import missing_bins
from trainers.metrics.extrapolated import frechet_distance_infinity
from trainers.metrics.features import FeatureError
from trainers.metrics.frechet import frechet_distance
from trainers.metrics.memory import memorisation
from trainers.metrics.mind import sliced_distance
from trainers.randomness import normal


def test_mind_of_a_shift_is_three_times_its_squared_length(real: Tensor):
    """Every projection shifts by its product with the direction, whose square is 1 / d of the whole on average."""
    shift = torch.zeros(24, dtype=torch.float64)
    shift[3] = 2.0
    assert sliced_distance(real, real + shift) == pytest.approx(3 * 4, rel=0.1)
    assert sliced_distance(real, real.flip(0)) == pytest.approx(0, abs=1e-20)


def test_mind_of_points_on_a_line_is_the_wasserstein_distance():
    x, y = torch.tensor([[0.0], [1.0], [5.0]]), torch.tensor([[6.0], [1.0], [2.0]])
    assert sliced_distance(x, y) == pytest.approx(3 * (1 + 1 + 1) / 3)


def test_extrapolation_takes_the_bias_of_few_samples_away():
    real, fakes = normal((20_000, 16), "real"), [normal((600, 16), i, "fake") for i in range(5)]
    raw = [frechet_distance(real, fake) for fake in fakes]
    infinite = [frechet_distance_infinity(real, fake) for fake in fakes]
    assert min(raw) > 0.1
    assert abs(sum(infinite) / 5) < 0.03


def test_extrapolation_begins_where_the_bias_is_linear():
    """From m / 10 = 100 samples in 96 dimensions on, it would come out at -0.6."""
    fakes = [frechet_distance_infinity(normal((20_000, 96), "real"), normal((1000, 96), i, "fake")) for i in range(3)]
    assert abs(sum(fakes) / 3) < 0.2
    with pytest.raises(FeatureError, match="1000 samples in 300 dimensions: it needs at least 1200 to extrapolate"):
        frechet_distance_infinity(normal((2000, 300), "real"), normal((1000, 300), "fake"))


def test_equal_distributions_differ_in_one_bin_of_twenty():
    values = [missing_bins(normal((5000, 3), i, "x"), normal((2000, 3), i, "y")) for i in range(3)]
    assert sum(v["ndb"] for v in values) / 3 == pytest.approx(0.05, abs=0.05)
    assert max(v["missing_bins"] for v in values) < 0.08


def test_the_bins_of_a_lost_mode_are_missing(ring_centers: Tensor):
    real = ring_centers.repeat(500, 1) + 0.01 * normal((4000, 2), "real")
    fake = ring_centers[1:].repeat(300, 1) + 0.01 * normal((2100, 2), "fake")
    values = missing_bins(real, fake, bins=40)
    assert values["missing_bins"] == pytest.approx(1 / 8, abs=0.06)
    assert missing_bins(real, torch.zeros(1000, 2), bins=40)["missing_bins"] > 0.9


def test_memorisation_tells_copies_from_fresh_and_from_broken_samples():
    train, fresh, fake = (normal((1000, 5), name) for name in ("train", "fresh", "fake"))
    assert abs(memorisation(train, fresh, fake)["memorised"]) < 0.08
    copied = memorisation(train, fresh, train[:400] + 1e-4)
    assert copied["memorised"] > 0.99
    assert copied["copies"] == 1
    assert memorisation(train, fresh, fake + 50)["memorised"] == -1


def test_copies_are_seen_also_where_some_held_out_examples_are_copies():
    train, fresh = normal((1000, 5), "train"), normal((1000, 5), "fresh")
    assert memorisation(train, torch.cat([train[:20], fresh[20:]]), train)["copies"] == 1
