"""Data of the second held-out half of the labelled set: pictures drawn by code and mixtures of Gaussians, none of which
the development half or the first held-out half has.

``data: {name: "tests.benchmarks.collapse.second_data:checks", resolution: 16}`` names one by its dotted path. Classes
and modes need not be equally frequent here. In the pictures place, size and tone vary so little that the nearest real
picture tells the class.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from trainers.config import Data
from trainers.data import Dataset, Examples, Space
from trainers.randomness import normal, stream

PICTURES_TRAIN, PICTURES_TEST = 2_500, 500
POINTS_TRAIN, POINTS_TEST = 40_000, 5_000
NOISE = 0.05

Draw = Callable[[int, Tensor, torch.Generator], Tensor]
"""(side, labels (n,), randomness) -> pictures (n, C, side, side) in [0, 1]."""
Places = Sequence[tuple[float, float]]

INKS = torch.tensor([[0.9, 0.3, 0.1], [0.1, 0.4, 0.8], [0.2, 0.7, 0.3], [0.8, 0.2, 0.7]])
PAPERS = torch.tensor([[1.0, 0.95, 0.8], [0.75, 0.75, 0.8], [0.15, 0.1, 0.1], [0.9, 0.85, 0.3]])
RIMS = torch.tensor([[0.85, 0.15, 0.2], [0.1, 0.6, 0.65], [0.95, 0.75, 0.15]])
SKINS = torch.tensor([[0.95, 0.8, 0.65], [0.6, 0.4, 0.25], [0.5, 0.85, 0.5]])


def checks(settings: Data) -> Dataset:
    """Boards of squares of three sizes in four pairs of colours (12 classes): light and contrast vary."""
    return _pictures("checks", settings.resolution, [1.0] * 12, _checks)


def clocks(settings: Data) -> Dataset:
    """Grey: a hand in eight directions on a dial (8 classes): the hand's angle, length and tone vary a little."""
    return _pictures("clocks", settings.resolution, [1.0] * 8, _clocks)


def targets(settings: Data) -> Dataset:
    """A ring of three widths in three colours around a bright middle (9 classes, the first four times as frequent as
    the last): place and tone vary.
    """
    return _pictures("targets", settings.resolution, [4.0, 4.0, 3.0, 3.0, 2.0, 2.0, 2.0, 1.0, 1.0], _targets)


def faces(settings: Data) -> Dataset:
    """Round faces of three colours that laugh or frown, with or without a hat (12 classes): place and tone vary."""
    return _pictures("faces", settings.resolution, [1.0] * 12, _faces)


def two_rings(settings: Data) -> Dataset:
    """Five Gaussians on a ring within another of ten."""
    return _mixture("two_rings", settings, [*_circle(5, 1.0), *_circle(10, 2.4)], [0.06])


def cross(settings: Data) -> Dataset:
    """Thirteen Gaussians: one in the middle and three along each arm."""
    arms = [(s * (i == 0), s * (i == 1)) for i in (0, 1) for s in (-3.0, -2.0, -1.0, 1.0, 2.0, 3.0)]
    return _mixture("cross", settings, [(0.0, 0.0), *arms], [0.07])


def uneven(settings: Data) -> Dataset:
    """Nine Gaussians at scattered places, of spreads from .03 to .15, the first six times as frequent as the last."""
    return _mixture("uneven", settings, _scatter(9, 4), [0.03, 0.06, 0.15], [6, 6, 4, 4, 3, 3, 2, 1, 1])


def scattered(settings: Data) -> Dataset:
    """Twelve equal Gaussians at scattered places."""
    return _mixture("scattered", settings, _scatter(12, 11), [0.05])


def ring_of_12(settings: Data) -> Dataset:
    """The built-in ring with half as many modes again."""
    return _mixture("ring_of_12", settings, _circle(12, 1.0), [0.015])


def small_grid(settings: Data) -> Dataset:
    """Three by three Gaussians."""
    return _mixture("small_grid", settings, [(x, y) for x in (-2.0, 0.0, 2.0) for y in (-2.0, 0.0, 2.0)], [0.05])


def long_grid(settings: Data) -> Dataset:
    """Two rows of eight Gaussians, four times as long as it is high."""
    return _mixture("long_grid", settings, [(float(x), 1.8 * y) for x in range(8) for y in (0, 1)], [0.06])


def arcs(settings: Data) -> Dataset:
    """Two half circles of six Gaussians that reach into each other."""
    upper = [(math.cos(a), math.sin(a)) for a in (math.pi * k / 5 for k in range(6))]
    return _mixture("arcs", settings, [*upper, *((1 - x, 0.4 - y) for x, y in upper)], [0.03])


def _circle(count: int, radius: float) -> Places:
    angles = [2 * math.pi * k / count for k in range(count)]
    return [(radius * math.cos(a), radius * math.sin(a)) for a in angles]


def _scatter(count: int, seed: int) -> Places:
    """In a square of side 4, none nearer than .8 to another."""
    chance, places = random.Random(seed), list[tuple[float, float]]()
    while len(places) < count:
        new = (chance.uniform(-2, 2), chance.uniform(-2, 2))
        if all(math.dist(new, old) > 0.8 for old in places):
            places.append(new)
    return places


def _axes(side: int) -> tuple[Tensor, Tensor]:
    """x (1, 1, side) and y (1, side, 1) from -1 to 1."""
    axis = torch.linspace(-1, 1, side)
    return axis[None, None, :], axis[None, :, None]


def _painted(*layers: tuple[Tensor, Tensor]) -> Tensor:
    """Each layer is (mask (n, side, side), colour (n, C)), the later ones over the earlier."""
    picture = layers[0][1][:, :, None, None].expand(-1, -1, *layers[0][0].shape[1:])
    for mask, colour in layers:
        picture = mask[:, None] * colour[:, :, None, None] + (1 - mask[:, None]) * picture
    return picture


def _soft(distance: Tensor) -> Tensor:
    """1 where the distance is under 0, 0 where it is over."""
    return torch.sigmoid(-14 * distance)


def _checks(side: int, labels: Tensor, generator: torch.Generator) -> Tensor:
    x, y = _axes(side)
    light, contrast = torch.rand(2, len(labels), 1, generator=generator)
    squares = torch.tensor([1.0, 2.0, 3.0])[labels // 4][:, None, None]
    waves = torch.sin(math.pi * squares * (x + 1)) * torch.sin(math.pi * squares * (y + 1))
    ink = PAPERS[labels % 4] + (0.8 + 0.2 * contrast) * (INKS[labels % 4] - PAPERS[labels % 4])
    board = _painted((0 * waves, PAPERS[labels % 4]), (torch.sigmoid(8 * waves), ink))
    lit: Tensor = board * (0.85 + 0.15 * light[..., None, None])
    return lit


def _clocks(side: int, labels: Tensor, generator: torch.Generator) -> Tensor:
    x, y = _axes(side)
    turn, length, tone = torch.rand(3, len(labels), 1, 1, generator=generator)
    angle = (labels[:, None, None] + 0.3 * (turn - 0.5)) * (math.pi / 4)
    along, across = x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()
    hand = _soft(across.abs() - 0.22) * _soft((along - 0.4).abs() - 0.42 - 0.06 * length)
    dial = _soft((x.square() + y.square()).sqrt().expand_as(hand) - 0.95)
    white, black = 0.8 + 0.2 * tone[..., 0], torch.zeros(len(labels), 1)
    return _painted((dial, black + 0.45), (dial, white), (hand, black))


def _targets(side: int, labels: Tensor, generator: torch.Generator) -> Tensor:
    x, y = _axes(side)
    right, down, tone = torch.rand(3, len(labels), 1, 1, generator=generator)
    away = ((x - 0.16 * (right - 0.5)).square() + (y - 0.16 * (down - 0.5)).square()).sqrt()
    radius = torch.tensor([0.4, 0.65, 0.9])[labels // 3][:, None, None]
    rim = RIMS[labels % 3] * (0.8 + 0.2 * tone[..., 0])
    ground = torch.full((len(labels), 3), 0.2)
    return _painted((away, ground), (_soft(away - radius), rim), (_soft(away - radius + 0.35), ground + 0.75))


def _faces(side: int, labels: Tensor, generator: torch.Generator) -> Tensor:
    axis_x, axis_y = _axes(side)
    right, down, tone, eyes = torch.rand(4, len(labels), 1, 1, generator=generator)
    x, y = axis_x - 0.12 * (right - 0.5), axis_y - 0.12 * (down - 0.5)
    laughs, hat = (labels // 3 % 2)[:, None, None] * 2.0 - 1, (labels // 6)[:, None, None]
    head = _soft((x.square() + y.square()).sqrt() - 0.85)
    eye = _soft(((x.abs() - 0.35).square() + (y + 0.2).square()).sqrt() - 0.16 - 0.04 * eyes)
    mouth = _soft((y - 0.4 - laughs * (0.16 - 1.1 * x.square())).abs() - 0.12) * _soft(x.abs() - 0.55)
    brim = hat * _soft((y + 0.75).abs() - 0.25) * _soft(x.abs() - 0.6)
    dark, skin = torch.full((len(labels), 3), 0.08), SKINS[labels % 3] * (0.85 + 0.15 * tone[..., 0])
    blue, red = torch.tensor([0.3, 0.45, 0.75]).expand_as(dark), torch.tensor([0.75, 0.1, 0.15]).expand_as(dark)
    return _painted((head, blue), (head, skin), (eye, dark), (mouth, dark), (brim, red))


def _pictures(name: str, side: int, frequencies: Sequence[float], draw: Draw) -> Dataset:
    def split(count: int, purpose: str) -> Examples:
        generator = stream("second", name, side, purpose)
        labels = torch.multinomial(torch.tensor(frequencies), count, replacement=True, generator=generator)
        pictures = draw(side, labels, generator)
        pictures = pictures + NOISE * torch.randn(pictures.shape, generator=generator)
        return Examples(pictures.clamp(0, 1).mul(255).round().to(torch.uint8), labels)

    train = split(PICTURES_TRAIN, "train")
    space = Space(tuple(train.values.shape[1:]), classes=len(frequencies))
    return Dataset(f"{name}-{side}", space, train, split(PICTURES_TEST, "test"))


def _mixture(
    name: str, settings: Data, centers: Places, spreads: Sequence[float], frequencies: Sequence[float] = ()
) -> Dataset:
    """Spreads are taken in turn; modes are equally frequent unless ``frequencies`` says otherwise."""
    places = torch.tensor(centers)
    places = places - places.mean(0)
    scale = float(places.std(correction=0)) if settings.standardise else 1.0
    weights = torch.tensor([float(f) for f in frequencies] or [1.0] * len(places))
    stds = torch.tensor([spreads[i % len(spreads)] for i in range(len(places))])

    def split(count: int, purpose: str) -> Examples:
        chosen = torch.multinomial(weights, count, replacement=True, generator=stream("second", name, purpose, "modes"))
        noise = normal((count, 2), "second", name, purpose, "noise")
        return Examples(places[chosen] + stds[chosen, None] * noise)

    space = Space((2,), scale=scale, centers=tuple((float(x), float(y)) for x, y in places), std=max(spreads))
    return Dataset(name, space, split(POINTS_TRAIN, "train"), split(POINTS_TEST, "test"))
