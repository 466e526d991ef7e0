"""Rows of Parquet shards that are decoded when they are needed."""

from __future__ import annotations

import logging
import os
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainers.config import Data
from trainers.data.columns import Classes
from trainers.data.dataset import Dataset, Examples, Rows
from trainers.data.picture import Skipped, pixels
from trainers.data.row_groups import Encoded, Shards
from trainers.errors import DataError
from trainers.world import sent

log = logging.getLogger(__name__)

TEST_SHARE = 10


@dataclass(frozen=True)
class Part:
    """Some rows of shards: all, or with ``held_out`` every tenth (rows 9, 19, 29, …), or the others."""

    shards: Shards
    held_out: bool | None

    def __len__(self) -> int:
        return self.before(len(self.shards))

    def __contains__(self, row: int) -> bool:
        return self.held_out is None or (row % TEST_SHARE == TEST_SHARE - 1) == self.held_out

    def before(self, row: int) -> int:
        """How many of the shards' first rows are of this part."""
        held = row // TEST_SHARE
        return row if self.held_out is None else held if self.held_out else row - held

    def row(self, index: int) -> int:
        """The shards' number of a row of this part."""
        if self.held_out is None:
            return index
        return index * TEST_SHARE + TEST_SHARE - 1 if self.held_out else index + index // (TEST_SHARE - 1)


class Streamed(Rows):
    """Rows decoded when they are asked for, by several threads, or ahead of that where they are expected; the last few
    row groups stay at hand, still encoded.
    """

    def __init__(self, part: Part, settings: Data, skipped: Skipped) -> None:
        self.part, self.shards, self.settings = part, part.shards, settings
        self.device = torch.device("cpu")
        self._skipped = skipped
        self._groups: OrderedDict[int, list[Encoded]] = OrderedDict()
        self._reader, self._decoders = ThreadPoolExecutor(1), ThreadPoolExecutor(min(os.cpu_count() or 1, 8))
        self._expected: tuple[Tensor, Future[Examples]] | None = None

    def __len__(self) -> int:
        return len(self.part)

    @property
    def label_counts(self) -> Tensor | None:
        """Of the shards whose rows these are."""
        return self.shards.classes.counts if isinstance(self.shards.classes, Classes) else None

    @cached_property
    def labels(self) -> Tensor | None:
        """Of several columns, whose values are in memory."""
        conditions = self.shards.conditions
        return None if conditions is None else conditions[[self.part.row(index) for index in range(len(self))]]

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
        moved = Streamed(self.part, self.settings, self._skipped)
        moved.device = device
        return moved

    def blocks(self) -> tuple[int, ...]:
        """How many of these rows each row group holds."""
        starts = [self.part.before(end) for end in (0, *self.shards.ends)]
        return tuple(b - a for a, b in pairwise(starts))

    def _read(self, index: Tensor) -> Examples:
        """Only ever in the one thread of ``_reader``."""
        places = [self.shards.find(self.part.row(int(i))) for i in index]
        groups = {group: self._group(group) for group in sorted({group for group, _ in places})}
        read = list(self._decoders.map(lambda place: self._example(groups[place[0]], *place), places))
        return Examples(torch.from_numpy(np.stack([p for p, _ in read])), self.shards.labels([n for _, n in read]))

    def _example(self, rows: list[Encoded], group: int, start: int) -> tuple[Any, int | None]:
        """The picture of a group's row; where it is broken, the next row's of this split, so that every rank counts
        alike.
        """
        first = self.shards.ends[group] - len(rows)
        for offset in range(len(rows)):
            other = (start + offset) % len(rows)
            if first + other not in self.part:
                continue
            place, source, label = rows[other]
            try:
                return pixels(source, self.settings), label
            except DataError as error:
                if self._skipped.add(place, error) and len(self._skipped.reasons) <= Skipped.NAMED:
                    log.warning("%s: %s; another image stands in", place, error)
        raise DataError(f"{rows[0][0]}: not one readable image in this row group")

    def _group(self, group: int) -> list[Encoded]:
        if group not in self._groups:
            self._groups[group] = self.shards.rows(group)
            if len(self._groups) > 2 * Dataset.WINDOW:
                self._groups.popitem(last=False)
        self._groups.move_to_end(group)
        return self._groups[group]
