"""A folder of pictures: every image file below it; where all of them lie in sub-folders, these are the classes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch

from trainers.config import Data
from trainers.data.dataset import Dataset, Examples, Space
from trainers.data.picture import readable
from trainers.errors import DataError
from trainers.randomness import stream

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff"}
TEST_SHARE = 10  # one picture in ten is held out for judging


def images(settings: Data) -> Dataset:
    """Pictures held in memory as uint8. Raises DataError where there are none, or too many broken ones."""
    files, names = image_files(settings.path)
    needed, there = len(files) * settings.channels * settings.resolution**2, _memory()
    if needed > there / 2:
        way_out = "pack them with 'gansweep data import' and read them as parquet, which is streamed"
        raise DataError(
            f"data.path: its {len(files):,} images would take {needed / 2**30:.1f} GiB of memory; {way_out}"
        )
    labelled = ((str(f), f.read_bytes(), class_of(f, settings.path, names)) for f in files)
    read = list(readable(labelled, settings, len(files)))
    if len(read) < 2:
        raise DataError(f"data.path: {len(read)} readable images below {settings.path!r}; at least 2 are needed")
    values = torch.from_numpy(np.stack([pixels for pixels, _ in read]))
    labels = torch.tensor([label for _, label in read]) if names else None
    everything, order = Examples(values, labels), torch.randperm(len(read), generator=stream("images"))
    held = max(len(read) // TEST_SHARE, 1)
    space = Space((settings.channels, settings.resolution, settings.resolution), len(names), names=tuple(names))
    return Dataset("images", space, everything[order[held:]], everything[order[:held]])


def image_files(path: str | None) -> tuple[list[Path], list[str]]:
    """All image files below ``path``, sorted, and the names of the classes (empty where there are none)."""
    root = Path(path or "")
    if not path or not root.is_dir():
        raise DataError(f"data.path: {path!r} is not a folder; give the folder that holds the images")
    files = sorted(f for f in root.rglob("*") if f.suffix.lower() in SUFFIXES and f.is_file())
    if not files:
        raise DataError(f"data.path: no image files below {path!r} ({', '.join(sorted(SUFFIXES))})")
    names = sorted({f.relative_to(root).parts[0] for f in files if f.parent != root})
    return files, names if len(names) > 1 and all(f.parent != root for f in files) else []


def _memory() -> int:
    """Bytes that this machine has."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def class_of(file: Path, path: str | None, names: list[str]) -> int | None:
    """The number of the class whose folder ``file`` lies in."""
    return names.index(file.relative_to(path or "").parts[0]) if names else None
