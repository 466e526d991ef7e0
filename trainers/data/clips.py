"""A folder of clips: animated GIF, WebP or PNG files, and folders of frames in the order of their names, where 2 comes
before 10. Every frame becomes a square as pictures do.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from trainers.config import Data
from trainers.data.dataset import Dataset, Examples, Space
from trainers.data.folder import FEWEST, TEST_SHARE, below, require_memory
from trainers.data.picture import Skipped, decoding, shown, squared, variety
from trainers.errors import DataError
from trainers.randomness import stream

ANIMATED = (".gif", ".webp", ".png", ".apng")
_NUMBER = re.compile(r"(\d+)")


class Source(NamedTuple):
    """An animated file, or a folder with its frames in order; ``length`` is how many there are."""

    place: Path
    files: list[Path]
    length: int

    def frames(self) -> Iterator[Image.Image]:
        """One after the other."""
        for file in self.files:
            with Image.open(file) as opened:
                yield from ImageSequence.Iterator(opened) if self.place == file else [opened]


def clips(settings: Data) -> Dataset:
    """Clips of ``frames`` frames in a row, uint8 (n, frames, channels, resolution, resolution), held in memory; every
    tenth source is held out, whole. Raises DataError where there are too few, where some are too short, or too many
    broken.
    """
    root = Path(settings.places[0])
    if not root.is_dir():
        raise DataError(f"data.path: {shown(root)!r} is not a folder; give the folder that holds the clips")
    found = sources(below(root, frozenset(), Counter()))
    _require_long(found, root, settings.frames)
    usable = [source.length // settings.frames for source in found]
    way_out = "lower data.resolution, or bring fewer"
    require_memory(sum(usable) * settings.frames, settings.channels * settings.resolution**2, way_out)
    skipped = Skipped(settings, len(found))
    read = [part for part in (_read(source, settings, skipped) for source in found) if part is not None]
    if len(read) < 2 or sum(map(len, read)) < FEWEST:
        told = f"{sum(map(len, read))} clips of {settings.frames} frames in {len(read)} files or folders of frames"
        raise DataError(f"data.path: {told}; at least {FEWEST} in 2 are needed, so that one can be held out")
    order, held = torch.randperm(len(read), generator=stream("clips")).tolist(), max(1, len(read) // TEST_SHARE)
    test, train = (
        Examples(torch.from_numpy(np.concatenate([read[i] for i in rows]))) for rows in (order[:held], order[held:])
    )
    if not (train.values[:, 1:] != train.values[:, :-1]).any():
        raise DataError("data.path: no clip moves: every frame is like the one before; there is no motion to learn")
    space = Space((settings.frames, settings.channels, settings.resolution, settings.resolution))
    over = sum(source.length % settings.frames for source in found)
    notes = [*skipped.told(), f"{len(read):,} files or folders of frames, of which {held:,} are held out"]
    notes += [f"left aside: {over:,} frames behind the last {settings.frames} in a row of each"] if over else []
    return Dataset("clips", space, train, test, notes=(*notes, *variety(train.values.numpy())))


def sources(files: Iterable[Path]) -> list[Source]:
    """Animated files are clips; of the others, those of one folder are."""
    found, stills = [], defaultdict[Path, list[Path]](list)
    for file in files:
        if (count := _frames_in(file)) > 1:
            found.append(Source(file, [file], count))
        else:
            stills[file.parent].append(file)
    found += [Source(folder, sorted(frames, key=_in_order), len(frames)) for folder, frames in stills.items()]
    return sorted(found, key=lambda source: _in_order(source.place))


def _require_long(found: list[Source], root: Path, frames: int) -> None:
    if not found:
        raise DataError(
            f"data.path: no clips below {shown(root)!r}: animated GIF, WebP or PNG files, or folders of frames"
        )
    short = [source for source in found if source.length < frames]
    if short:
        least = min(short, key=lambda source: source.length)
        told = f"{len(short):,} of {len(found):,} clips have fewer frames than data.frames, {frames}"
        way_out = f"remove them, or set data.frames to {max(3, least.length)}"
        raise DataError(f"data.path: {told}: {shown(least.place)} has {least.length}; {way_out}")


def _read(source: Source, settings: Data, skipped: Skipped) -> NDArray[np.uint8] | None:
    """(n, frames, C, side, side); None where it can't be read."""
    try:
        with decoding():
            wanted = source.length // settings.frames * settings.frames
            frames = [(frame.size, squared(frame, settings)) for frame in islice(source.frames(), wanted)]
            if len(sizes := {size for size, _ in frames}) > 1:
                told = " and ".join(f"{width}x{height}" for width, height in sorted(sizes)[:2])
                raise DataError(f"has frames of {told} pixels; bring all of a clip to one size")
            whole = np.stack([pixels for _, pixels in frames])
            return whole.reshape(-1, settings.frames, *whole.shape[1:])
    except DataError as error:
        skipped.add(shown(source.place), error)
        return None


def _frames_in(file: Path) -> int:
    """1 where it can't be read too: whoever reads it will say so."""
    if file.suffix.lower() not in ANIMATED:
        return 1
    try:
        with decoding(), Image.open(file) as opened:
            return getattr(opened, "n_frames", 1)
    except DataError:
        return 1


def _in_order(path: Path) -> list[tuple[int, str]]:
    """Numbers in names by their size."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in _NUMBER.split(str(path)) if part]
