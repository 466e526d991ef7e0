"""Two domains without a download: scikit-learn's digits in grey, and other digits painted in colour, 16x16.

``painted-digits`` are bright ink on dark ground, ``inked-digits`` dark ink on paper, ``mixed-digits`` one of both at
random. A is half of the training digits, B the other half, painted. The held-out digits are in both domains, row by
row, so that what a translation should have kept is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from trainers.config import Data
from trainers.data.dataset import Dataset, Examples, Space
from trainers.data.digits import split_digits
from trainers.randomness import stream

SIDE = 16


class Look(NamedTuple):
    """Ranges of what differs from picture to picture, all uniform in [0, 1]: saturation and value of the ink, whose hue
    is any; shade of the ground and, within it, tint of each channel.
    """

    saturation: tuple[float, float]
    value: tuple[float, float]
    ground: tuple[float, float]
    tint: float


BRIGHT = Look((0.6, 1.0), (0.8, 1.0), ground=(0.0, 0.2), tint=0.1)
DARK = Look((0.5, 1.0), (0.1, 0.5), ground=(0.8, 0.95), tint=0.1)
LOOKS = {"painted-digits": (BRIGHT,), "inked-digits": (DARK,), "mixed-digits": (BRIGHT, DARK)}


def painted_digits(settings: Data) -> Dataset:
    """uint8 (n, 3, 16, 16), labels 0..9: 718 painted digits to train on, 719 grey ones as their ``source``, 360 held
    out in both.
    """
    train, test = split_digits()
    space, even = Space((3, SIDE, SIDE), classes=10), torch.arange(len(train)) % 2 == 0
    source = Dataset("grey-digits", space, grey(train[even]), grey(test))
    looks = LOOKS[settings.name]
    painted = paint(train[~even], looks, settings.name, "train")
    held_out = paint(test, looks, settings.name, "test")
    return Dataset(settings.name, space, painted, held_out, source=source, paired=True)


def grey(digits: Examples) -> Examples:
    """Digits (n, 1, 8, 8) as grey pictures."""
    return Examples(_bytes(_strokes(digits).expand(-1, 3, -1, -1)), digits.labels)


def paint(digits: Examples, looks: Sequence[Look], *purpose: int | str) -> Examples:
    """Digits (n, 1, 8, 8), each in one of the looks and in colours of its own, drawn for ``purpose``."""
    draw = torch.rand(7, len(digits), generator=stream("paint", *purpose))
    which = torch.randint(len(looks), (len(digits),), generator=stream("look", *purpose))
    ways = torch.stack([_painted(digits, look, draw) for look in looks])
    return Examples(_bytes(ways[which, torch.arange(len(digits))]), digits.labels)


def _painted(digits: Examples, look: Look, draw: Tensor) -> Tensor:
    """(n, 3, 16, 16) in [0, 1], for seven draws (7, n) from [0, 1]."""
    hue, (saturation, value, ground) = draw[0], map(_within, (look.saturation, look.value, look.ground), draw[1:4])
    ink = colour(hue, saturation, value)
    paper = ground[:, None] + look.tint * (draw[4:].T - 0.5)
    strokes = _strokes(digits)
    return strokes * ink[..., None, None] + (1 - strokes) * paper[..., None, None]


def colour(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """HSV (n,) in [0, 1] each to RGB (n, 3)."""
    sixths = (torch.tensor([5.0, 3.0, 1.0]) + 6 * hue[:, None]) % 6
    away = torch.minimum(sixths, 4 - sixths).clamp(0, 1)
    return value[:, None] * (1 - saturation[:, None] * away)


def _within(limits: tuple[float, float], share: Tensor) -> Tensor:
    return limits[0] + (limits[1] - limits[0]) * share


def _strokes(digits: Examples) -> Tensor:
    """How much ink lies where, in [0, 1], (n, 1, 16, 16)."""
    return interpolate((digits.values + 1) / 2, (SIDE, SIDE), mode="bilinear")


def _bytes(levels: Tensor) -> Tensor:
    return levels.mul(255).round().clamp(0, 255).to(torch.uint8)
