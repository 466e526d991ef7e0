"""Steps as pure functions find what the written-out steps find, compiled or not."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.trainers.small import config
from trainers.check import problems
from trainers.data import load
from trainers.gan import GanTraining
from trainers.world import World

CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "penalties": {"train": {"loss": "relativistic", "r1_gamma": 0.1, "r2_gamma": 0.2, "packing": 2}},
    "lazy, conditional": {"model": {"conditional": True}, "train": {"r1_gamma": 0.1, "penalty_interval": 3}},
}


@pytest.mark.parametrize("case", CASES)
def test_pure_steps_train_as_written_out_ones(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda function: function)
    assert difference(case) < 1e-4


@pytest.mark.slow  # half a minute of compiling
def test_compiled_steps_train_as_written_out_ones() -> None:
    assert difference("penalties") < 1e-4


def test_what_cannot_be_compiled_is_refused() -> None:
    for groups in (
        {"train": {"augment": ["flip"]}},
        {"train": {"gp_lambda": 1}},
        {"model": {"generator_norm": "batch"}},
    ):
        settings = config(**{**groups, "train": {**groups.get("train", {}), "compile": True}})
        assert [name for name, _ in problems(settings)] == ["train.compile"]


def difference(case: str) -> float:
    pure, written = trained(case, compiled=True), trained(case, compiled=False)
    return float((pure - written).norm() / written.norm())


def trained(case: str, compiled: bool) -> torch.Tensor:
    groups = CASES[case]
    settings = config(**{**groups, "train": {**groups.get("train", {}), "compile": compiled}})
    training = GanTraining(settings, load(settings.data), World.single())
    for _ in range(10):
        training.step()
    return torch.cat([p.detach().flatten() for p in training.parameters()])
