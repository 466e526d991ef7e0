"""What a data set is: its space, its training and test examples, and the order in which a training meets them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from trainers.data.conditions import Column, balanced, require_fit
from trainers.errors import UnusableSettingError
from trainers.randomness import stream
from trainers.world import World, sent


@dataclass(frozen=True)
class Space:
    """Where examples live. ``shape`` is (C, H, W) for images, (frames, C, H, W) for clips,
    (2,) for points; ``classes`` 0 means no labels of one
    kind. ``columns`` are the conditions of examples that have several, or a number.

    ``names`` says what the classes are called, in order; empty where they are called by their numbers. Images are
    float32 in [-1, 1]; points stand in their true coordinates, and networks divide them by ``scale``. ``window`` says
    which values, in the units of the files, -1 and 1 are; None where they are black and white and no more. Of text,
    ``alphabet`` has the characters in the order of their code points, and ``shape`` is (length,).
    """

    shape: tuple[int, ...]
    classes: int = 0
    scale: float = 1.0
    centers: tuple[tuple[float, float], ...] = ()
    std: float = 0.0
    names: tuple[str, ...] = field(default=(), repr=False)  # a fingerprint is of the data, whatever it is called
    columns: tuple[Column, ...] = field(default=(), repr=False)
    alphabet: str = field(default="", repr=False)
    window: tuple[float, float] | None = field(default=None, repr=False)

    def packed(self, count: int) -> Space:
        """The space of ``count`` examples side by side along their first axis, as a packing discriminator sees them."""
        return replace(self, shape=(self.shape[0] * count, *self.shape[1:]))

    @property
    def frame(self) -> Space:
        """Of a clip's single frames."""
        return Space(self.shape[1:], window=self.window)

    @property
    def conditions(self) -> tuple[Column, ...]:
        """Every condition of an example; classes are one, called label."""
        called = self.names or tuple(map(str, range(self.classes)))
        return self.columns or ((Column("label", called),) if self.classes else ())

    @property
    def is_image(self) -> bool:
        """Whether examples are pictures."""
        return len(self.shape) == 3

    @property
    def is_clip(self) -> bool:
        """Whether examples are clips."""
        return len(self.shape) == 4


class Rows(Protocol):
    """Examples by number, in memory or not."""

    def __len__(self) -> int: ...

    @property
    def label_counts(self) -> Tensor | None:
        """How many examples each class has, int64 (classes,); None without labels."""

    @property
    def labels(self) -> Tensor | None:
        """Of all examples, as in ``Examples``; None where there are none, or not without reading the examples."""

    def __getitem__(self, index: Tensor) -> Examples:
        """The examples with these numbers, int64 (n,) on the CPU."""

    def expect(self, index: Tensor) -> None:
        """Says which examples will be asked for next."""

    def to(self, device: torch.device) -> Rows:
        """The same, giving examples on ``device``."""


@dataclass(frozen=True)
class Examples:
    """``values`` (n, *shape): uint8 or float32 in [-1, 1] for images, float32 for points, int64 code points for text
    with 0 after its end; ``labels`` are classes (n,) int64, or float32 (n, columns) where the space has columns, or
    None.
    """

    values: Tensor
    labels: Tensor | None = None

    def __len__(self) -> int:
        return len(self.values)

    @property
    def label_counts(self) -> Tensor | None:
        """How many examples each class has, from 0 to the largest label."""
        return None if self.labels is None or self.labels.ndim > 1 else torch.bincount(self.labels)

    def __getitem__(self, index: Tensor) -> Examples:
        index = sent(index, self.values.device)
        return Examples(self.values[index], None if self.labels is None else self.labels[index])

    def expect(self, index: Tensor) -> None:
        """Nothing to do: they are here."""

    def to(self, device: torch.device) -> Examples:
        """The same on ``device``."""
        return Examples(self.values.to(device), None if self.labels is None else self.labels.to(device))

    def floats(self) -> Tensor:
        """The values as float32 in [-1, 1] (images) or coordinates (points); code points as they are."""
        return self.values.float().div_(127.5).sub_(1) if self.values.dtype == torch.uint8 else self.values


class Law(Protocol):
    """How things move in clips that are drawn by code."""

    def paths(self, clips: Tensor) -> Tensor:
        """Where they are in each frame (n, frames, 2), x and y in pixels, of clips (n, frames, C, H, W) in [-1, 1]."""

    def residuals(self, paths: Tensor) -> Tensor:
        """How far (n,) in pixels, root mean square, paths (n, frames, 2) are from the nearest ones that obey it."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training and test examples. Nothing of ``test`` is ever trained on.

    ``blocks``, where given, are the numbers of consecutive training rows that are read together; ``digest`` tells such
    a set from another without reading it. ``notes`` are sentences for the user: what was skipped or left aside;
    ``unlabelled`` says why there are no labels, where that is odd; ``found`` what reading has brought to light so far,
    of a set that is read as it is needed. ``asked`` are the conditions (n, columns) that generators are judged at,
    where these are not those of the training examples; ``fresh`` draws so many examples that are in neither split, of
    data that are made by code; ``known`` are measures of pictures (n, *shape) that follow from how they are drawn.

    ``source`` is the other domain, of the same space, from which a translation starts; ``paired`` says that each row of
    its ``test`` is, in this domain, the same row of this ``test``. ``language`` is the probability of every string, of
    text where it is known; ``law`` how things move, in clips where that is known.
    """

    WINDOW: ClassVar[int] = 8  # blocks that are shuffled into each other

    name: str
    space: Space
    train: Rows
    test: Rows
    blocks: tuple[int, ...] = ()
    digest: str | None = None
    notes: tuple[str, ...] = ()
    unlabelled: str = ""
    found: Callable[[], Sequence[str]] = tuple
    source: Dataset | None = None
    paired: bool = False
    asked: Tensor | None = None
    fresh: Callable[[int], Examples] | None = None
    language: Mapping[str, float] | None = None
    known: Callable[[Tensor], dict[str, float]] | None = None
    law: Law | None = None

    def __post_init__(self) -> None:
        for split, rows in (("train", self.train), ("test", self.test)):
            if rows.labels is not None and self.space.conditions:
                require_fit(rows.labels, len(rows), self.space.conditions, f"{self.name!r}: its {split} split")

    def __len__(self) -> int:
        return len(self.train)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over all values and labels of both splits, or over ``digest``; one fingerprint, one data set."""
        more = "".join(repr(part) for part in (self.space.columns, self.space.window) if part)
        digest = hashlib.sha256((repr(self.space) + more).encode())
        if self.source:
            digest.update(self.source.fingerprint.encode())
        if self.digest is not None:
            digest.update(self.digest.encode())
            return digest.hexdigest()
        for rows in (self.train, self.test):
            for part in torch.split(torch.arange(len(rows)), 4096):
                examples = rows[part]
                digest.update(examples.values.contiguous().numpy().tobytes())
                if examples.labels is not None:
                    digest.update(examples.labels.numpy().tobytes())
        return digest.hexdigest()

    def conditions(self, count: int, seed: int) -> Tensor:
        """So many conditions to judge a generator at: those of ``asked`` in turn, or as frequent as in training."""
        counts = self.train.label_counts
        if counts is not None:
            return torch.multinomial(
                counts.double(), count, replacement=True, generator=stream(seed, "evaluate labels")
            )
        if self.asked is not None:
            return self.asked[torch.arange(count) % len(self.asked)]
        assert self.train.labels is not None
        return self.train.labels[torch.randint(len(self), (count,), generator=stream(seed, "evaluate labels"))]

    @property
    def unmet(self) -> tuple[str, ...]:
        """Classes that no training example is of."""
        counts = self.train.label_counts
        if counts is not None:
            each = [(self.space.conditions[0], counts)]
        elif self.train.labels is not None:
            columns = zip(self.space.columns, self.train.labels.unbind(1), strict=True)
            each = [(column, torch.bincount(values.long())) for column, values in columns if column.names]
        else:
            each = []
        return tuple(
            f"{column.name} {name!r}"
            for column, found in each
            for number, name in enumerate(column.names)
            if number >= len(found) or not found[number]
        )

    def order(self, batch_size: int, seed: int, even: bool = False) -> Order:
        """The order in which a training with this seed meets the training examples; ``even``: each class, or
        combination of classes, as often as any other.
        """
        if not even:
            return Order(len(self), batch_size, seed, self.blocks)
        kinds = balanced(self.train.labels, self.space.conditions) if isinstance(self.train, Examples) else None
        if kinds is None:
            message = "needs classes, of data that are held in memory; set it to false"
            raise UnusableSettingError(f"train.balanced: {message}")
        return Order(len(self), batch_size, seed, kinds=kinds)


class Order:
    """Which training examples each step shows: epoch after epoch, each a permutation that depends on (seed, epoch).

    Steps count from 0; the position in the data is a function of the step, so a resumed training needs no sampler
    state. With ``blocks``, a permutation shuffles the blocks, and their rows within windows of a few blocks. With
    ``kinds``, lists of rows, an epoch has equally many of each, of a small one some more than once.
    """

    def __init__(
        self, examples: int, batch_size: int, seed: int, blocks: Sequence[int] = (), kinds: Sequence[Tensor] = ()
    ) -> None:
        self.examples, self.batch_size, self.seed, self.blocks = examples, batch_size, seed, blocks
        self.kinds = kinds
        self._epochs: dict[int, Tensor] = {}

    def rows(self, step: int, world: World) -> Tensor:
        """The row numbers of this rank's share of the global batch, int64 (batch_size / world.size,)."""
        part = world.part(self.batch_size)
        start, stop = step * self.batch_size + part.start, step * self.batch_size + part.stop
        pieces = []
        while start < stop:
            epoch, offset = divmod(start, self.examples)
            count = min(stop - start, self.examples - offset)
            pieces.append(self._epoch(epoch)[offset : offset + count])
            start += count
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)

    def _epoch(self, epoch: int) -> Tensor:
        if epoch not in self._epochs:
            for old in [e for e in self._epochs if e < epoch - 1]:
                del self._epochs[old]
            self._epochs[epoch] = self._permutation(epoch)
        return self._epochs[epoch]

    def _permutation(self, epoch: int) -> Tensor:
        generator = stream(self.seed, epoch, "order")
        if self.kinds:
            each = -(-self.examples // len(self.kinds))
            shuffled = [rows[torch.randperm(len(rows), generator=generator)] for rows in self.kinds]
            even = torch.cat([rows.repeat(-(-each // len(rows)))[:each] for rows in shuffled])
            return even[torch.randperm(len(even), generator=generator)][: self.examples]
        if not self.blocks:
            return torch.randperm(self.examples, generator=generator)
        blocks = torch.split(torch.arange(self.examples), list(self.blocks))
        mixed = [blocks[i] for i in torch.randperm(len(blocks), generator=generator)]
        windows = [torch.cat(mixed[i : i + Dataset.WINDOW]) for i in range(0, len(mixed), Dataset.WINDOW)]
        return torch.cat([w[torch.randperm(len(w), generator=generator)] for w in windows])
