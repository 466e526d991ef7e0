"""Precision, recall, density and coverage against the authors' package, and where the answer is known."""

from __future__ import annotations

import prdc as authors
import pytest
import torch
from torch import Tensor

from trainers.metrics import features
from trainers.metrics.features import FeatureError
from trainers.metrics.prdc import prdc
from trainers.randomness import normal


@pytest.mark.parametrize("k", [1, 5, 20])
def test_the_authors_package_agrees(real: Tensor, fake: Tensor, k: int):
    expected = authors.compute_prdc(real.numpy(), fake.numpy(), nearest_k=k)
    assert prdc(real, fake, k=k) == pytest.approx(expected, abs=1e-12)


def test_equal_distributions_cover_each_other():
    """Naeem et al., section 3.3: the expected coverage of equal distributions is about 1 - 2^-k."""
    values = prdc(normal((3000, 2), "x"), normal((3000, 2), "y"), k=5)
    assert values["coverage"] == pytest.approx(1 - 2**-5, abs=0.01)
    assert values["density"] == pytest.approx(1, abs=0.03)


def test_half_of_two_modes_covers_half():
    real = torch.cat([normal((500, 2), "a"), normal((500, 2), "b") + 100])
    values = prdc(real, normal((1000, 2), "c"))
    assert values["coverage"] == pytest.approx(0.5, abs=0.01)
    assert values["recall"] == pytest.approx(0.5, abs=0.02)
    assert values["precision"] > 0.95


def test_a_constant_generator_covers_and_recalls_nothing(real: Tensor):
    values = prdc(real, torch.full((500, 24), 50.0))
    assert values == {"precision": 0, "recall": 0, "density": 0, "coverage": 0}


def test_blocks_do_not_change_the_values(real: Tensor, fake: Tensor, monkeypatch: pytest.MonkeyPatch):
    whole = prdc(real, fake)
    monkeypatch.setattr(features, "CHUNK", 1700)
    assert prdc(real, fake) == pytest.approx(whole, abs=1e-12)


def test_more_neighbours_than_images_is_said():
    with pytest.raises(FeatureError, match="5 fake samples: this measure needs at least 6"):
        prdc(torch.randn(10, 2), torch.randn(5, 2))
