"""All-reduce latency and bandwidth between the nodes of a cluster: a rank on each, over gloo, or NCCL with GPUs."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import ray
import torch
import torch.distributed as dist
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from orchestrator.errors import WorkError
from orchestrator.execution.order import GangSpec
from orchestrator.execution.rank import Rank
from orchestrator.execution.watch import OPEN

SMALL, LARGE = 2**10, 2**24
"""Bytes of an all-reduce, for its latency and its bandwidth."""
PATIENCE = 120.0
"""Seconds until ranks must have met and measured: interfaces that don't reach each other never do."""


class Reducer(Rank):
    """A rank that only adds up."""

    def seconds(self, size: int, times: int = 20) -> float:
        """Of one all-reduce of ``size`` bytes, the fastest of some; a few go before."""
        assert self._world is not None
        values = torch.ones(size // 4, device=self._world.device)
        taken = []
        for _ in range(times + 3):
            began = time.perf_counter()
            dist.all_reduce(values)
            values.mul_(0).add_(1)
            float(values[0])  # a GPU is waited for
            taken.append(time.perf_counter() - began)
        return min(taken[3:])


def all_reduce(gang: GangSpec, nodes: Sequence[str]) -> str:
    """Latency and bandwidth over ``nodes`` (ids) by the gang's backend, in words. Raises WorkError where their ranks
    don't meet.
    """
    spec, name = replace(gang, ranks=len(nodes)), f"reach/{uuid.uuid4().hex}"
    ranks: list[Any] = [
        ray.remote(Reducer)
        .options(
            num_cpus=0,
            num_gpus=1 if spec.backend == "nccl" else 0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
        )
        .remote(spec, rank, name)
        for rank, node in enumerate(nodes)
    ]
    try:
        host, port = ray.get(ranks[0].listen.remote(), timeout=PATIENCE)
        ray.get([rank.join.remote(host, port) for rank in ranks], timeout=PATIENCE)
        small, large = (
            max(ray.get([rank.seconds.remote(size) for rank in ranks], timeout=PATIENCE)) for size in (SMALL, LARGE)
        )
    except ray.exceptions.GetTimeoutError:
        raise WorkError(f"ranks on different nodes do not meet within {PATIENCE:.0f} s: {OPEN}") from None
    except ray.exceptions.RayError as error:
        raise WorkError(f"an all-reduce over the nodes failed: {' '.join(str(error).split())[:300]}") from None
    finally:
        with suppress(Exception):
            ray.get([rank.close.remote() for rank in ranks], timeout=5)
        for rank in ranks:
            ray.kill(rank)
    return (
        f"between {len(nodes)} nodes: {small * 1e3:.2f} ms, {LARGE / large / 2**30:.2f} GiB/s of {LARGE // 2**20} MiB"
    )
