"""Packs a folder of pictures into Parquet shards that any number of ranks reads without listing files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.dataset as arrow
import pyarrow.parquet as pq

from trainers.config import Data
from trainers.data.folder import class_of, image_files
from trainers.data.picture import Skipped, pixels
from trainers.errors import DataError

SHARD_BYTES = 128 * 2**20
GROUP_ROWS = 256
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


class Packed(NamedTuple):
    """What ``pack`` wrote: shard names, pictures in them, pictures that could not be read, names of the classes."""

    shards: tuple[str, ...]
    images: int
    broken: int
    classes: tuple[str, ...]


def pack(folder: Path, target: str, max_broken: float = 0.01) -> Packed:
    """Writes every readable picture below ``folder``, as encoded as it is, to ``target/part-00000.parquet`` and so on.

    ``target`` is an empty folder or ``s3://bucket/prefix``. Raises DataError where more than ``max_broken`` cannot be
    read, where ``target`` holds shards already, and where it cannot be written.
    """
    try:
        return _pack(folder, target, max_broken)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{target}: cannot be written: {error}") from error


def _pack(folder: Path, target: str, max_broken: float) -> Packed:
    files, names = image_files(str(folder))
    skipped = Skipped(Data(max_broken=max_broken), len(files))
    good = _readable(files, skipped)
    columns = {"image": IMAGE, **({"label": pa.int64()} if names else {})}
    if "://" not in target:
        Path(target).mkdir(parents=True, exist_ok=True)
    if standing := _shards_in(target):
        raise DataError(f"{target}: holds {standing} shards already, and two sets must not mix; choose an empty place")
    shards, images = [], 0
    for number, shard in enumerate(_shards(good)):
        rows = [{"bytes": f.read_bytes(), "path": f.relative_to(folder).as_posix()} for f in shard]
        table = {"image": rows, **({"label": [class_of(f, str(folder), names) for f in shard]} if names else {})}
        name = f"{target.rstrip('/')}/part-{number:05d}.parquet"
        pq.write_table(pa.table(table, schema=pa.schema(columns)), name, row_group_size=GROUP_ROWS, compression="none")
        shards.append(name)
        images += len(shard)
    return Packed(tuple(shards), images, len(skipped.places), tuple(names))


def _shards_in(target: str) -> int:
    try:
        return len(arrow.dataset(target, format="parquet").files)
    except FileNotFoundError:  # an object store has no empty folders
        return 0


def _readable(files: list[Path], skipped: Skipped) -> Iterator[Path]:
    for file in files:
        try:
            pixels(file.read_bytes(), Data())
            yield file
        except DataError as error:
            skipped.add(str(file), error)


def _shards(files: Iterator[Path]) -> Iterator[list[Path]]:
    shard: list[Path] = []
    size = 0
    for file in files:
        shard.append(file)
        size += file.stat().st_size
        if size >= SHARD_BYTES:
            yield shard
            shard, size = [], 0
    if shard:
        yield shard
