"""The second held-out half: what is planned can be trained, and its truth knows real samples."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from tests.benchmarks.collapse.second import FIRST, PICTURES, PLANS
from tests.benchmarks.collapse.second_points import SETS
from tests.benchmarks.collapse.truth import truth
from trainers.check import problems
from trainers.config import Config, Data
from trainers.data import load

pytestmark = pytest.mark.filterwarnings("error")


def test_every_plan_can_be_trained_and_has_a_file_of_its_own():
    assert [plan.key for plan in PLANS if problems(plan.config)] == []
    assert max(Counter(plan.key for plan in PLANS).values()) == 1


def test_a_set_that_is_stopped_early_is_balanced():
    first = Counter(plan.act is not None for plan in FIRST[: len(FIRST) // 3])
    every = Counter(plan.act is not None for plan in FIRST)
    assert abs(first[True] / first.total() - every[True] / every.total()) < 0.02


@pytest.mark.parametrize("name", [*SETS, *PICTURES])
def test_real_held_out_samples_keep_every_mode_and_one_class_alone_does_not(name: str):
    data = load(Data(name=name, resolution=16))
    rows = torch.arange(min(len(data.test), 2_000))
    real = data.test[rows].floats()
    mode = data.test[rows].labels
    if mode is None:
        mode = torch.cdist(real, torch.tensor(data.space.centers)).argmin(1)

    def kept(samples: torch.Tensor) -> float:
        count = 0

        def generator(latents: torch.Tensor, _: object) -> torch.Tensor:
            nonlocal count
            count += len(latents)
            return samples[torch.arange(count - len(latents), count) % len(samples)]

        return truth(generator, data, Config())["kept"]

    assert kept(real) == 1
    assert kept(real[mode == 0]) == pytest.approx(1 / (int(mode.max()) + 1))
