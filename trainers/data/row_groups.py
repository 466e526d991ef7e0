"""Parquet files of pictures: their row groups, what their columns hold, and the encoded rows."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate, product
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as arrow
import torch
from torch import Tensor

from trainers.config import Data
from trainers.data.columns import Classes, Stored, class_names, classes_in, images_in
from trainers.data.picture import Source
from trainers.errors import DataError

if TYPE_CHECKING:
    from trainers.files.places import FileSystem

NAMED = 3  # files that a message names
Encoded = tuple[str, Source, int | None]  # place, encoded image, label


class Shards:
    """Row groups of some files, in order, and their rows; ``classes`` are those of other shards, or found here."""

    def __init__(
        self, settings: Data, system: FileSystem, files: list[str], classes: Classes | str | None = None
    ) -> None:
        self.settings, self.system = settings, system
        source = arrow.dataset(files, filesystem=system, format="parquet")
        self.groups = [g for f in source.get_fragments() for g in f.split_by_row_group()]
        image, label, path = settings.image_column, settings.label_column, settings.path
        self.several = not isinstance(label, str)
        self.columns = (label,) if isinstance(label, str) else label
        for setting, column in (("image_column", image), *(("label_column", column) for column in self.columns)):
            if column not in source.schema.names and (column != "label" or self.several):
                names = ", ".join(source.schema.names)
                raise DataError(f"data.{setting}: no column {column!r} in {path!r}; name one of its columns: {names}")
        self.labelled = set(self.columns) <= set(source.schema.names)
        require_alike(self.groups, self.columns if self.labelled else ())
        self.images = {g.path: _images_of(g, image) for g in self.groups}
        self.names = {column: class_names(source.schema, column) for column in self.columns}
        self.conditions: Tensor | None = None
        self.ends: list[int] = list(accumulate(g.row_groups[0].num_rows for g in self.groups))
        self.classes = classes or self._classes()

    def __len__(self) -> int:
        return self.ends[-1] if self.ends else 0

    def _classes(self) -> Classes | str:
        """What the labels are, or why there are none of one kind."""
        column = self.columns[0]
        if self.several:
            return "labels of several kinds"
        if not self.labelled or not self.groups:
            return f"there is no column {column!r}; data.label_column names another"
        found = classes_in(self.values(column), self.names[column])
        return found if isinstance(found, Classes) else f"no classes: column {column!r} {found}"

    def has_only(self, classes: Classes | str) -> bool:
        """Whether each row is of one of these classes; a published test split may have no labels."""
        if isinstance(classes, str):
            return True
        return self.labelled and all(
            value in classes.numbers for value in pc.unique(self.values(self.columns[0])).to_pylist()
        )

    def values(self, column: str) -> pa.ChunkedArray:
        """All of a label column."""
        tables = [g.to_table(columns=[column])[column].cast(_type(g, column)) for g in self.groups]
        return pa.chunked_array([chunk for part in tables for chunk in part.chunks])

    def digest(self) -> str:
        """What the files' footers say of their row groups: names, rows, and every column's sizes and extremes."""
        told = [(g.path.rsplit("/", 1)[-1], *_told(g)) for g in self.groups]
        return hashlib.sha256(repr(told).encode()).hexdigest()

    def rows(self, group: int) -> list[Encoded]:
        """Every row of a group; where ``conditions`` are known, its number stands for the label."""
        image, label = self.settings.image_column, self.columns[0]
        numbers = self.classes.numbers if isinstance(self.classes, Classes) else None
        fragment = self.groups[group]
        table = fragment.to_table(columns=[image, *([label] if numbers else [])])
        place = f"{fragment.path}, row group {fragment.row_groups[0].id}"
        folder = fragment.path.rpartition("/")[0]
        stored = map(self.images[fragment.path], table[image].to_pylist())
        images = [self._source(value, folder) for value in stored]
        first = self.ends[group] - len(images)
        unknown = [None] * len(images) if self.conditions is None else list(range(first, self.ends[group]))
        labels = [numbers.get(value) for value in table[label].to_pylist()] if numbers else unknown
        return [(f"{place}, row {row}", *both) for row, both in enumerate(zip(images, labels, strict=True))]

    def labels(self, numbers: list[int | None]) -> Tensor | None:
        """Of rows with these ``numbers`` in place of labels: int64 (n,) classes, or float32 (n, columns) conditions."""
        if self.conditions is None and not isinstance(self.classes, Classes):
            return None
        found = torch.tensor(numbers)
        return found if self.conditions is None else self.conditions[found]

    def _source(self, stored: Stored, folder: str) -> Source:
        """An image that is a file of its own is read when it is needed."""
        return partial(_read, self.system, folder, stored) if isinstance(stored, str) else stored or b""

    def find(self, row: int) -> tuple[int, int]:
        """The group of a row, and its place there."""
        group: int = bisect_right(self.ends, row)
        before: int = self.ends[group - 1] if group else 0
        return group, row - before


def require_alike(groups: Sequence[Any], columns: Sequence[str]) -> None:
    """Raises DataError with the files that lack one of the label columns, or hold another type in it than the first."""
    found = dict[str, None]()
    for group, column in product(groups, columns):
        first, kind = (_type(one, column) for one in (groups[0], group))
        if kind is None:
            found[f"{group.path} has no column {column!r}"] = None
        elif kind != first:
            found[f"{group.path} holds {kind} in column {column!r}, and {groups[0].path} {first}"] = None
    if found:
        told = "; ".join(list(found)[:NAMED]) + ("; …" if len(found) > NAMED else "")
        raise DataError(f"data.label_column: {told}; write all files with the same columns, or leave these files out")


def _type(group: Any, column: str) -> pa.DataType | None:
    """Of the values in a column; None where there is no such column."""
    if column not in group.physical_schema.names:
        return None
    kind = group.physical_schema.field(column).type
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _images_of(group: Any, column: str) -> Callable[[Any], Stored]:
    """What takes the images out of a file's values: files may keep them in different forms."""
    if column not in group.physical_schema.names:
        raise DataError(f"data.image_column: {group.path} has no column {column!r}; leave this file out")
    try:
        return images_in(group.physical_schema.field(column).type, column)
    except DataError as error:
        raise DataError(f"data.image_column: {group.path}: {error}") from None


def _told(group: Any) -> tuple[Any, ...]:
    footer = group.metadata.row_group(group.row_groups[0].id)
    columns = [footer.column(i) for i in range(footer.num_columns)]
    sizes = [(c.path_in_schema, c.total_compressed_size, c.total_uncompressed_size) for c in columns]
    extremes = [(c.statistics.min, c.statistics.max) for c in columns if c.statistics and c.statistics.has_min_max]
    return footer.num_rows, sizes, extremes


def _read(system: FileSystem, folder: str, path: str) -> bytes:
    """An image file that a row names: its path is absolute, or counts from the Parquet file's folder."""
    place = path.removeprefix("s3://") if path.startswith(("/", "s3://")) else f"{folder}/{path}"
    try:
        with system.open_input_file(place) as file:
            return bytes(file.read())
    except FileNotFoundError:
        raise DataError(f"there is no file {place}") from None
