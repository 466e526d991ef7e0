"""Packs a folder of pictures into Parquet shards that any number of ranks reads without listing files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from trainers.config import Data
from trainers.data.columns import with_class_names
from trainers.data.folder import Pictures, image_files
from trainers.data.picture import Skipped, pixels, shown
from trainers.errors import DataError
from trainers.files.places import files_below, opened, place

SHARD_BYTES = 128 * 2**20
GROUP_ROWS = 256
Row = dict[str, Any]
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
    found = image_files(folder)
    skipped = Skipped(Data(max_broken=max_broken), found.total)
    schema = pa.schema({"image": IMAGE, **({"label": pa.int64()} if found.names else {})})
    if found.names:
        schema = with_class_names(schema, "image", "label", found.names)
    parts = {"train": found.train, "test": found.held_out} if found.held_out else {"part": found.train}
    shards, images = write({part: _rows(pictures, folder, skipped) for part, pictures in parts.items()}, schema, target)
    notes = (*skipped.told(), *found.notes)
    return Packed(shards, images, len(skipped.reasons), found.names, notes)


def write(parts: Mapping[str, Iterable[Row]], schema: pa.Schema, target: str) -> tuple[tuple[str, ...], int]:
    """Rows with a column ``image`` go to ``target/<part>-00000.parquet`` and so on; returns names of the shards, and
    how many rows they hold. Parts called train and test are read as such; others are split by the reader.

    Raises DataError where ``target`` holds shards already, or can't be written.
    """
    try:
        system, root = opened(place(target))
        system.create_dir(root)
        if standing := [file for file in files_below(system, root) if file.endswith(".parquet")]:
            raise DataError(
                f"{target}: holds {len(standing)} shards already, and two sets must not mix; choose an empty place"
            )
        shards, count = [], 0
        for part, rows in parts.items():
            for number, shard in enumerate(_shards(rows)):
                name = f"{part}-{number:05d}.parquet"
                table = pa.Table.from_pylist(shard, schema=schema)
                pq.write_table(table, f"{root}/{name}", GROUP_ROWS, compression="none", filesystem=system)
                shards.append(f"{target.rstrip('/')}/{name}")
                count += len(shard)
        return tuple(shards), count
    except (ValueError, OSError, pa.ArrowException) as error:
        raise DataError(f"{target}: cannot be written: {error}") from error


def _rows(pictures: Pictures, folder: Path, skipped: Skipped) -> Iterator[Row]:
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


def _shards(rows: Iterable[Row]) -> Iterator[list[Row]]:
    shard: list[Row] = []
    size = 0
    for row in rows:
        shard.append(row)
        size += len(row["image"]["bytes"])
        if size >= SHARD_BYTES:
            yield shard
            shard, size = [], 0
    if shard:
        yield shard
