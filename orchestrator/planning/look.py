"""What a folder of pictures or a Parquet set holds, looked at before anything is trained on it."""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import quantiles
from typing import NamedTuple, TypeVar

from PIL import Image

from orchestrator.errors import UserError
from orchestrator.spec import counted
from trainers.config import Data
from trainers.data.files import parquet_files
from trainers.data.folder import FEWEST, image_files
from trainers.data.row_groups import Shards
from trainers.data.scan import kind as scan_kind
from trainers.data.shards import IN_MEMORY
from trainers.errors import DataError
from trainers.files.places import place

T = TypeVar("T")

SAMPLE = 200
"""Pictures that are opened, evenly over the set."""
GREY = ("1", "L", "LA", "I", "F")
"""Modes of Pillow without colour; those of 16 bits begin with I too."""


class Looked(NamedTuple):
    """``side`` is what nine of ten pictures have in both directions; ``size`` counts bytes, None where only reading
    all of it would tell; ``opened`` reads those that were looked at.
    """

    where: str
    pictures: int
    classes: tuple[str, ...] | int
    side: int
    sizes: tuple[tuple[int, int], tuple[int, int]]
    modes: dict[str, int]
    broken: int
    size: int | None
    opened: Sequence[Callable[[], bytes]]

    @property
    def channels(self) -> int:
        """1 where no picture has colour."""
        return 1 if all(mode.startswith(GREY) for mode in self.modes) else 3

    @property
    def measured(self) -> bool:
        """Whether every picture has more than 8 bits."""
        return all(mode.startswith(("I", "F")) for mode in self.modes)

    def told(self) -> list[str]:
        """In lines."""
        (low, lower), (high, higher) = self.sizes
        side = f"{low}x{lower}" if self.sizes[0] == self.sizes[1] else f"{low}x{lower} to {high}x{higher}"
        size = f", {self.size / 2**20:,.1f} MiB on disk" if self.size is not None else ""
        modes = ", ".join(f"{mode} ({count})" for mode, count in self.modes.items())
        looked = sum(self.modes.values()) + self.broken
        few = f" of {looked} looked at" if looked < self.pictures else ""
        lines = [f"{counted(self.pictures, 'picture')} in {self.where}{size}", f"sizes{few} {side}; modes {modes}"]
        number = self.classes if isinstance(self.classes, int) else len(self.classes)
        names = "" if isinstance(self.classes, int) else f": {', '.join(self.classes[:8])}"
        lines += [f"{number} classes{names}{', …' if number > 8 else ''}"] if number else []
        return [
            *lines,
            *([f"{self.broken} of {looked} looked at can't be read"] if self.broken else []),
        ]


def look(kind: str, where: str) -> Looked:
    """At a folder (``images``) or at Parquet files. Raises UserError where nothing there can be trained on."""
    try:
        place(where)
        return _folder(Path(where)) if kind == "images" else _parquet(where)
    except (DataError, ValueError) as error:
        raise UserError(str(error).removeprefix("data.path: ")) from None


def _folder(folder: Path) -> Looked:
    found = image_files(folder)
    files = [*found.train.files, *(found.held_out.files if found.held_out else ())]
    if len(files) < FEWEST:
        raise UserError(f"{folder}: {counted(len(files), 'image file')}; at least {FEWEST} are needed")
    if any(map(scan_kind, files)):
        raise UserError(f"{folder} holds DICOM or NIfTI files: copy the example of infra/docs/how-to/medical.md")
    size = sum(os.stat(file).st_size if file.exists() else 0 for file in files)  # noqa: PTH116
    sources = [file.read_bytes for file in _evenly(files)]
    return _looked(str(folder), len(files), found.names, sources, size)


def _parquet(where: str) -> Looked:
    settings = Data(name="parquet", path=where)
    try:
        files = parquet_files(settings.places)
        shards = Shards(settings, files.system, files.train)
        rows = shards.rows(0) if len(shards) else []
    except OSError as error:
        raise UserError(f"{where} can't be read as Parquet: {error}") from None
    if not rows:
        raise UserError(f"{where} holds no rows")
    names = () if isinstance(shards.classes, str) else shards.classes.names or len(shards.classes.counts)
    sources = [image if callable(image) else (lambda data=image: data) for _, image, _ in _evenly(rows)]
    return _looked(where, len(shards), names, sources, None)


def _evenly(all_: Sequence[T]) -> Sequence[T]:
    return all_[:: max(1, len(all_) // SAMPLE)][:SAMPLE]


def _looked(
    where: str, count: int, classes: tuple[str, ...] | int, sources: Sequence[Callable[[], bytes]], size: int | None
) -> Looked:
    seen = list(_headers(sources))
    if not seen:
        raise UserError(f"{where}: none of {counted(len(sources), 'picture')} looked at can be read")
    sizes = sorted((size for size, _ in seen), key=lambda size: size[0] * size[1])
    sides = [min(size) for size in sizes]
    side = int(quantiles(sides, n=10)[0]) if len(sides) > 1 else sides[0]
    modes = dict(Counter(mode for _, mode in seen).most_common())
    return Looked(where, count, classes, side, (sizes[0], sizes[-1]), modes, len(sources) - len(seen), size, sources)


def _headers(sources: Sequence[Callable[[], bytes]]) -> Iterator[tuple[tuple[int, int], str]]:
    """Size and mode of each that can be read."""
    for read in sources:
        try:
            with Image.open(io.BytesIO(read())) as picture:
                yield picture.size, picture.mode
        except (OSError, SyntaxError, ValueError):  # whatever a decoder makes of a broken file
            continue


def bytes_of(looked: Looked, resolution: int) -> int:
    """Of all pictures, decoded."""
    return int(looked.pictures * looked.channels * resolution**2)


def too_large(looked: Looked, resolution: int) -> str | None:
    """What to do about a folder that memory can't hold, in which it would be kept decoded."""
    needed = bytes_of(looked, resolution)
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed <= max(there / 2, IN_MEMORY):
        return None
    return (
        f"its {looked.pictures:,} pictures would take {needed / 2**30:.1f} GiB of memory at {resolution}x{resolution}; "
        "pack them with 'gansweep data import', and begin with the shards: gansweep init parquet SHARDS"
    )
