"""Steps as pure functions find what the written-out steps find, compiled or not."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainers.small import config
from trainers import launch
from trainers.check import problems
from trainers.config import Config
from trainers.data import load
from trainers.errors import UnusableSettingError
from trainers.families.gan.training import GanTraining
from trainers.state import load_generator
from trainers.world import World

CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "penalties": {"train": {"loss": "relativistic", "r1_gamma": 0.1, "r2_gamma": 0.2, "packing": 2}},
    "lazy, conditional": {"model": {"conditional": True}, "train": {"r1_gamma": 0.1, "penalty_interval": 3}},
}


@pytest.mark.parametrize("case", CASES)
def test_pure_steps_train_as_written_out_ones(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = torch.compile  # traced and run op by op: no half minute of code generation
    monkeypatch.setattr(torch, "compile", lambda function, **_: compiled(function, backend="eager"))
    assert difference(case) < 1e-4


@pytest.mark.skipif(not shutil.which("g++"), reason="needs a C++ compiler")
def test_a_compiled_step_trains_as_written_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_TORCHINDUCTOR_PYOBJECT_TENSOR_DATA_PTR", "")  # the compiler leaves it behind
    assert difference("penalties") < 1e-4


@pytest.mark.slow  # a minute: every rank compiles
def test_two_compiled_ranks_train_as_one_written_out(tmp_path: Path) -> None:
    ends = [list(launch.run(small("penalties", c), r, tmp_path / str(r)))[-1] for c, r in ((True, 2), (False, 1))]
    two, one = (load_generator(report.checkpoint)[1] for report in ends if report.checkpoint)
    for a, b in zip(two.parameters(), one.parameters(), strict=True):
        assert float((a - b).norm() / b.norm().clamp(min=1)) < 1e-5


def test_a_machine_without_a_compiler_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    settings = small("plain", compiled=True)
    with pytest.raises(UnusableSettingError, match=r"needs a C\+\+ compiler"):
        GanTraining(settings, load(settings.data), World.single())


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


def small(case: str, compiled: bool) -> Config:
    groups = CASES[case]
    return config(**{**groups, "train": {**groups.get("train", {}), "compile": compiled}})


def trained(case: str, compiled: bool) -> torch.Tensor:
    settings = small(case, compiled)
    training = GanTraining(settings, load(settings.data), World.single())
    for _ in range(10):
        training.step()
    return torch.cat([p.detach().flatten() for p in training.parameters()])
