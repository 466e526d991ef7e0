"""What a training tells of itself without being measured."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from tests.trainers.small import config
from trainers.data import load
from trainers.families.gan.training import GanTraining
from trainers.players.tally import WATCHED_STEPS
from trainers.world import World

NAMES = {"real_logit", "fake_logit", "real_sign", "fake_sign", "nonfinite"}
BOTH = {"gradient_norm", "update_ratio"}


def training(**train: float) -> GanTraining:
    settings = config(train={"images": 10**6, "batch_size": 16, **train})
    return GanTraining(settings, load(settings.data), World.single())


@pytest.mark.parametrize("n_dis", [1, 3])
def test_every_signal_is_there(n_dis: int) -> None:
    run = training(n_dis=n_dis)
    for _ in range(n_dis):
        run.step()
    losses, signals = run.means()
    assert set(losses) == {"generator", "discriminator"}
    assert set(signals) == NAMES | {f"{player}_{name}" for player in losses for name in BOTH}
    assert all(torch.tensor(list(signals.values())).isfinite())


def test_the_update_ratio_grows_with_the_rate() -> None:
    ratios = []
    for rate in (1e-4, 1e-3, 1e-2):
        run = training(generator_lr=rate)
        for _ in range(WATCHED_STEPS):
            run.step()
        ratios.append(run.means()[1]["generator_update_ratio"])
    assert all(2 < b / a < 20 for a, b in pairwise(ratios))
