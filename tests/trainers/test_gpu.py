"""What only a GPU can show; skipped where there is none."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.trainers.small import config
from trainers.data import load
from trainers.families.gan.training import GanTraining
from trainers.loop import train
from trainers.world import World

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
DCGAN: dict[str, Any] = {"generator": "dcgan", "discriminator": "dcgan", "width": 16}
GPU = torch.device("cuda", 0)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("norm", ["none", "batch", "spectral"])
def test_a_training_on_the_gpu_stays_finite_and_counts_nothing_broken(precision: str, norm: str) -> None:
    model = {**DCGAN, "generator_norm": "batch" if norm == "batch" else "none", "discriminator_norm": norm}
    settings = config(model=model, train={"precision": precision, "loss": "hinge"})
    report = list(train(settings, World.single(GPU)))[-1]
    assert report.health.signals["nonfinite"] == 0


def test_the_gpu_trains_as_the_cpu_does() -> None:
    settings = config(model=DCGAN, train={"loss": "relativistic", "r1_gamma": 0.1, "r2_gamma": 0.1})
    ends = []
    for device in (GPU, torch.device("cpu")):
        training = GanTraining(settings, load(settings.data), World.single(device))
        for _ in range(5):
            training.step()
        ends.append(torch.cat([p.detach().cpu().flatten() for p in training.parameters()]))
    assert float((ends[0] - ends[1]).norm() / ends[1].norm()) < 1e-3  # TF32 aside, only rounding differs
