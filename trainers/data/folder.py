"""A folder of pictures: every image file below it; where all of them lie in sub-folders, these are the classes.

Sub-folders called ``train`` and ``test`` (or ``val``) are no classes but what to train on and what to hold out. Links
are followed; hidden files and folders are passed over.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from trainers.config import Data
from trainers.data.dataset import Dataset, Examples, Space
from trainers.data.picture import Depths, Skipped, readable, shown, variety
from trainers.data.scan import ENDINGS, kind
from trainers.data.splits import chosen
from trainers.errors import DataError
from trainers.randomness import stream

SUFFIXES = {
    *(".apng", ".avif", ".bmp", ".dib", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm"),
    *(".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp"),
}
TEST_SHARE = 10  # one picture in ten is held out for judging, where the folder does not say which
FEWEST = 10


class Pictures(NamedTuple):
    """Image files in order, the folder that holds them or their classes, and the number of each one's class."""

    root: Path
    files: list[Path]
    labels: list[int] | None

    def encoded(self) -> Iterator[tuple[str, Callable[[], bytes], int | None]]:
        """Place, image and label of each."""
        for number, file in enumerate(self.files):
            yield shown(file), file.read_bytes, self.labels[number] if self.labels else None


class Found(NamedTuple):
    """What a folder holds: the pictures to train on, those it holds out itself, the names of the classes, and what
    there is to say of the rest.
    """

    train: Pictures
    held_out: Pictures | None
    names: tuple[str, ...]
    notes: list[str]

    @property
    def total(self) -> int:
        """Image files in all."""
        return len(self.train.files) + (len(self.held_out.files) if self.held_out else 0)


def images(settings: Data) -> Dataset:
    """Pictures held in memory as uint8. Raises DataError where there are none, or too many broken ones."""
    found = image_files(Path(settings.places[0]) if settings.places else None)
    if scans := sum(kind(file) is not None for file in found.train.files):
        way_out = "give data.intensity: {window: [low, high]}, or {percentiles: [0.5, 99.5]}"
        raise DataError(f"data.path: {scans:,} DICOM or NIfTI files, whose values need a window; {way_out}")
    require_memory(found.total, settings.channels * settings.resolution**2)
    skipped, depths = Skipped(settings, found.total), Depths()
    train = _read(found.train, settings, skipped, depths)
    if len(train) < FEWEST:
        raise DataError(
            f"data.path: {len(train)} readable images below {shown(found.train.root)}; at least {FEWEST} are needed"
        )
    test = _read(found.held_out, settings, skipped, depths) if found.held_out else train[torch.arange(0)]
    if not len(test):
        order, held = torch.randperm(len(train), generator=stream("images")), len(train) // TEST_SHARE
        train, test = train[order[held:]], train[order[:held]]
    shape = settings.channels, settings.resolution, settings.resolution
    space = Space(shape, len(found.names), names=found.names)
    notes = [*skipped.told(), *found.notes, *depths.told(), *variety(train.values.numpy())]
    return Dataset("images", space, train, test, notes=tuple(notes))


def require_memory(
    total: int,
    each: int,
    way_out: str = "pack them with 'gansweep data import' and read them as parquet, which is streamed",
) -> None:
    """Raises DataError where so many pictures of so many bytes would take more than half of the memory."""
    needed, there = total * each, _memory()
    if needed > there / 2:
        raise DataError(f"data.path: its {total:,} images would take {needed / 2**30:.1f} GiB of memory; {way_out}")


def image_files(root: Path | None) -> Found:
    """All image files below ``root``. Raises DataError where it is no folder, or holds none."""
    if root is None or not root.is_dir():
        raise DataError(f"data.path: {root and shown(root)!r} is not a folder; give the folder that holds the images")
    other: Counter[str] = Counter()
    files = sorted(below(root, frozenset(), other))
    if not files:
        raise DataError(f"data.path: no image files below {shown(root)!r} ({', '.join(sorted({*SUFFIXES, *ENDINGS}))})")
    notes = [f"left aside: {', '.join(f'{n} {kind} files' for kind, n in other.most_common(3))}"] if other else []
    by_top = {name: [f for f in files if f.relative_to(root).parts[0] == name] for name in _tops(files, root)}
    splits = chosen(by_top) if all(f.parent != root for f in files) else None
    if splits is None:
        names = _class_names(files, root)
        notes += _empty(root, files)
        return Found(_labelled(root, files, names), None, tuple(map(shown, names)), notes)
    base = root / splits.train
    names = _class_names(by_top[splits.train], base)
    notes += _empty(base, by_top[splits.train])
    train = _labelled(base, by_top[splits.train], names)
    held_out = _held_out(root / splits.held_out, by_top[splits.held_out], names) if splits.held_out else None
    return Found(train, held_out, tuple(map(shown, names)), [*notes, splits.told(held_out is not None)])


def below(folder: Path, above: frozenset[Path], other: Counter[str]) -> Iterator[Path]:
    """Image files in a folder and in those below it; a link that leads back up is not followed."""
    here = folder.resolve()
    if here in above:
        return
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        raise DataError(f"data.path: {shown(folder)} can't be listed: {error.strerror}") from error
    for entry in entries:
        path = Path(entry.path)
        if _is_hidden(entry.name):
            continue
        if entry.is_dir():
            yield from below(path, above | {here}, other)
        elif (path.suffix.lower() in SUFFIXES or kind(path)) and (entry.is_file() or entry.is_symlink()):
            yield path  # a link that leads nowhere is named among the unreadable ones
        else:
            other[shown(path.suffix.lower()) or "nameless"] += 1


def _tops(files: list[Path], root: Path) -> list[str]:
    return sorted({f.relative_to(root).parts[0] for f in files if f.parent != root})


def _class_names(files: list[Path], root: Path) -> list[str]:
    names = _tops(files, root)
    return names if len(names) > 1 and all(f.parent != root for f in files) else []


def _empty(root: Path, files: list[Path]) -> list[str]:
    """What there is to say of folders that would be classes if they held a picture."""
    if any(file.parent == root for file in files):
        return []
    folders = (path for path in root.iterdir() if path.is_dir() and not _is_hidden(path.name))
    found = sorted({path.name for path in folders} - set(_tops(files, root)))
    return [f"left aside: {', '.join(map(shown, found))}, without an image file"] if found else []


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _labelled(root: Path, files: list[Path], names: list[str]) -> Pictures:
    numbers = {name: number for number, name in enumerate(names)}
    return Pictures(root, files, [numbers[f.relative_to(root).parts[0]] for f in files] if names else None)


def _held_out(root: Path, files: list[Path], names: list[str]) -> Pictures | None:
    """None where the classes are others than those that are trained on."""
    theirs = _class_names(files, root)
    usable = set(theirs) <= set(names) and bool(theirs) == bool(names)
    return _labelled(root, files, names) if usable else None


def _read(pictures: Pictures, settings: Data, skipped: Skipped, depths: Depths) -> Examples:
    read = list(readable(pictures.encoded(), settings, skipped, depths))
    side = settings.resolution
    values = (
        np.stack([pixels for pixels, _ in read]) if read else np.zeros((0, settings.channels, side, side), np.uint8)
    )
    labels = torch.tensor([label for _, label in read], dtype=torch.int64) if pictures.labels else None
    return Examples(torch.from_numpy(values), labels)


def _memory() -> int:
    """Bytes that this machine has."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
