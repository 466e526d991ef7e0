"""From any image file to the square of bytes that a network is trained on, by one documented rule.

1. The first frame counts; the camera's orientation is applied.
2. Transparency is laid over white; palettes and CMYK become RGB; 16 bits per channel become 8 (divided by 257).
3. Colour becomes grey by luma (ITU-R 601), grey becomes colour by repetition, as ``data.channels`` asks.
4. The central square is cut out and resized with Lanczos to ``data.resolution``.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from trainers.config import Data
from trainers.errors import DataError

log = logging.getLogger(__name__)

Pixels = NDArray[np.uint8]
BROKEN = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)


def pixels(data: bytes, settings: Data) -> Pixels:
    """Encoded image to uint8 (C, resolution, resolution). Raises DataError where it cannot be read."""
    try:
        with Image.open(io.BytesIO(data)) as opened:
            picture = _eight_bits(ImageOps.exif_transpose(opened)).convert("RGB" if settings.channels == 3 else "L")
    except UnidentifiedImageError as error:
        raise DataError("not an image of any known format") from error
    except BROKEN as error:
        raise DataError(f"broken image ({error})") from error
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    size = (settings.resolution, settings.resolution)
    square = picture.resize(size, Image.Resampling.LANCZOS, box=(left, top, left + side, top + side))
    return np.asarray(square, dtype=np.uint8).reshape(*size, settings.channels).transpose(2, 0, 1)


class Skipped:
    """Counts what could not be read, and gives up where it becomes too much to pass over silently."""

    def __init__(self, settings: Data, total: int) -> None:
        self.limit = int(settings.max_broken * total)
        self.places: set[str] = set()

    def add(self, place: str, error: DataError) -> None:
        """Passes over the image at ``place``, which counts once however often it is met. Raises DataError beyond
        ``data.max_broken`` of all images.
        """
        if place in self.places:
            return
        self.places.add(place)
        count = len(self.places)
        if count > self.limit:
            raise DataError(
                f"{place}: {error}; {count} broken images are more than data.max_broken allows ({self.limit}): "
                "mend or remove them, or raise data.max_broken"
            ) from error
        log.warning("%s: %s; skipped (%d so far, %d allowed)", place, error, count, self.limit)


def readable(images: Iterable[tuple[str, bytes, Any]], settings: Data, total: int) -> Iterator[tuple[Pixels, Any]]:
    """Pixels and label of each (place, encoded image, label) that can be read; the others are counted and skipped."""
    skipped = Skipped(settings, total)
    for place, data, label in images:
        try:
            yield pixels(data, settings), label
        except DataError as error:
            skipped.add(place, error)


def _eight_bits(picture: Image.Image) -> Image.Image:
    if picture.mode in ("I;16", "I;16L", "I;16B", "I"):
        levels = np.asarray(picture).astype(np.int64) // 257
        return Image.fromarray(levels.clip(0, 255).astype(np.uint8))
    if picture.mode == "F":
        raise DataError("floating-point pixels have no known range; convert them to 8 or 16 bits")
    if picture.has_transparency_data:
        solid = picture.convert("RGBA")
        white = Image.new("RGBA", solid.size, "white")
        return Image.alpha_composite(white, solid).convert("RGB")
    return picture
