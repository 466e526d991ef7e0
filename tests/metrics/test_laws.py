"""What holds for every measure, whatever the features: laws, and clear words where there is no answer."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from trainers.data import Space
from trainers.metrics.bins import missing_bins
from trainers.metrics.diversity import duplicates, relative_diversity
from trainers.metrics.evaluator import _taken
from trainers.metrics.features import FeatureError
from trainers.metrics.frechet import frechet_distance
from trainers.metrics.kernel import kernel_distance
from trainers.metrics.memory import memorisation
from trainers.metrics.mind import sliced_distance
from trainers.metrics.prdc import prdc
from trainers.metrics.table import METRICS, Comparison, Reals
from trainers.randomness import normal, stream
from trainers.watching.pulse import Pulse

Measure = Callable[[Tensor, Tensor], dict[str, float]]

MEASURES: dict[str, Measure] = {
    "frechet": lambda x, y: {"frechet": frechet_distance(x, y)},
    "kernel": lambda x, y: {"kernel": kernel_distance(x, y)},
    "mind": lambda x, y: {"mind": sliced_distance(x, y)},
    "prdc": prdc,
    "diversity": lambda x, y: {"diversity": relative_diversity(x, y)},
    "duplicates": lambda x, y: {"duplicates": duplicates(x, y)},
    "bins": missing_bins,
    "memorisation": lambda x, y: memorisation(x, x.flip(0) + 0.1, y),
}
DISTANCES = ("frechet", "kernel", "mind")
examples = settings(max_examples=15, deadline=None, derandomize=True)


def pair(seed: int, n: int, d: int, m: int | None = None) -> tuple[Tensor, Tensor]:
    """Two clouds of different mean and spread."""
    return normal((n, d), seed, "x").double(), 1.5 * normal((m or n, d), seed, "y").double() + 0.3


@examples
@given(st.sampled_from(DISTANCES), st.integers(0, 1000), st.integers(20, 80), st.integers(1, 40))
def test_distances_have_no_direction(name: str, seed: int, n: int, d: int):
    x, y = pair(seed, n, d)
    assert MEASURES[name](x, y)[name] == pytest.approx(MEASURES[name](y, x)[name], rel=1e-9, abs=1e-9)


@examples
@given(st.integers(0, 1000), st.integers(20, 80), st.integers(1, 40))
def test_a_set_is_at_no_distance_from_itself(seed: int, n: int, d: int):
    x, _ = pair(seed, n, d)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-6 * d)
    assert sliced_distance(x, x) == 0
    assert kernel_distance(x, x) <= 0, "unbiased, so below zero for the very same rows"
    found = prdc(x, x)
    assert (found["precision"], found["recall"], found["coverage"]) == (1, 1, 1)
    assert relative_diversity(x, x) == pytest.approx(1)
    assert memorisation(x, x + 1, x)["copies"] == 1


@examples
@given(st.sampled_from(sorted(MEASURES)), st.integers(0, 1000), st.integers(30, 80), st.integers(1, 10))
def test_the_order_of_fakes_means_nothing(name: str, seed: int, n: int, d: int):
    x, y = pair(seed, n, d)
    shuffled = y[torch.randperm(len(y), generator=stream(seed))]
    assert MEASURES[name](x, shuffled) == pytest.approx(MEASURES[name](x, y), rel=1e-9, abs=1e-9)


@examples
@given(st.sampled_from(sorted({*MEASURES} - {"bins"})), st.integers(0, 1000), st.integers(30, 80), st.integers(1, 10))
def test_the_order_of_reals_means_nothing(name: str, seed: int, n: int, d: int):
    """Bins aside, which k-means starts from the first rows of a shuffle."""
    x, y = pair(seed, n, d)
    shuffled = x[torch.randperm(len(x), generator=stream(seed))]
    measure = MEASURES[name] if name != "memorisation" else lambda x, y: memorisation(x, y + 0.1, y)
    assert measure(shuffled, y) == pytest.approx(measure(x, y), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("name", MEASURES)
def test_features_that_are_no_features_are_refused(name: str):
    x, y = pair(0, 50, 4)
    measure = MEASURES[name]
    with pytest.raises(FeatureError, match="NaN or infinite"):
        measure(x, torch.where(y > 0, y, torch.nan))
    with pytest.raises(FeatureError, match="real features have 4 dimensions, fake ones 3: use one extractor for both"):
        measure(x, y[:, :3])
    with pytest.raises(FeatureError, match=r"1 (real|fake|held-out) samples: this measure needs at least"):
        measure(x[:1], y)
    with pytest.raises(FeatureError, match=r"expected \(n, d\)"):
        measure(x, y[0])


@pytest.mark.parametrize(
    "reals", [torch.zeros(100, 3), torch.ones(4, 3), torch.ones(100, 3) * torch.arange(100)[:, None]]
)
def test_data_that_say_little_cost_numbers_and_nothing_else(reals: Tensor):
    """Constant pictures, fewer than k neighbours, one class on a line: a value that is finite, or a reason in words."""
    half = Reals(reals, reals[:2] if len(reals) < 20 else reals[:20], Space((3,)), None, fakes=100)
    measures, pulse = dict.fromkeys(METRICS.values()), Pulse()
    metrics, failures = _taken(measures, Comparison(half, normal((100, 3), "fake")), pulse)
    assert pulse.moves == len(measures), "each is a sign of life"
    told = " ".join(failures)
    assert all(name in metrics or name in told for name in METRICS), (metrics, failures)
    assert all(": " in failure and len(failure) < 200 for failure in failures)
