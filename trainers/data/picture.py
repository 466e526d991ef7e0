"""From any image file to the square of bytes that a network is trained on, by one documented rule.

1. The first frame counts; the camera's orientation is applied.
2. Transparency is laid over white; palettes and CMYK become RGB; 16 bits per channel become 8 (divided by 257),
   unless ``data.intensity`` keeps them (``scan.py``).
3. Colour becomes grey by luma (ITU-R 601), grey becomes colour by repetition, as ``data.channels`` asks.
4. The central square is cut out and resized with Lanczos to ``data.resolution``.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from trainers.config import Data
from trainers.errors import DataError

Pixels = NDArray[np.uint8]
SIXTEEN = ("I;16", "I;16L", "I;16B", "I")
"""Pillow's modes of 16 bits, some of which it opens as 32."""
Source = bytes | Callable[[], bytes]  # an encoded image, or what reads one

UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What undoes each way in which a camera was held, by EXIF's number."""


def pixels(source: Source, settings: Data, depths: Depths | None = None) -> Pixels:
    """Encoded image to uint8 (C, resolution, resolution). Raises DataError where it cannot be read."""
    with decoding(), Image.open(io.BytesIO(source if isinstance(source, bytes) else source())) as opened:
        made = squared(opened, settings)
        if depths is not None:
            depths.add(opened)
        return made


def squared(opened: Image.Image, settings: Data) -> Pixels:
    """The frame of an opened image that it stands at."""
    picture = _eight_bits(upright(opened)).convert("RGB" if settings.channels == 3 else "L")
    levels = np.asarray(square(picture, settings.resolution), dtype=np.uint8)
    return levels.reshape(*levels.shape[:2], settings.channels).transpose(2, 0, 1)


@contextmanager
def decoding() -> Iterator[None]:
    """Whatever goes wrong with one image becomes a DataError."""
    try:
        yield
    except (DataError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise DataError("not an image of any known format") from error
    except OSError as error:
        raise DataError(f"broken image ({error.strerror or error})") from error
    except Exception as error:  # decoders raise whatever they come upon; it is this one file's fault
        raise DataError(f"broken image ({type(error).__name__}: {error})") from error


def shown(path: str | os.PathLike[str]) -> str:
    """A path as text that can be printed and stored, also where its bytes are not UTF-8."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def hashes(values: NDArray[Any]) -> set[int]:
    """One for each of the pictures (n, C, H, W) that differs from the others."""
    return {hash(picture.tobytes()) for picture in values}


def different(values: NDArray[Any]) -> int:
    """How many of the pictures (n, C, H, W) there are when each counts once."""
    return len(hashes(values))


def variety(values: NDArray[Any]) -> list[str]:
    """What there is to say of pictures (n, C, H, W) that repeat each other. Raises DataError where all are the same."""
    count = different(values)
    if count == 1:
        raise DataError(f"data.path: all {len(values):,} pictures are the same; there is nothing to learn from one")
    return [f"only {count:,} of {len(values):,} pictures are different"] if count < len(values) / 2 else []


def square(picture: Image.Image, side: int) -> Image.Image:
    """The central square, resized."""
    whole = min(picture.size)
    left, top = (picture.width - whole) // 2, (picture.height - whole) // 2
    return picture.resize((side, side), Image.Resampling.LANCZOS, box=(left, top, left + whole, top + whole))


class Skipped:
    """Names what could not be read, and gives up where it becomes too much to pass over."""

    NAMED = 3  # in a note

    def __init__(self, settings: Data, total: int) -> None:
        self.total, self.limit = total, int(settings.max_broken * total)
        self.reasons: dict[str, str] = {}

    def add(self, place: str, error: DataError) -> bool:
        """Passes over the image at ``place``; whether it is met for the first time. Raises DataError beyond
        ``data.max_broken`` of all images.
        """
        if place in self.reasons:
            return False
        self.reasons[place] = str(error)
        if len(self.reasons) > self.limit:
            raise DataError(
                f"{self._first()}; {len(self.reasons)} broken images are more than data.max_broken allows "
                f"({self.limit} of {self.total}): mend or remove them, or raise data.max_broken"
            ) from error
        return True

    def told(self) -> list[str]:
        """The first few by name, and how many there are."""
        return [f"{len(self.reasons)} of {self.total:,} images skipped: {self._first()}"] if self.reasons else []

    def _first(self) -> str:
        first = [f"{place}: {reason}" for place, reason in list(self.reasons.items())[: self.NAMED]]
        return "; ".join(first) + ("; …" if len(self.reasons) > self.NAMED else "")


class Depths:
    """Of the pictures of a set: how many have 8 bits, how many 16, and how much of these is used."""

    DARK = 0.25
    """Of the range of 16 bits: scanners' 12 bits use a sixteenth, of which 8 bits would keep 16 levels."""

    def __init__(self) -> None:
        self.eight = self.sixteen = self.highest = 0

    def add(self, picture: Image.Image) -> None:
        """One more."""
        if picture.mode in SIXTEEN:
            self.sixteen += 1
            self.highest = max(self.highest, int(np.asarray(picture).max()))
        else:
            self.eight += 1

    def told(self) -> list[str]:
        """What there is to say where 16 bits would be nearly black. Raises DataError where others are not."""
        if not self.sixteen or self.highest >= self.DARK * 65_535:
            return []
        dark = f"{self.sixteen:,} pictures of 16 bits use values up to {self.highest:,} only, of 65,535"
        if self.eight:
            raise DataError(
                f"data.path: {dark}, and {self.eight:,} have 8 bits: one range can't fit both; keep one kind"
            )
        return [f"{dark}, and are nearly black; set data.intensity, as 'gansweep init images' does"]


def readable(
    images: Iterable[tuple[str, Source, Any]], settings: Data, skipped: Skipped, depths: Depths | None = None
) -> Iterator[tuple[Pixels, Any]]:
    """Pixels and label of each (place, image, label) that can be read; the others go to ``skipped``."""
    for place, source, label in images:
        try:
            yield pixels(source, settings, depths), label
        except DataError as error:
            skipped.add(place, error)


def upright(picture: Image.Image) -> Image.Image:
    """As the camera was held."""
    turn = UPRIGHT.get(picture.getexif().get(ExifTags.Base.Orientation, 1))
    return picture if turn is None else picture.transpose(turn)


def _eight_bits(picture: Image.Image) -> Image.Image:
    if picture.mode in SIXTEEN:
        levels = np.asarray(picture).astype(np.int64) // 257
        return Image.fromarray(levels.clip(0, 255).astype(np.uint8))
    if picture.mode == "F":
        raise DataError("floating-point pixels have no known range; convert them to 8 or 16 bits")
    if picture.has_transparency_data:
        solid = picture.convert("RGBA")
        white = Image.new("RGBA", solid.size, "white")
        return Image.alpha_composite(white, solid).convert("RGB")
    return picture
