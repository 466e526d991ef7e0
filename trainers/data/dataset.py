"""What a data set is: its space, its training and test examples, and the order in which a training meets them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from trainers.randomness import stream
from trainers.world import World


@dataclass(frozen=True)
class Space:
    """Where examples live. ``shape`` is (C, H, W) for images, (2,) for points; ``classes`` 0 means no labels.

    Images are float32 in [-1, 1]; points stand in their true coordinates, and networks divide them by ``scale``.
    """

    shape: tuple[int, ...]
    classes: int = 0
    scale: float = 1.0
    centers: tuple[tuple[float, float], ...] = ()
    std: float = 0.0

    def packed(self, count: int) -> Space:
        """The space of ``count`` examples side by side along their first axis, as a packing discriminator sees them."""
        return replace(self, shape=(self.shape[0] * count, *self.shape[1:]))

    @property
    def is_image(self) -> bool:
        """Whether examples are pictures."""
        return len(self.shape) == 3


@dataclass(frozen=True)
class Examples:
    """``values`` (n, *shape): uint8 or float32 in [-1, 1] for images, float32 for points; ``labels`` (n,) int64 or
    None.
    """

    values: Tensor
    labels: Tensor | None = None

    def __getitem__(self, index: Tensor | slice) -> Examples:
        return Examples(self.values[index], None if self.labels is None else self.labels[index])

    def to(self, device: torch.device) -> Examples:
        """The same on ``device``."""
        return Examples(self.values.to(device), None if self.labels is None else self.labels.to(device))

    def floats(self) -> Tensor:
        """The values as float32 in [-1, 1] (images) or coordinates (points)."""
        return self.values.float().div_(127.5).sub_(1) if self.values.dtype == torch.uint8 else self.values


@dataclass(frozen=True, eq=False)
class Dataset:
    """Examples held in memory. Nothing of ``test`` is ever trained on."""

    name: str
    space: Space
    train: Examples
    test: Examples

    def __len__(self) -> int:
        return len(self.train.values)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over the bytes of both splits and their labels; two data sets with one fingerprint are the same."""
        digest = hashlib.sha256(repr(self.space).encode())
        for tensor in (self.train.values, self.train.labels, self.test.values, self.test.labels):
            if tensor is not None:
                digest.update(tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()


class Order:
    """Which training examples each step shows: epoch after epoch, each a permutation that depends on (seed, epoch).

    Steps count from 0; the position in the data is a function of the step, so a resumed training needs no sampler
    state.
    """

    def __init__(self, examples: int, batch_size: int, seed: int) -> None:
        self.examples, self.batch_size, self.seed = examples, batch_size, seed
        self._epochs: dict[int, Tensor] = {}

    def rows(self, step: int, world: World) -> Tensor:
        """The row numbers of this rank's share of the global batch, int64 (batch_size / world.size,)."""
        part = world.part(self.batch_size)
        positions = range(step * self.batch_size + part.start, step * self.batch_size + part.stop)
        first, last = positions[0] // self.examples, positions[-1] // self.examples
        pieces = [
            self._epoch(epoch)[max(positions.start - epoch * self.examples, 0) : positions.stop - epoch * self.examples]
            for epoch in range(first, last + 1)
        ]
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)

    def _epoch(self, epoch: int) -> Tensor:
        if epoch not in self._epochs:
            for old in [e for e in self._epochs if e < epoch - 1]:
                del self._epochs[old]
            self._epochs[epoch] = torch.randperm(self.examples, generator=stream(self.seed, epoch, "order"))
        return self._epochs[epoch]
