"""Pictures in Parquet, as public image sets keep them: column ``image`` (struct{bytes, path} or bytes), optional
``label``.

A set that fits in memory is decoded once. A larger one is read row group by row group while training goes over it: each
epoch shuffles the groups, and the rows within windows of a few groups, so every rank finds its rows in groups that are
at hand. Every tenth row is held out for judging.
"""

from __future__ import annotations

import hashlib
import os
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as arrow
import torch
from torch import Tensor

from trainers.config import Data
from trainers.data.dataset import Dataset, Examples, Rows, Space
from trainers.data.picture import Skipped, pixels, readable
from trainers.errors import DataError
from trainers.world import sent

TEST_SHARE = 10
Encoded = tuple[str, bytes, int | None]  # place, encoded image, label
IN_MEMORY = 2 * 2**30  # bytes of decoded pixels; more are streamed


def parquet(settings: Data) -> Dataset:
    """Files or folders, local or ``s3://`` (endpoint and keys from the environment). Raises DataError."""
    shards = Shards(settings)
    if len(shards) < TEST_SHARE:
        raise DataError(f"data.path: {settings.path!r} holds {len(shards)} rows; at least {TEST_SHARE} are needed")
    counts = shards.label_counts
    classes = 0 if counts is None else len(counts)
    space = Space((settings.channels, settings.resolution, settings.resolution), classes)
    if len(shards) * np.prod(space.shape) <= IN_MEMORY:
        train, test = _decoded(shards, settings)
        return Dataset("parquet", space, train, test)
    streamed = Streamed(shards, settings, held_out=False)
    held_out = Streamed(shards, settings, held_out=True)
    return Dataset("parquet", space, streamed, held_out, streamed.blocks(), shards.digest())


class Shards:
    """Row groups of all files, in order, and the rows in them."""

    def __init__(self, settings: Data) -> None:
        self.settings = settings
        try:
            source = arrow.dataset(settings.path, format="parquet")
            self.groups = [g for f in source.get_fragments() for g in f.split_by_row_group()]
        except (OSError, pa.ArrowException, TypeError) as error:
            raise DataError(f"data.path: {settings.path!r} cannot be read as Parquet: {error}") from error
        if "image" not in source.schema.names:
            raise DataError(f"data.path: no column 'image' in {settings.path!r} (columns: {source.schema.names})")
        self.labelled = "label" in source.schema.names
        if self.labelled and not pa.types.is_integer(source.schema.field("label").type):
            kind = source.schema.field("label").type
            raise DataError(f"data.path: column 'label' of {settings.path!r} holds {kind}; classes are integers from 0")
        self.ends: list[int] = list(accumulate(g.row_groups[0].num_rows for g in self.groups))

    def __len__(self) -> int:
        return self.ends[-1] if self.ends else 0

    @cached_property
    def label_counts(self) -> Tensor | None:
        """How many rows each class has, int64 (classes,), from 0 to the largest label; None without labels."""
        if not self.labelled:
            return None
        labels = [g.to_table(columns=["label"])["label"] for g in self.groups]
        column = pa.chunked_array([chunk for part in labels for chunk in part.chunks])
        if column.null_count or pc.min(column).as_py() < 0:
            raise DataError(f"data.path: column 'label' of {self.settings.path!r} has rows that are empty or negative")
        return torch.from_numpy(np.bincount(column.to_numpy()))

    def digest(self) -> str:
        """What the files' footers say of their row groups: names, rows, and every column's sizes and extremes."""
        told = [(g.path.rsplit("/", 1)[-1], *_told(g)) for g in self.groups]
        return hashlib.sha256(repr(told).encode()).hexdigest()

    def rows(self, group: int) -> list[Encoded]:
        """Every row of a group."""
        table = self.groups[group].to_table(columns=["image", *(["label"] if self.labelled else [])])
        images = [i["bytes"] if isinstance(i, dict) else i for i in table["image"].to_pylist()]
        labels = table["label"].to_pylist() if self.labelled else [None] * len(images)
        fragment = self.groups[group]
        places = [f"{fragment.path}, row group {fragment.row_groups[0].id}, row {row}" for row in range(len(images))]
        return [(place, image or b"", label) for place, image, label in zip(places, images, labels, strict=True)]

    def find(self, row: int) -> tuple[int, int]:
        """The group of a row, and its place there."""
        group: int = bisect_right(self.ends, row)
        before: int = self.ends[group - 1] if group else 0
        return group, row - before


class Streamed(Rows):
    """Rows decoded when they are asked for, by several threads, or ahead of that where they are expected; the last few
    row groups stay at hand, still encoded.
    """

    def __init__(self, shards: Shards, settings: Data, held_out: bool) -> None:
        self.shards, self.settings, self.held_out = shards, settings, held_out
        self.device = torch.device("cpu")
        self._skipped = Skipped(settings, len(shards))
        self._groups: OrderedDict[int, list[Encoded]] = OrderedDict()
        self._reader, self._decoders = ThreadPoolExecutor(1), ThreadPoolExecutor(min(os.cpu_count() or 1, 8))
        self._expected: tuple[Tensor, Future[Examples]] | None = None

    def __len__(self) -> int:
        held = len(self.shards) // TEST_SHARE
        return held if self.held_out else len(self.shards) - held

    @property
    def label_counts(self) -> Tensor | None:
        """Of both splits together, which differ by chance only."""
        return self.shards.label_counts

    def __getitem__(self, index: Tensor) -> Examples:
        expected, self._expected = self._expected, None
        if expected is None or not torch.equal(expected[0], index):
            expected = index, self._reader.submit(self._read, index)
        read = expected[1].result()
        return Examples(sent(read.values, self.device), None if read.labels is None else sent(read.labels, self.device))

    def expect(self, index: Tensor) -> None:
        """Begins to read."""
        self._expected = index, self._reader.submit(self._read, index)

    def to(self, device: torch.device) -> Streamed:
        """The same rows, arriving on ``device``."""
        moved = Streamed(self.shards, self.settings, self.held_out)
        moved.device = device
        return moved

    def blocks(self) -> tuple[int, ...]:
        """How many of these rows each row group holds."""
        starts = [self._before(end) for end in (0, *self.shards.ends)]
        return tuple(b - a for a, b in pairwise(starts))

    def _read(self, index: Tensor) -> Examples:
        """Only ever in the one thread of ``_reader``."""
        places = [self.shards.find(self._row(int(i))) for i in index]
        groups = {group: self._group(group) for group in sorted({group for group, _ in places})}
        read = list(self._decoders.map(lambda place: self._example(groups[place[0]], *place), places))
        labels = torch.tensor([label for _, label in read]) if self.shards.labelled else None
        return Examples(torch.from_numpy(np.stack([p for p, _ in read])), labels)

    def _before(self, row: int) -> int:
        held = row // TEST_SHARE
        return held if self.held_out else row - held

    def _row(self, index: int) -> int:
        return index * TEST_SHARE + TEST_SHARE - 1 if self.held_out else index + index // (TEST_SHARE - 1)

    def _example(self, rows: list[Encoded], group: int, start: int) -> tuple[Any, int | None]:
        """The picture of a group's row; where it is broken, the next row's of this split, so that every rank counts
        alike.
        """
        first = self.shards.ends[group] - len(rows)
        for offset in range(len(rows)):
            other = (start + offset) % len(rows)
            if _is_held_out(first + other) != self.held_out:
                continue
            place, data, label = rows[other]
            try:
                return pixels(data, self.settings), label
            except DataError as error:
                self._skipped.add(place, error)
        raise DataError(f"{rows[0][0]}: not one readable image in this row group")

    def _group(self, group: int) -> list[Encoded]:
        if group not in self._groups:
            self._groups[group] = self.shards.rows(group)
            if len(self._groups) > 2 * Dataset.WINDOW:
                self._groups.popitem(last=False)
        self._groups.move_to_end(group)
        return self._groups[group]


def _is_held_out(row: int) -> bool:
    """Every tenth row: 9, 19, 29, ..."""
    return row % TEST_SHARE == TEST_SHARE - 1


def _told(group: Any) -> tuple[Any, ...]:
    footer = group.metadata.row_group(group.row_groups[0].id)
    columns = [footer.column(i) for i in range(footer.num_columns)]
    sizes = [(c.path_in_schema, c.total_compressed_size, c.total_uncompressed_size) for c in columns]
    extremes = [(c.statistics.min, c.statistics.max) for c in columns if c.statistics and c.statistics.has_min_max]
    return footer.num_rows, sizes, extremes


def _decoded(shards: Shards, settings: Data) -> Iterator[Examples]:
    """The training and the test examples."""
    every = [row for group in range(len(shards.groups)) for row in shards.rows(group)]
    for held_out in (False, True):
        chosen = [row for number, row in enumerate(every) if _is_held_out(number) == held_out]
        read = list(readable(chosen, settings, len(every)))
        labels = torch.tensor([label for _, label in read]) if shards.labelled else None
        yield Examples(torch.from_numpy(np.stack([p for p, _ in read])), labels)
