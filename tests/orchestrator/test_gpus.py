"""Which GPU a rank takes, and how ranks on GPUs talk. What needs a GPU is skipped where there is none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from orchestrator.execution.order import LegOrder
from orchestrator.execution.probe import Facts, faults, with_own_gpus
from orchestrator.execution.rank import own_gpu
from tests.orchestrator import nodes
from tests.trainers.small import config

NOSET = "RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES"

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(NOSET, "1")
        with nodes.cluster(tmp_path, patch) as made:
            yield made


@pytest.mark.parametrize(
    ("ids", "environment", "index"),
    [
        ([3], {"CUDA_VISIBLE_DEVICES": "3"}, 0),
        (["MIG-5a"], {"CUDA_VISIBLE_DEVICES": "MIG-5a"}, 0),
        ([3], {NOSET: "0"}, 0),
        ([3], {NOSET: "1"}, 3),
        ([3], {NOSET: "true", "CUDA_VISIBLE_DEVICES": "1,3"}, 1),
        (["MIG-5b"], {NOSET: "1", "CUDA_VISIBLE_DEVICES": "MIG-5a,MIG-5b"}, 1),
    ],
)
def test_a_rank_takes_the_gpu_that_ray_gave_it(ids: list[Any], environment: dict[str, str], index: int) -> None:
    assert own_gpu(ids, environment) == index


def test_ranks_take_different_gpus_where_ray_hides_none(cluster: Any) -> None:
    """Before, each took the first, and NCCL refused a trial of two; of single ranks all trained on one GPU."""
    import ray

    class Asked:
        def own(self) -> int:
            return own_gpu(ray.get_gpu_ids(), os.environ)

    cluster.add_node(num_cpus=2, num_gpus=2)
    ranks: list[Any] = [ray.remote(Asked).options(num_gpus=1).remote() for _ in range(2)]
    assert sorted(ray.get([rank.own.remote() for rank in ranks], timeout=120)) == [0, 1]


def test_a_gpu_that_two_nodes_count_is_refused_before_nccl_does() -> None:
    said = {"a": Facts("a", gpu_ids=("GPU-1", "GPU-2")), "b": Facts("b", gpu_ids=("GPU-2",)), "c": Facts("c")}
    told = "it counts GPU-2 of node a as its own, and NCCL takes no two ranks on one GPU; show each node others"
    assert faults(with_own_gpus(said), 0.0, 1e12) == {"b": f"node b: {told}"}


def test_only_whole_gpus_talk_over_nccl(tmp_path: Path) -> None:
    assert [replace(nodes.gang(tmp_path, 2), gpus=gpus).backend for gpus in (0, 0.5, 1)] == ["gloo", "gloo", "nccl"]


class Kept(nodes.Legs):
    """Keeps what is reported."""

    def __init__(self, reports: int) -> None:
        super().__init__(1, reports)
        self.reports: list[dict[str, Any]] = []

    def heard(self, order: LegOrder, report: dict[str, Any]) -> None:
        self.reports.append(report)
        super().heard(order, report)


@needs_gpu
@pytest.mark.parametrize(("ranks", "gpus"), [(1, 1), (2, 0.5)], ids=["a-whole-gpu", "two-ranks-share-one"])
def test_ranks_on_a_gpu_report_what_those_on_cpus_do(cluster: Any, tmp_path: Path, ranks: int, gpus: float) -> None:
    from orchestrator.execution.slots import Slots
    from orchestrator.execution.tuner import run_legs

    cluster.add_node(num_cpus=2, num_gpus=1)
    shapes = []
    for name, each in (("cpu", 0.0), ("gpu", gpus)):
        legs, gang = Kept(2), replace(nodes.gang(tmp_path / name, ranks), gpus=each)
        run_legs(legs, gang, Slots(gang, 1), str(tmp_path / name / "ray"), "legs")
        assert not legs.errors
        shapes.append([_shape(report) for report in legs.reports[:2]])
    assert shapes[0] == shapes[1]


@needs_gpu
def test_nccl_with_one_rank_reports_what_gloo_does(tmp_path: Path) -> None:
    told = [_under_torchrun(tmp_path, gpus) for gpus in ("", "0")]
    assert told[0] and [_shape(report) for report in told[0]] == [_shape(report) for report in told[1]]


def _under_torchrun(folder: Path, gpus: str) -> list[dict[str, Any]]:
    """What ``python -m trainers`` says on these GPUs, where ``torchrun`` has it make a process group of one."""
    (file := folder / "small.yaml").write_text(yaml.safe_dump(config().model_dump(mode="json")))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "1"]
    done = subprocess.run(
        [*torchrun, "-m", "trainers", str(file), "--json"],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": gpus},
        capture_output=True,
        text=True,
        check=True,
        timeout=240,
    )
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def _shape(report: dict[str, Any]) -> dict[str, Any]:
    """Names and kinds of what it holds, without the values, and without what only GPUs have to say of themselves."""
    return {
        name: sorted(value) if isinstance(value, dict) else type(value).__name__
        for name, value in report.items()
        if name not in ("system", "provenance")
    }
