"""Faces of 64x64 pixels drawn by code, so that what each of them shows is known; no download, and nobody's face.

Conditions are skin, hair, its colour, glasses, mouth and beard, each independent of the others. Left free are the shape
and place of the head, eyes, brows and nose, clothes and the background.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from trainers.config import Data
from trainers.data.conditions import Column
from trainers.data.dataset import Dataset, Examples, Space
from trainers.randomness import stream

SIDE = 64
COLUMNS = (
    Column("skin", names=("light", "tan", "dark")),
    Column("hair", names=("short", "long", "curly")),
    Column("colour", names=("black", "brown", "blond", "red")),
    Column("glasses", names=("no", "yes")),
    Column("mouth", names=("closed", "smile", "open")),
    Column("beard", names=("no", "yes")),
)
TRAIN, TEST, AT_ONCE = 6_000, 1_500, 500
FREE = 24
"""Uniform numbers that a face takes for what is no condition."""

SKIN = ((244, 210, 184), (214, 160, 116), (122, 78, 52))
HAIR = ((34, 28, 30), (104, 66, 40), (226, 190, 112), (178, 74, 36))
WHITE, DARK, LIPS, FRAME, INSIDE = (250, 250, 250), (40, 30, 30), (176, 74, 74), (24, 26, 44), (96, 26, 32)
Number = Tensor
"""One value for each face, (n, 1, 1)."""


def faces(settings: Data) -> Dataset:
    """6,000 faces to train on and 1,500 held out."""
    space = Space((3, SIDE, SIDE), columns=COLUMNS)
    return Dataset("faces", space, drawn("train", TRAIN), drawn("test", TEST), fresh=partial(drawn, "fresh"))


def drawn(name: str, count: int) -> Examples:
    """So many faces, uint8 (count, 3, 64, 64), with their conditions (count, 6); a function of ``name`` and the row."""
    chances = torch.rand(count, len(COLUMNS), generator=stream("faces", name, "conditions"))
    labels = (chances * torch.tensor([float(len(column.names)) for column in COLUMNS])).floor()
    numbers = torch.rand(count, FREE, generator=stream("faces", name, "free"))
    parts = zip(*(torch.split(rows, AT_ONCE) for rows in (labels, numbers)), strict=True)
    return Examples(torch.cat([draw(*part) for part in parts]), labels)


def draw(labels: Tensor, numbers: Tensor) -> Tensor:
    """Faces, uint8 (n, 3, 64, 64), of conditions (n, 6) and uniform numbers (n, 24)."""
    skin, hair, colour, glasses, mouth, beard = labels.long().unbind(1)
    free = iter(numbers.view(-1, FREE, 1, 1).unbind(1))
    x, y = 32 + 4 * (next(free) - 0.5), 34 + 3 * (next(free) - 0.5)
    wide, tall = 14 + 3 * next(free), 18 + 3 * next(free)
    tone = _of(SKIN, skin) * (0.94 + 0.12 * next(free).unsqueeze(1))
    strands = _of(HAIR, colour) * (0.85 + 0.3 * next(free).unsqueeze(1))
    behind = torch.cat([90 + 150 * next(free) for _ in range(3)], 1).view(-1, 3, 1, 1)
    shirt = torch.cat([40 + 180 * next(free) for _ in range(3)], 1).view(-1, 3, 1, 1)
    face = behind + torch.zeros(1, 1, SIDE, SIDE)

    long = torch.maximum(_oval(x, y, wide + 4, tall + 3), _box(x, y + 14, wide + 4, tall - 4))
    face = _paint(face, _is(hair, 1) * long, strands * 0.85)  # behind the neck
    face = _paint(face, _box(x, y + tall + 4, 6 + 0 * x, 10 + 0 * x), tone * 0.88)
    face = _paint(face, _oval(x, y + tall + 16, 25 + 4 * next(free), 14 + 0 * x), shirt)
    for side in (-1, 1):
        face = _paint(face, _oval(x + side * wide, y + 1, 2.6 + 0 * x, 4 + 0 * x), tone * 0.9)
    head = _oval(x, y, wide, tall)
    face = _paint(face, head, tone)
    cheeks = _oval(x, y - 0.3 * tall, 0.92 * wide, 0.8 * tall)
    face = _paint(face, _is(beard, 1) * head * (1 - cheeks) * _below(y + 0.1 * tall), strands * 0.8)
    face = _hair(face, hair, strands, head, x, y, wide, tall, next(free))

    apart, level, size = 5.6 + 1.6 * next(free), y - 1.5 - 2 * next(free), 2.1 + 0.6 * next(free)
    iris, tilt, brow = _iris(next(free)), 2 * next(free) - 1, 4.2 + next(free)
    for side in (-1, 1):
        eye = x + side * apart
        face = _paint(face, _oval(eye, level, size + 0.9, size * 0.8), _colour(WHITE))
        face = _paint(face, _oval(eye, level, size * 0.62, size * 0.62), iris)
        face = _paint(face, _stroke(eye, level - brow, 3.2, side * 0.18 * tilt, 0.7), strands * 0.7)
        rim = _oval(eye, level, 5.0 + 0 * x, 4.4 + 0 * x) - _oval(eye, level, 3.8 + 0 * x, 3.2 + 0 * x)
        face = _paint(face, _is(glasses, 1) * rim, _colour(FRAME))
    face = _paint(face, _is(glasses, 1) * _box(x, level - 0.6, apart - 4.6, 0.7 + 0 * x), _colour(FRAME))
    nose = 5 + 1.5 * next(free)
    face = _paint(face, _oval(x, y + nose, 1.5 + next(free), 1.0 + 0 * x), tone * 0.78)
    return _mouth(face, mouth, x, y + 0.56 * tall, 4.4 + 1.4 * next(free)).round().clamp(0, 255).to(torch.uint8)


def _hair(
    face: Tensor,
    kind: Tensor,
    colour: Tensor,
    head: Tensor,
    x: Number,
    y: Number,
    wide: Number,
    tall: Number,
    part: Number,
) -> Tensor:
    """A cap that leaves the face free; long hair falls beside it, curls stand out around it."""
    line = y - 0.42 * tall + 3 * (part - 0.5) * (_across() - x) / wide
    cap = _oval(x, y - 1.5, wide + 1.5, tall + 1.5) * (1 - _below(line))
    face = _paint(face, cap, colour)
    for side in (-1, 1):
        lock = _box(x + side * (wide + 0.5), y + 8, 2.6 + 0 * x, tall * 0.8)
        face = _paint(face, _is(kind, 1) * lock, colour)
    for step in range(9):
        angle = torch.tensor(-3.3 + step * (3.46 / 8))
        curl = _oval(x + (wide + 1) * torch.cos(angle), y + (tall + 1) * torch.sin(angle) - 1, 4.6 + 0 * x, 4.6 + 0 * x)
        face = _paint(face, _is(kind, 2) * curl * (1 - head * _below(line)), colour * (0.9 + 0.1 * (step % 2)))
    return face


def _mouth(face: Tensor, kind: Tensor, x: Number, y: Number, half: Number) -> Tensor:
    """A line, an upward curve, or an open oval."""
    face = _paint(face, _is(kind, 0) * _stroke(x, y, half, 0.0, 0.9), _colour(LIPS))
    bow = y + 2.4 - 3.6 * ((_across() - x) / half).square()
    curve = (1.5 - (_down() - bow).abs()).clamp(0, 1) * (half + 0.5 - (_across() - x).abs()).clamp(0, 1)
    face = _paint(face, _is(kind, 1) * curve, _colour(LIPS))
    face = _paint(face, _is(kind, 2) * _oval(x, y + 0.8, half * 0.75, 3.4 + 0 * x), _colour(LIPS))
    return _paint(face, _is(kind, 2) * _oval(x, y + 0.8, half * 0.75 - 1.1, 2.3 + 0 * x), _colour(INSIDE))


# -- shapes: how much of each pixel they cover, (n, 64, 64) in 0 to 1 --------------------------------------------------


def _oval(x: Number, y: Number, wide: Number, tall: Number) -> Tensor:
    distance = (((_across() - x) / wide).square() + ((_down() - y) / tall).square()).sqrt()
    return ((1 - distance) * torch.minimum(wide, tall) + 0.5).clamp(0, 1)


def _box(x: Number, y: Number, wide: Number, tall: Number) -> Tensor:
    return (wide + 0.5 - (_across() - x).abs()).clamp(0, 1) * (tall + 0.5 - (_down() - y).abs()).clamp(0, 1)


def _stroke(x: Number, y: Number, half: Number | float, slope: Number | float, thick: float) -> Tensor:
    along = _across() - x
    return (thick + 0.5 - (_down() - y - slope * along).abs()).clamp(0, 1) * (half + 0.5 - along.abs()).clamp(0, 1)


def _below(line: Tensor) -> Tensor:
    return (_down() - line + 0.5).clamp(0, 1)


def _across() -> Tensor:
    return torch.arange(SIDE).float().view(1, 1, SIDE)


def _down() -> Tensor:
    return torch.arange(SIDE).float().view(1, SIDE, 1)


def _paint(face: Tensor, where: Tensor, colour: Tensor) -> Tensor:
    return face + (colour - face) * where.unsqueeze(1)


def _is(condition: Tensor, value: int) -> Tensor:
    return (condition == value).float().view(-1, 1, 1)


def _of(colours: tuple[tuple[int, int, int], ...], which: Tensor) -> Tensor:
    return torch.tensor(colours, dtype=torch.float32)[which].view(-1, 3, 1, 1)


def _colour(values: tuple[int, int, int]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).view(1, 3, 1, 1)


def _iris(share: Number) -> Tensor:
    """From dark brown to blue."""
    brown, blue = _colour((70, 44, 26)), _colour((70, 110, 170))
    return brown + (blue - brown) * share.unsqueeze(1)
