"""What a person looks at: grids of samples, points over the true centres, lines of text, clips as strips and moving."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageSequence

SIDE = 512  # pixels of a scatter plot, and about the least width of a grid
GAP = 2
GREY = 96
ROWS, FONT, MARGIN = 22, 16, 12
"""Lines of text in a column, pixels of their height and around them."""
PER_SECOND = 8
"""Frames of a film."""
Centers = tuple[tuple[float, float], ...]


def image_grid(images: NDArray[Any], columns: int | None = None) -> Image.Image:
    """uint8 (n, H, W, C), or uint16 (n, H, W, 1), as one picture, rows first, in ``columns`` or as square as it goes;
    small images are enlarged by whole factors, and a grey line keeps neighbours apart.
    """
    n, height, width, channels = images.shape
    columns = columns or math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    factor = max(SIDE // (columns * width), 1)
    line = GREY * (np.iinfo(images.dtype).max // 255)
    tiles = np.full((rows * columns, height * factor + GAP, width * factor + GAP, channels), line, images.dtype)
    tiles[:n, GAP:, GAP:] = images.repeat(factor, axis=1).repeat(factor, axis=2)
    grid = tiles.reshape(rows, columns, *tiles.shape[1:]).swapaxes(1, 2)
    flat = grid.reshape(rows * tiles.shape[1], columns * tiles.shape[2], channels)
    return Image.fromarray(flat[..., 0] if channels == 1 else flat)


@dataclass(frozen=True)
class Film:
    """``frames`` of one size, and a ``strip`` that shows them in a still."""

    strip: Image.Image
    frames: list[Image.Image]

    def save(self, path: Path) -> None:
        """As PNG: the strip, and behind it the frames, which what knows APNG plays."""
        size = max(self.strip.width, self.frames[0].width), max(self.strip.height, self.frames[0].height)
        still, *moving = (_on(size, picture) for picture in (self.strip, *self.frames))
        still.save(path, save_all=True, default_image=True, append_images=moving, duration=1000 // PER_SECOND, loop=0)


def film(clips: NDArray[Any]) -> Film:
    """Of clips, uint8 (n, frames, H, W, C): side by side, and as strips below each other."""
    return Film(draw(clips), [image_grid(frame) for frame in clips.swapaxes(0, 1)])


def frames(path: Path) -> list[Image.Image]:
    """What ``Film.save`` put behind the strip; empty of any other picture."""
    with Image.open(path) as opened:
        return [frame.copy() for frame in ImageSequence.Iterator(opened)][1:]


def play(pictures: Sequence[Image.Image], path: Path, per_second: float = PER_SECOND) -> None:
    """Writes pictures of one size as a film that starts over at its end, .gif or .webp."""
    first, *others = pictures
    first.save(path, save_all=True, append_images=others, duration=round(1000 / per_second), loop=0)


def scatter(points: NDArray[np.float32], centers: Centers = ()) -> Image.Image:
    """Points (n, 2) as dots, true centres as red circles."""
    reach = 1.25 * max([abs(v) for center in centers for v in center] or [float(np.abs(points).max(initial=1.0))])
    picture = Image.new("RGB", (SIDE, SIDE), "white")
    draw = ImageDraw.Draw(picture)
    for x, y in np.nan_to_num(_pixels(points, reach)):
        draw.point((x, y), fill="navy")
    for x, y in _pixels(np.array(centers, np.float32).reshape(-1, 2), reach):
        draw.ellipse((x - 5, y - 5, x + 5, y + 5), outline="red")
    return picture


def page(texts: NDArray[np.str_]) -> Image.Image:
    """A line per text, from top to bottom in columns."""
    picture = Image.new("RGB", (1, 1))
    columns = ["\n".join(texts[start : start + ROWS]) for start in range(0, len(texts), ROWS)]
    ends = [MARGIN]
    for column in columns:
        ends.append(
            ends[-1] + round(ImageDraw.Draw(picture).multiline_textbbox((0, 0), column, font_size=FONT)[2]) + 2 * MARGIN
        )
    picture = Image.new("RGB", (max(SIDE, ends[-1]), ROWS * (FONT + 6) + 2 * MARGIN), "white")
    for start, column in zip(ends, columns, strict=False):
        ImageDraw.Draw(picture).multiline_text((start, MARGIN), column, fill="navy", font_size=FONT, spacing=6)
    return picture


def draw(
    examples: NDArray[Any],
    centers: Centers = (),
    columns: int | None = None,
    window: tuple[float, float] | None = None,
) -> Image.Image:
    """A grid for images, in so many ``columns`` where that is given; a scatter plot for points; lines of text; of clips
    (n, frames, H, W, C) a strip each, from left to right. Images in units of a ``window``, float32 (n, H, W, 1), become
    16 bits: 0 is its low end and 65,535 its high end.
    """
    if examples.dtype.kind == "U":
        return page(examples)
    if examples.ndim == 5:
        return image_grid(examples.reshape(-1, *examples.shape[2:]), examples.shape[1])
    if window:
        shares = (examples - window[0]) / (window[1] - window[0])
        examples = (shares * 65_535).round().clip(0, 65_535).astype(np.uint16)
    return image_grid(examples, columns) if examples.ndim == 4 else scatter(examples, centers)


def _on(size: tuple[int, int], picture: Image.Image) -> Image.Image:
    """On a ground of that size."""
    ground = Image.new(picture.mode, size, "white")
    ground.paste(picture)
    return ground


def _pixels(points: NDArray[np.float32], reach: float) -> NDArray[Any]:
    return (np.array([1, -1]) * points / reach + 1) / 2 * SIDE
