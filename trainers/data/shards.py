"""Pictures in Parquet, as public image sets keep them: encoded in a column (bytes, or struct{bytes, path}), or as paths
of files beside it; an optional column of labels, by number or name.

A set that fits in memory is decoded once. A larger one is read row group by row group while training goes over it: each
epoch shuffles the groups, and the rows within windows of a few groups, so every rank finds its rows in groups that are
at hand. Where no file is called a test split, every tenth row is held out for judging.
"""

from __future__ import annotations

import hashlib
import logging
import os
from bisect import bisect_right
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as arrow
import torch
from torch import Tensor

from trainers.config import Data
from trainers.data.columns import Classes, Stored, class_names, classes_in, images_in
from trainers.data.dataset import Dataset, Examples, Rows, Space
from trainers.data.files import parquet_files
from trainers.data.picture import Skipped, Source, pixels, readable, variety
from trainers.errors import DataError
from trainers.world import sent

if TYPE_CHECKING:
    from trainers.files.places import FileSystem

log = logging.getLogger(__name__)

TEST_SHARE = 10
Encoded = tuple[str, Source, int | None]  # place, encoded image, label
IN_MEMORY = 2 * 2**30  # bytes of decoded pixels; more are streamed


def parquet(settings: Data) -> Dataset:
    """Files, folders or patterns, local or ``s3://`` (endpoint and keys from the environment). Raises DataError."""
    try:
        files = parquet_files(settings.places)
        shards = Shards(settings, files.system, files.train)
        held_out = Shards(settings, files.system, files.held_out, shards.classes) if files.held_out else None
        if held_out and not held_out.has_only(shards.classes):
            held_out = None
    except (OSError, pa.ArrowException, TypeError) as error:
        raise DataError(f"data.path: {settings.path!r} cannot be read as Parquet: {error}") from error
    if len(shards) < TEST_SHARE:
        raise DataError(f"data.path: {settings.path!r} holds {len(shards)} rows; at least {TEST_SHARE} are needed")
    parts = (Part(shards, None), Part(held_out, None)) if held_out else (Part(shards, False), Part(shards, True))
    classes = shards.classes
    numbered = (len(classes.counts), classes.names) if isinstance(classes, Classes) else (0, ())
    shape = settings.channels, settings.resolution, settings.resolution
    space = Space(shape, numbered[0], names=numbered[1])
    why = "" if isinstance(classes, Classes) else classes
    splits = [files.splits.told(held_out is not None)] if files.splits else []
    notes = [*splits, *([why] if why and shards.labelled else [])]
    if (len(shards) + len(held_out or ())) * np.prod(shape) <= IN_MEMORY:
        skipped = Skipped(settings, len(shards) + len(held_out or ()))
        train, test = (_decoded(part, settings, skipped) for part in parts)
        notes = [*skipped.told(), *notes, *variety(train.values.numpy())]
        return Dataset("parquet", space, train, test, notes=tuple(notes), unlabelled=why)
    skipped = Skipped(settings, len(shards) + len(held_out or ()))
    streamed, judged = (Streamed(part, settings, skipped) for part in parts)
    digest = "".join(each.digest() for each in (shards, held_out) if each)
    return Dataset("parquet", space, streamed, judged, streamed.blocks(), digest, tuple(notes), why, skipped.told)


class Shards:
    """Row groups of some files, in order, and their rows; ``classes`` are those of other shards, or found here."""

    def __init__(
        self, settings: Data, system: FileSystem, files: list[str], classes: Classes | str | None = None
    ) -> None:
        self.settings, self.system = settings, system
        source = arrow.dataset(files, filesystem=system, format="parquet")
        self.groups = [g for f in source.get_fragments() for g in f.split_by_row_group()]
        image, label, path = settings.image_column, settings.label_column, settings.path
        for setting, column in (("image_column", image), ("label_column", label)):
            if column not in source.schema.names and column != "label":
                names = ", ".join(source.schema.names)
                raise DataError(f"data.{setting}: no column {column!r} in {path!r}; name one of its columns: {names}")
        try:
            self.image = images_in(source.schema.field(image).type, image)
        except DataError as error:
            raise DataError(f"data.image_column: {path!r}: {error}") from None
        self.labelled = label in source.schema.names
        self.ends: list[int] = list(accumulate(g.row_groups[0].num_rows for g in self.groups))
        self.classes = classes or self._classes(class_names(source.schema, label))

    def __len__(self) -> int:
        return self.ends[-1] if self.ends else 0

    def _classes(self, names: tuple[str, ...]) -> Classes | str:
        """What the labels are, or why there are none."""
        column = self.settings.label_column
        if not self.labelled or not self.groups:
            return f"there is no column {column!r}; data.label_column names another"
        found = classes_in(self._labels(), names)
        return found if isinstance(found, Classes) else f"no classes: column {column!r} {found}"

    def has_only(self, classes: Classes | str) -> bool:
        """Whether each row is of one of these classes; a published test split may have no labels."""
        if isinstance(classes, str):
            return True
        return self.labelled and all(value in classes.numbers for value in pc.unique(self._labels()).to_pylist())

    def _labels(self) -> pa.ChunkedArray:
        column = self.settings.label_column
        tables = [g.to_table(columns=[column])[column] for g in self.groups]
        labels = pa.chunked_array([chunk for part in tables for chunk in part.chunks])
        return labels.cast(labels.type.value_type) if pa.types.is_dictionary(labels.type) else labels

    def digest(self) -> str:
        """What the files' footers say of their row groups: names, rows, and every column's sizes and extremes."""
        told = [(g.path.rsplit("/", 1)[-1], *_told(g)) for g in self.groups]
        return hashlib.sha256(repr(told).encode()).hexdigest()

    def rows(self, group: int) -> list[Encoded]:
        """Every row of a group."""
        image, label = self.settings.image_column, self.settings.label_column
        numbers = self.classes.numbers if isinstance(self.classes, Classes) else None
        fragment = self.groups[group]
        table = fragment.to_table(columns=[image, *([label] if numbers else [])])
        place = f"{fragment.path}, row group {fragment.row_groups[0].id}"
        folder = fragment.path.rpartition("/")[0]
        images = [self._source(self.image(value), folder) for value in table[image].to_pylist()]
        labels = [numbers.get(value) for value in table[label].to_pylist()] if numbers else [None] * len(images)
        return [(f"{place}, row {row}", *both) for row, both in enumerate(zip(images, labels, strict=True))]

    def _source(self, stored: Stored, folder: str) -> Source:
        """An image that is a file of its own is read when it is needed."""
        return partial(_read, self.system, folder, stored) if isinstance(stored, str) else stored or b""

    def find(self, row: int) -> tuple[int, int]:
        """The group of a row, and its place there."""
        group: int = bisect_right(self.ends, row)
        before: int = self.ends[group - 1] if group else 0
        return group, row - before


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
        labels = None if self.label_counts is None else torch.tensor([label for _, label in read])
        return Examples(torch.from_numpy(np.stack([p for p, _ in read])), labels)

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


def _told(group: Any) -> tuple[Any, ...]:
    footer = group.metadata.row_group(group.row_groups[0].id)
    columns = [footer.column(i) for i in range(footer.num_columns)]
    sizes = [(c.path_in_schema, c.total_compressed_size, c.total_uncompressed_size) for c in columns]
    extremes = [(c.statistics.min, c.statistics.max) for c in columns if c.statistics and c.statistics.has_min_max]
    return footer.num_rows, sizes, extremes


def _decoded(part: Part, settings: Data, skipped: Skipped) -> Examples:
    shards = part.shards
    every = [row for group in range(len(shards.groups)) for row in shards.rows(group)]
    read = list(readable((row for number, row in enumerate(every) if number in part), settings, skipped))
    labels = torch.tensor([label for _, label in read]) if isinstance(shards.classes, Classes) else None
    return Examples(torch.from_numpy(np.stack([p for p, _ in read])), labels)


def _read(system: FileSystem, folder: str, path: str) -> bytes:
    """An image file that a row names: its path is absolute, or counts from the Parquet file's folder."""
    place = path.removeprefix("s3://") if path.startswith(("/", "s3://")) else f"{folder}/{path}"
    try:
        with system.open_input_file(place) as file:
            return bytes(file.read())
    except FileNotFoundError:
        raise DataError(f"there is no file {place}") from None
