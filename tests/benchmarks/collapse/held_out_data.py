"""Data of the held-out half of the labelled set: colour pictures drawn by code and mixtures of Gaussians, none of which
the development half has.

``data: {name: "tests.benchmarks.collapse.held_out_data:tricolours", resolution: 16}`` names one by its dotted path. In
the pictures place, size and tone vary so little that the nearest real picture tells the class.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from trainers.config import Data
from trainers.data import Dataset, Examples, Space
from trainers.randomness import normal, stream

PICTURES_TRAIN, PICTURES_TEST = 2_000, 500
POINTS_TRAIN, POINTS_TEST = 50_000, 5_000
NOISE = 0.08

Draw = Callable[[int, Tensor, torch.Generator], Tensor]
"""(side, labels (n,), randomness) -> pictures (n, 3, side, side) in [0, 1]."""
Centers = tuple[tuple[float, float], ...]

STRIPES = torch.tensor(
    [
        [[0.8, 0.1, 0.2], [0.95, 0.95, 0.95], [0.1, 0.2, 0.6]],
        [[0.1, 0.1, 0.1], [0.85, 0.7, 0.1], [0.7, 0.1, 0.1]],
        [[0.1, 0.5, 0.3], [0.95, 0.6, 0.2], [0.2, 0.1, 0.3]],
        [[0.5, 0.8, 0.95], [0.3, 0.3, 0.35], [0.9, 0.5, 0.6]],
        [[0.6, 0.3, 0.7], [0.2, 0.7, 0.7], [0.95, 0.9, 0.4]],
    ]
)
"""(5, stripe, RGB)."""
TOPS = torch.tensor(
    [[0.2, 0.4, 0.9], [0.1, 0.1, 0.2], [0.9, 0.4, 0.3], [0.6, 0.6, 0.6], [0.5, 0.2, 0.6], [0.3, 0.8, 0.7]]
)
LANDS = torch.tensor(
    [[0.2, 0.6, 0.2], [0.1, 0.2, 0.3], [0.3, 0.2, 0.1], [0.9, 0.9, 0.95], [0.7, 0.6, 0.3], [0.1, 0.3, 0.5]]
)
LETTERS = (
    "10001 01010 00100 01010 10001", "11111 00100 00100 00100 00100", "10000 10000 10000 10000 11111",
    "11111 10000 11110 10000 10000", "10001 10001 11111 10001 10001", "01110 10001 10001 10001 01110",
    "11111 00010 00100 01000 11111", "10001 10001 10001 01010 00100",
)  # fmt: skip


def tricolours(settings: Data) -> Dataset:
    """Three stripes, upright or lying, of five sets of colours (10 classes): widths and light vary."""
    return _pictures("tricolours", settings.resolution, 10, _tricolours)


def waves(settings: Data) -> Dataset:
    """Waves of five directions and three lengths (15 classes): phase and contrast vary."""
    return _pictures("waves", settings.resolution, 15, _waves)


def letters(settings: Data) -> Dataset:
    """Eight letters in three colours on a dark ground (24 classes): place and colour vary."""
    return _pictures("letters", settings.resolution, 24, _letters)


def skies(settings: Data) -> Dataset:
    """A sun over a land in six kinds of light (6 classes): the sun's place and the horizon vary."""
    return _pictures("skies", settings.resolution, 6, _skies)


def spiral(settings: Data) -> Dataset:
    """Fourteen Gaussians along two turns of a spiral."""
    turns = [(0.25 + 0.055 * k, 0.9 * k) for k in range(14)]
    return _mixture("spiral", settings, tuple((r * math.cos(a), r * math.sin(a)) for r, a in turns), 0.015)


def honeycomb(settings: Data) -> Dataset:
    """Nineteen Gaussians on a hexagonal lattice."""
    places = ((x + y / 2, y * math.sqrt(0.75)) for x in range(-2, 3) for y in range(-2, 3) if abs(x + y) <= 2)
    return _mixture("honeycomb", settings, tuple(places), 0.08)


def pairs(settings: Data) -> Dataset:
    """Six pairs of Gaussians: the two of a pair are near each other, the pairs far apart."""
    middles = ((-3.0, -1.5), (0.0, -1.5), (3.0, -1.5), (-3.0, 1.5), (0.0, 1.5), (3.0, 1.5))
    return _mixture("pairs", settings, tuple((x + s, y + s) for x, y in middles for s in (-0.7, 0.7)), 0.15)


def _pictures(name: str, side: int, classes: int, draw: Draw) -> Dataset:
    def split(count: int, purpose: str) -> Examples:
        generator = stream("held out", name, side, purpose)
        labels = torch.randint(classes, (count,), generator=generator)
        pictures = draw(side, labels, generator)
        pictures = pictures + NOISE * torch.randn(pictures.shape, generator=generator)
        return Examples(pictures.clamp(0, 1).mul(255).round().to(torch.uint8), labels)

    space = Space((3, side, side), classes=classes)
    return Dataset(f"{name}-{side}", space, split(PICTURES_TRAIN, "train"), split(PICTURES_TEST, "test"))


def _axes(side: int) -> tuple[Tensor, Tensor]:
    """x (1, 1, side) and y (1, side, 1) from -1 to 1."""
    axis = torch.linspace(-1, 1, side)
    return axis[None, None, :], axis[None, :, None]


def _tricolours(side: int, labels: Tensor, generator: torch.Generator) -> Tensor:
    x, y = _axes(side)
    first, second, light = torch.rand(3, len(labels), 1, 1, generator=generator)
    along = torch.where((labels % 2 == 0)[:, None, None], x + 0 * y, y + 0 * x)
    left = torch.sigmoid(-15 * (along + 0.33 + 0.2 * (first - 0.5)))
    right = torch.sigmoid(15 * (along - 0.33 + 0.2 * (second - 0.5)))
    parts = torch.stack((left, (1 - left - right).clamp(min=0), right), 1)
    lit: Tensor = torch.einsum("nshw,nsc->nchw", parts, STRIPES[labels // 2]) * (0.85 + 0.15 * light[:, None])
    return lit


def _waves(side: int, labels: Tensor, generator: torch.Generator) -> Tensor:
    x, y = _axes(side)
    phase, contrast = torch.rand(2, len(labels), 1, 1, generator=generator)
    angle = (labels % 5)[:, None, None] * (math.pi / 5)
    number = torch.tensor([0.8, 1.6, 2.4])[labels // 5][:, None, None]
    wave = torch.sin(math.pi * number * (x * angle.cos() + y * angle.sin()) + 0.8 * (phase - 0.5))
    high = (0.5 + 0.5 * (0.7 + 0.3 * contrast) * wave)[:, None]
    sand, sea = torch.tensor([0.95, 0.7, 0.2])[:, None, None], torch.tensor([0.1, 0.1, 0.5])[:, None, None]
    wavy: Tensor = high * sand + (1 - high) * sea
    return wavy


def _letters(side: int, labels: Tensor, generator: torch.Generator) -> Tensor:
    strokes = torch.tensor([[[float(bit) for bit in row] for row in letter.split()] for letter in LETTERS])
    shifts = 0.12 * (torch.rand(len(labels), 2, generator=generator) - 0.5)
    turned = torch.eye(2).mul(1.3).expand(len(labels), 2, 2)
    places = torch.nn.functional.affine_grid(
        torch.cat((turned, shifts[:, :, None]), 2), [len(labels), 1, side, side], align_corners=False
    )
    ink = torch.nn.functional.grid_sample(strokes[labels % 8][:, None], places, align_corners=False)
    colours = torch.tensor([[1.0, 0.4, 0.3], [0.4, 0.9, 1.0], [0.9, 0.9, 0.3]])[labels // 8]
    colours = colours * (0.8 + 0.2 * torch.rand(len(labels), 3, generator=generator))
    return 0.1 + 0.9 * ink * colours[:, :, None, None]


def _skies(side: int, labels: Tensor, generator: torch.Generator) -> Tensor:
    x, y = _axes(side)
    sun_x, horizon, size = torch.rand(3, len(labels), 1, 1, generator=generator)
    fade = (0.75 + 0.25 * y)[:, None]
    sky = (TOPS[labels][:, :, None, None] * fade + 0.3 * (1 - fade)).expand(-1, -1, -1, side)
    place = (labels % 3 - 1)[:, None, None] * 0.5 + 0.25 * (sun_x - 0.5)
    sun = torch.sigmoid(-14 * (((x - place).square() + (y + 0.4).square()).sqrt() - 0.25 - 0.08 * size))[:, None]
    land = torch.sigmoid(14 * (y + 0 * x - 0.3 - 0.2 * (horizon - 0.5)))[:, None]
    lit = sun * torch.tensor([1.0, 0.95, 0.7])[:, None, None] + (1 - sun) * sky
    return land * LANDS[labels][:, :, None, None] + (1 - land) * lit


def _mixture(name: str, settings: Data, centers: Centers, std: float) -> Dataset:
    places = torch.tensor(centers)
    places = places - places.mean(0)
    scale = float(places.std(correction=0)) if settings.standardise else 1.0

    def split(count: int, purpose: str) -> Examples:
        chosen = torch.randint(len(places), (count,), generator=stream("held out", name, purpose, "modes"))
        return Examples(places[chosen] + std * normal((count, 2), "held out", name, purpose, "noise"))

    space = Space((2,), scale=scale, centers=tuple((float(x), float(y)) for x, y in places), std=std)
    return Dataset(name, space, split(POINTS_TRAIN, "train"), split(POINTS_TEST, "test"))
