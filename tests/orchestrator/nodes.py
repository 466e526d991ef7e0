"""Clusters of several nodes on this machine, each a raylet of its own, and a conductor that plays a list of legs."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import psutil
import pytest

from orchestrator.artifacts import open_store
from orchestrator.errors import WorkError
from orchestrator.execution.environment import HEALTH, QUIET, prepare
from orchestrator.execution.order import GangSpec, LegOrder
from trainers.config import Config

CONFIG = Config.model_validate(
    {
        "data": {"name": "ring"},
        "model": {"generator": "mlp", "discriminator": "mlp", "latent_dim": 4, "width": 16, "depth": 2},
        "train": {"images": 2_000_000, "batch_size": 16},
        "evaluate": {"every_images": 1_600, "samples": 64, "metrics": ["fid"]},
        "health": {"stop": "never"},
    }
)


@contextmanager
def cluster(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head without CPUs; nodes are added by ``add_node``. The driver is connected."""
    slow = {"RAY_health_check_period_ms": "1000", "RAY_raylet_start_wait_time_s": "120"}
    for name, value in (HEALTH | QUIET | slow).items():
        patch.setenv(name, value)
    prepare("a cluster", folder / "token")
    import ray
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        ray.init(address=nodes.address, log_to_driver=False, logging_level=logging.ERROR)
        yield nodes
    finally:
        ray.shutdown()
        nodes.shutdown()  # type: ignore[no-untyped-call]


def gang(folder: Path, ranks: int = 1, **more: Any) -> GangSpec:
    return GangSpec(ranks, 1, 0, open_store(str(folder / "store"), folder), str(folder / "cache"), **more)


class Legs:
    """Hands out legs of so many trainings, each again after a failure, as the ledger does; ends when each has reported
    ``reports`` times. ``then`` is called at each report.
    """

    def __init__(self, trainings: int, reports: int, then: Callable[[Legs], None] = lambda legs: None) -> None:
        self.waiting = [str(number) for number in range(trainings)]
        self.images: dict[str, list[int]] = {prefix: [] for prefix in self.waiting}
        self.checkpoints: dict[str, tuple[str, ...]] = dict.fromkeys(self.waiting, ())
        self.errors: list[WorkError] = []
        self.failed_at = 0.0
        self._reports, self._then = reports, then

    def next_leg(self) -> tuple[str, LegOrder] | Literal["wait", "done"]:
        if self.stopping():
            return "done"
        if not self.waiting:
            return "wait"
        prefix = self.waiting.pop(0)
        order = LegOrder(CONFIG.model_dump(mode="json"), CONFIG.train.images, prefix, self.checkpoints[prefix])
        return prefix, order

    def moved(self, images: Mapping[str, int]) -> None: ...

    def has_more(self) -> bool:
        return bool(self.waiting)

    def heard(self, order: LegOrder, report: dict[str, Any]) -> None:
        self.images[order.prefix].append(report["images"])
        self.checkpoints[order.prefix] = tuple(report["stored"])
        self._then(self)

    def ended(self, order: LegOrder) -> None:
        self.waiting.append(order.prefix)

    def failed(self, order: LegOrder, error: WorkError) -> None:
        self.errors.append(error)
        self.failed_at = time.monotonic()
        if checkpoint := getattr(error, "checkpoint", None):
            self.checkpoints[order.prefix] = (*self.checkpoints[order.prefix], checkpoint)[-2:]
        self.waiting.append(order.prefix)

    def unwanted(self, prefix: str) -> bool:
        return False

    def stopping(self) -> bool:
        return all(len(images) >= self._reports for images in self.images.values())


def processes(node: Any) -> list[psutil.Process]:
    """Everything that runs on a node: its raylet and its workers."""
    raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
    return [raylet, *raylet.children(recursive=True)]


def ranks(nodes: list[Any], word: str) -> list[psutil.Process]:
    """On these nodes; ``word``: TrainLeg for rank 0, Rank for the others."""
    return [p for node in nodes for p in processes(node)[1:] if f"ray::{word}" in " ".join(p.cmdline())]


def lose(node: Any) -> None:
    """As a machine is lost: all at once, without a word."""
    for process in processes(node):
        process.send_signal(signal.SIGKILL)


def drain(node: Any, seconds: float = 60) -> None:
    """Tell the cluster that the node will be preempted."""
    from ray.core.generated import autoscaler_pb2

    from orchestrator.execution import gcs

    reason = autoscaler_pb2.DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")  # type: ignore[attr-defined]
    deadline = int((time.time() + seconds) * 1000)
    accepted, why = gcs._client().drain_node(node.node_id, reason, "a test", deadline)
    assert accepted, why
