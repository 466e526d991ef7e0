"""What travels between the driver, a slot and its ranks: plain values. No import of Ray, before which the driver builds
them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.artifacts import Store


@dataclass(frozen=True)
class GangSpec:
    """What every slot of a sweep looks like: so many ranks, each with so many CPUs, GPUs and bytes of ``memory``.
    ``store`` carries no secrets. ``hang_seconds``: without a sign of life or a step for so long, a rank counts as hung.
    """

    ranks: int
    cpus: float
    gpus: float
    store: Store
    cache: str
    hang_seconds: float = 60
    memory: float = 0
    accelerator: str | None = None
    on: tuple[tuple[str, str], ...] = ()
    placement: Literal["pack", "spread", "strict_pack"] = "pack"

    @property
    def backend(self) -> str:
        # NCCL refuses two ranks on one GPU, so shares of a GPU talk over gloo.
        return "nccl" if self.gpus >= 1 else "gloo"

    @property
    def bundle(self) -> dict[str, float]:
        """The resources of one rank."""
        given = {"CPU": self.cpus, "GPU": self.gpus, "memory": self.memory}
        return {name: amount for name, amount in given.items() if amount}

    @property
    def labels(self) -> dict[str, str]:
        """What a node must say of itself."""
        return dict(self.on) | ({"ray.io/accelerator-type": self.accelerator} if self.accelerator else {})


@dataclass(frozen=True)
class LegOrder:
    """A leg: train ``config`` from the last of ``checkpoints`` (store keys, oldest first; afresh where empty) until
    ``until`` images.

    What it makes is stored under ``prefix``, which also is its name.
    """

    config: dict[str, Any]
    until: int
    prefix: str
    checkpoints: tuple[str, ...]
    shared: frozenset[str] = frozenset()
    """Checkpoints that others need too, and that are never deleted."""


class Stopped(NamedTuple):
    """A training that has ended between two reports, since its node is to go: with a checkpoint, or where it began."""

    checkpoint: Path | None
