"""Colour pictures drawn by code, for trainings of the labelled set: what is drawn is known, and no download is needed.

``data: {name: "tests.benchmarks.collapse.pictures:signs", resolution: 16}`` names one by its dotted path.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from trainers.config import Data
from trainers.data import Dataset, Examples, Space
from trainers.randomness import stream

TRAIN, TEST = 3_000, 500
COLOURS = torch.tensor([[0.9, 0.1, 0.1], [0.1, 0.7, 0.2], [0.15, 0.25, 0.9], [0.95, 0.8, 0.1]])
INK = 0.9

Inside = Callable[[Tensor, Tensor, Tensor], Tensor]


def signs(settings: Data) -> Dataset:
    """Four shapes in four colours on light ground (16 classes): place, size, tone and noise vary from picture to
    picture.
    """
    side = settings.resolution
    space = Space((3, side, side), classes=16)
    return Dataset(f"signs-{side}", space, _drawn(side, TRAIN, "train"), _drawn(side, TEST, "test"))


def _drawn(side: int, count: int, split: str) -> Examples:
    generator = stream("signs", side, split)
    labels = torch.randint(16, (count,), generator=generator)
    x0, y0, radius, tone = torch.rand(4, count, 1, 1, generator=generator)
    axis = torch.linspace(-1, 1, side)
    x, y = axis[None, None, :] - 0.3 * (x0 - 0.5), axis[None, :, None] - 0.3 * (y0 - 0.5)
    radius = 0.55 + 0.2 * radius
    shapes = torch.stack([inside(x, y, radius) for inside in SHAPES], 1)
    mask = shapes[torch.arange(count), labels // 4][:, None]
    colours = COLOURS[labels % 4][:, :, None, None] * (0.8 + 0.2 * tone[:, None])
    ground = 0.85 + 0.1 * torch.rand(count, 3, 1, 1, generator=generator)
    pictures = mask * colours + (1 - mask) * ground
    pictures += 0.02 * torch.randn(pictures.shape, generator=generator)
    return Examples(pictures.clamp(0, 1).mul(255).round().to(torch.uint8), labels)


def _soft(distance: Tensor) -> Tensor:
    """1 inside, 0 outside, a soft edge of about a pixel."""
    return torch.sigmoid(-12 * distance)


SHAPES: tuple[Inside, ...] = (
    lambda x, y, r: _soft((x.square() + y.square()).sqrt() - r),
    lambda x, y, r: _soft(torch.maximum(x.abs(), y.abs()) - 0.85 * r),
    lambda x, y, r: _soft(torch.maximum(x.abs() + 0.5 * (y - r), -y - 0.7 * r)),
    lambda x, y, r: _soft((x.abs() - 0.3 * r).minimum(y.abs() - 0.3 * r).maximum(torch.maximum(x.abs(), y.abs()) - r)),
)
