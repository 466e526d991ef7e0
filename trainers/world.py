"""The ranks of one data-parallel training, and all that passes between them.

Whoever starts the ranks (a Ray gang, ``torchrun``, ``trainers.launch``) also initialises the process group; ``World``
only uses it.
"""

from __future__ import annotations

import gc
import json
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from trainers.watching.pulse import Pulse


def sent(values: Tensor, device: torch.device) -> Tensor:
    """``values`` on ``device``; a GPU fetches them from pinned memory while the host goes on."""
    if values.device == device or device.type != "cuda":
        return values
    return values.pin_memory().to(device, non_blocking=True)


def leave() -> None:
    """Ends this rank's process group. What still refers to it in circles, as wrapped modules do, goes first: freed
    when the interpreter ends, it aborts the process.
    """
    gc.collect()
    dist.destroy_process_group()


@dataclass(frozen=True)
class World:
    """This process among its peers; ``size`` 1 is a training alone and needs no process group."""

    rank: int
    size: int
    device: torch.device
    pulse: Pulse = field(default_factory=Pulse, repr=False, compare=False)

    @classmethod
    def single(cls, device: torch.device | str | None = None) -> World:
        """A world of one process."""
        return cls(0, 1, torch.device(device or "cpu"))

    @classmethod
    def from_env(cls) -> World:
        """The world that ``torchrun`` describes; one process where it describes none. On GPUs where each of this
        node's ranks has one.
        """
        rank, size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        if torch.cuda.device_count() >= int(os.environ.get("LOCAL_WORLD_SIZE", 1)):
            return cls(rank, size, torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))))
        return cls(rank, size, torch.device("cpu"))

    def part(self, batch_size: int) -> slice:
        """This rank's rows of a global batch."""
        share = batch_size // self.size
        return slice(self.rank * share, (self.rank + 1) * share)

    def wrap(self, module: nn.Module) -> nn.Module:
        """``module`` as one whose ``backward`` averages gradients over the ranks.

        Right for one forward and a first-order backward. A discriminator under a gradient penalty must not be wrapped:
        DDP does not support double backward (its hooks fire once, before the second-order terms exist); see
        ``reduce_gradients``. Buffers are not broadcast: every rank computes the same ones, and an in-place broadcast
        breaks a pending backward.
        """
        if self.size == 1 or not any(p.requires_grad for p in module.parameters()):
            return module
        ids = [self.device.index] if self.device.type == "cuda" else None
        return DistributedDataParallel(module, device_ids=ids, forward_sync_buffers=False)

    def reduce_gradients(self, module: nn.Module) -> None:
        """Averages the gradients of an unwrapped module over the ranks, after the backward is complete."""
        if self.size > 1 and not isinstance(module, DistributedDataParallel):
            self.average([p.grad for p in module.parameters() if p.grad is not None])

    def average(self, tensors: list[Tensor]) -> None:
        """Replaces ``tensors`` by their means over the ranks: one flattened all-reduce."""
        flat = torch.cat([t.reshape(-1) for t in tensors])
        dist.all_reduce(flat)
        parts = flat.div_(self.size).split_with_sizes([t.numel() for t in tensors])
        torch._foreach_copy_(tensors, [part.view_as(t) for part, t in zip(parts, tensors, strict=True)])

    def mean(self, values: Tensor) -> Tensor:
        """The mean of ``values`` over the ranks, on every rank."""
        if self.size > 1:
            dist.all_reduce(values)
            values = values / self.size
        return values

    def reduction_seconds(self, numbers: int) -> float:
        """How long an all-reduce of so many numbers takes, with nothing else to do and no rank late; 0 for a rank
        alone.
        """
        if self.size == 1:
            return 0.0
        values = torch.zeros(numbers, device=self.device)
        self.any(False)  # all ranks are here
        start = time.perf_counter()
        self.mean(values)[:1].tolist()  # waits for a GPU, too
        return time.perf_counter() - start

    def any(self, flag: bool) -> bool:
        """Whether ``flag`` holds on any rank; the same answer on every rank."""
        return bool(self.mean(torch.tensor(float(flag), device=self.device)) > 0) if self.size > 1 else flag

    def stops(self, seconds: float) -> tuple[bool, float]:
        """Whether any rank is asked to stop, and the mean of the ranks' ``seconds``; the same answers on every rank."""
        if self.size == 1:
            return self.pulse.stop, seconds
        asked, mean = self.mean(torch.tensor([float(self.pulse.stop), seconds], device=self.device)).tolist()
        return asked > 0, mean

    def all_gather(self, rows: Tensor) -> Tensor:
        """The rows of all ranks in rank order; every rank brings the same number."""
        if self.size == 1:
            return rows
        parts = [torch.empty_like(rows) for _ in range(self.size)]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    def broadcast(self, values: Tensor) -> Tensor:
        """Rank 0's ``values``, written in place on every rank."""
        if self.size > 1:
            dist.broadcast(values, 0)
        return values

    def agree(self, value: Any) -> Any:
        """Rank 0's JSON-able ``value`` on every rank, so that all of them decide alike (tuples return as lists)."""
        if self.size == 1:
            return value
        text = json.dumps(value).encode() if self.rank == 0 else b""
        length = self.broadcast(torch.tensor([len(text)], device=self.device))
        data = torch.zeros(int(length), dtype=torch.uint8, device=self.device)
        if self.rank == 0:
            data.copy_(torch.frombuffer(bytearray(text), dtype=torch.uint8))
        return json.loads(bytes(self.broadcast(data).cpu().numpy().tobytes()))

    def replicas_equal(self, tensors: Iterable[Tensor]) -> bool:
        """Whether every rank holds bit-equal ``tensors``; the same answer on every rank."""
        if self.size == 1:
            return True
        flat = torch.cat([t.detach().reshape(-1).view(torch.uint8) for t in tensors])
        equal = torch.tensor([float(torch.equal(flat, self.broadcast(flat.clone())))], device=self.device)
        return bool(self.mean(equal) == 1)
