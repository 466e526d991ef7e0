"""Packs a folder of pictures into Parquet shards that any number of ranks reads without listing files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from trainers.config import Data
from trainers.data.columns import with_class_names
from trainers.data.folder import Pictures, image_files
from trainers.data.picture import Skipped, pixels, shown
from trainers.errors import DataError
from trainers.files.places import files_below, opened, place

if TYPE_CHECKING:
    from trainers.files.places import FileSystem

SHARD_BYTES = 128 * 2**20
GROUP_ROWS = 256
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


class Packed(NamedTuple):
    """What ``pack`` wrote: shard names, pictures in them, pictures that could not be read, names of the classes, and
    sentences on what was skipped or left aside.
    """

    shards: tuple[str, ...]
    images: int
    broken: int
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()


def pack(folder: Path, target: str, max_broken: float = 0.01) -> Packed:
    """Writes every readable picture below ``folder``, as encoded as it is, to ``target/part-00000.parquet`` and so on;
    where the folder holds out pictures itself, to ``train-…`` and ``test-…``.

    ``target`` is an empty folder or ``s3://bucket/prefix``. Raises DataError where more than ``max_broken`` cannot be
    read, where ``target`` holds shards already, and where it cannot be written.
    """
    try:
        return _pack(folder, place(target), max_broken)
    except (ValueError, OSError, pa.ArrowException) as error:
        raise DataError(f"{target}: cannot be written: {error}") from error


def _pack(folder: Path, target: str, max_broken: float) -> Packed:
    found = image_files(folder)
    skipped = Skipped(Data(max_broken=max_broken), found.total)
    system, root = opened(target)
    system.create_dir(root)
    if standing := [file for file in files_below(system, root) if file.endswith(".parquet")]:
        raise DataError(
            f"{target}: holds {len(standing)} shards already, and two sets must not mix; choose an empty place"
        )
    schema = pa.schema({"image": IMAGE, **({"label": pa.int64()} if found.names else {})})
    if found.names:
        schema = with_class_names(schema, "image", "label", found.names)
    parts = {"train": found.train, "test": found.held_out} if found.held_out else {"part": found.train}
    shards, images = [], 0
    for part, pictures in parts.items():
        for number, rows in enumerate(_shards(_rows(pictures, folder, skipped))):
            name = f"{part}-{number:05d}.parquet"
            table = pa.Table.from_pylist(rows, schema=schema)
            pq.write_table(table, f"{root}/{name}", GROUP_ROWS, compression="none", filesystem=system)
            shards.append(f"{target.rstrip('/')}/{name}")
            images += len(rows)
    notes = (*skipped.told(), *found.notes)
    return Packed(tuple(shards), images, len(skipped.reasons), found.names, notes)


def _shards_in(system: FileSystem, folder: str) -> int:
    try:
        return sum(file.endswith(".parquet") for file in files_below(system, folder))
    except FileNotFoundError:  # an object store has no empty folders
        return 0


def _rows(pictures: Pictures, folder: Path, skipped: Skipped) -> Iterator[dict[str, Any]]:
    """Readable pictures as they stand in the table."""
    for file, (where, read, label) in zip(pictures.files, pictures.encoded(), strict=True):
        try:
            data = read()
            pixels(data, Data())
        except (OSError, DataError) as error:
            skipped.add(where, error if isinstance(error, DataError) else DataError(error.strerror or str(error)))
            continue
        image = {"bytes": data, "path": shown(file.relative_to(folder))}
        yield {"image": image} if label is None else {"image": image, "label": label}


def _shards(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    shard: list[dict[str, Any]] = []
    size = 0
    for row in rows:
        shard.append(row)
        size += len(row["image"]["bytes"])
        if size >= SHARD_BYTES:
            yield shard
            shard, size = [], 0
    if shard:
        yield shard
