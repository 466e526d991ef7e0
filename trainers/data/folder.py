"""A folder of pictures: every image file below it; where it has only sub-folders, these are the classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from trainers.config import Data
from trainers.data.dataset import Dataset, Examples, Space
from trainers.errors import DataError
from trainers.randomness import stream

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff"}


def images(settings: Data) -> Dataset:
    """Pictures as uint8, cropped to their central square and resized; one in ten is held out for judging."""
    root = Path(settings.path or "")
    files = sorted(p for p in root.rglob("*") if p.suffix.lower() in SUFFIXES) if settings.path else []
    if not files:
        raise DataError(f"data.path: no image files below {settings.path!r}")
    values = torch.from_numpy(np.stack([_read(p, settings) for p in files]))
    names = sorted({p.relative_to(root).parts[0] for p in files if p.parent != root})
    labelled = len(names) > 1 and all(p.parent != root for p in files)
    labels = torch.tensor([names.index(p.relative_to(root).parts[0]) for p in files]) if labelled else None
    everything = Examples(values, labels)
    order = torch.randperm(len(files), generator=stream("images"))
    held = max(len(files) // 10, 1)
    shape = (settings.channels, settings.resolution, settings.resolution)
    return Dataset(
        "images", Space(shape, len(names) if labelled else 0), everything[order[held:]], everything[order[:held]]
    )


def _read(path: Path, settings: Data) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    with Image.open(path) as picture:
        square = picture.convert("RGB" if settings.channels == 3 else "L")
    side = min(square.size)
    left, top = (square.width - side) // 2, (square.height - side) // 2
    square = square.crop((left, top, left + side, top + side))
    small = square.resize((settings.resolution, settings.resolution), Image.Resampling.LANCZOS)
    return np.asarray(small, dtype=np.uint8).reshape(settings.resolution, settings.resolution, -1).transpose(2, 0, 1)
