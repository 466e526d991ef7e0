"""Weather scenes: landscapes of 64x64 pixels drawn by code, so that what each of them shows is known.

Conditions are the weather, the hour and the density of fog (0 to 1, dense only where the weather is fog). Left free are
horizon, hills, a house, trees, the place of sun or moon, clouds, drops and flakes.
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
WEATHERS = ("clear", "cloudy", "rain", "snow", "fog")
HOURS = ("day", "dusk", "night")
CLEAR, CLOUDY, RAIN, SNOW, FOG = range(5)
COLUMNS = (Column("weather", names=WEATHERS), Column("hour", names=HOURS), Column("fog", low=0.0, high=1.0))
TRAIN, TEST = 6_000, 1_500
AT_ONCE = 500
DENSE, THIN = (0.5, 1.0), (0.0, 0.35)

SKY = {"top": ((96, 160, 232), (62, 48, 112), (6, 8, 30)), "low": ((198, 222, 244), (238, 142, 84), (28, 32, 72))}
LIGHT = (1.0, 0.62, 0.30)  # of the hour
LAMPS = (0.0, 0.7, 1.0)  # in windows
GROUND, SNOWY, HILL, WALL, ROOF, CROWN, TRUNK, PANE, CLOUD = (
    *((86, 150, 70), (236, 240, 246), (92, 128, 112), (196, 170, 140), (150, 62, 48), (44, 104, 52)),
    *((96, 68, 44), (250, 214, 120), (150, 154, 162)),
)
DROPS, FLAKES, LENGTH = 70, 90, 5


def weather_scenes(settings: Data) -> Dataset:
    """6,000 scenes to train on and 1,500 held out, every combination of weather and hour equally often."""
    space = Space((3, SIDE, SIDE), columns=COLUMNS)
    fresh = partial(scenes, "fresh")
    return Dataset("weather-scenes", space, scenes("train", TRAIN), scenes("test", TEST), fresh=fresh)


def scenes(name: str, count: int) -> Examples:
    """So many scenes, uint8 (count, 3, 64, 64), with their conditions; a function of ``name`` and the row."""
    labels = _conditions(name, count)
    numbers = torch.rand(count, 24, generator=stream("weather-scenes", name, "layout"))
    falling = torch.rand(count, max(DROPS, FLAKES), 2, generator=stream("weather-scenes", name, "falling"))
    parts = zip(*(torch.split(rows, AT_ONCE) for rows in (labels, numbers, falling)), strict=True)
    return Examples(torch.cat([draw(*part) for part in parts]), labels)


def _conditions(name: str, count: int) -> Tensor:
    """(count, 3), as ``COLUMNS`` says."""
    kinds = len(WEATHERS) * len(HOURS)
    order = torch.randperm(count, generator=stream("weather-scenes", name, "order"))
    kind, share = order % kinds, torch.rand(count, generator=stream("weather-scenes", name, "fog"))
    weather, hour = kind % len(WEATHERS), kind // len(WEATHERS)
    low, high = (torch.where(weather == FOG, dense, thin) for dense, thin in zip(DENSE, THIN, strict=True))
    return torch.stack((weather.float(), hour.float(), low + share * (high - low)), 1)


def draw(labels: Tensor, numbers: Tensor, falling: Tensor) -> Tensor:
    """Scenes, uint8 (n, 3, 64, 64), of conditions (n, 3) and uniform numbers (n, 24) and (n, drops, 2)."""
    weather, hour, fog = labels[:, 0].long(), labels[:, 1].long(), labels[:, 2]
    y, x = (torch.arange(SIDE).float().view(shape) for shape in ((1, SIDE, 1), (1, 1, SIDE)))
    one = [column.view(-1, 1, 1) for column in numbers.unbind(1)]
    light = torch.tensor(LIGHT)[hour].view(-1, 1, 1, 1)
    dull = (weather != CLEAR).view(-1, 1, 1)
    horizon = 30 + 10 * one[0]
    scene, far = _sky(hour, weather, light, y / horizon), 0.7 + 0.0 * (x + horizon + y)
    disc = (x - 8 - 48 * one[1]).square() + (y - 6 - 10 * one[2]).square() < (4 + 2 * one[3]).square()
    scene = _paint(scene, disc & ~dull, _by_hour(((255, 244, 190), (255, 190, 120), (226, 230, 240)), hour))
    clouds = torch.zeros_like(disc)
    for i in range(3):
        across, down = (x - 64 * one[4 + i]) / (9 + 5 * one[7 + i]), (y - 4 - 14 * one[10 + i]) / 3.5
        clouds |= across.square() + down.square() < 1
    scene = _paint(scene, clouds & (weather == CLOUDY).view(-1, 1, 1), _colour(CLOUD) * light * 1.25)
    snowy = (weather == SNOW).view(-1, 1, 1, 1)
    ridge = horizon - 3 - 3 * torch.sin(x / (5 + 4 * one[13]) + 6.3 * one[14]) - 2 * torch.sin(x / 3 + 6.3 * one[15])
    hills, ground = y > ridge, y > horizon
    scene = _paint(scene, hills, torch.where(snowy, _colour(SNOWY) * 0.8, _colour(HILL)) * light)
    scene = _paint(scene, ground, torch.where(snowy, _colour(SNOWY), _colour(GROUND)) * light)
    depth = torch.where(ground, 0.75 * (1 - (y - horizon) / (SIDE - horizon)), torch.where(hills, 0.9, far))
    for place, size in ((one[16], one[17]), (one[18], one[19])):  # trees
        left, foot, tall = 4 + 56 * place, horizon + 4 + 8 * size, 8 + 6 * size
        trunk = ((x - left).abs() < 1) & (y < foot) & (y > foot - 5)
        crown = (x - left).square() + (y - foot + tall - 1).square() < (tall / 2).square()
        scene = _paint(_paint(scene, trunk, _colour(TRUNK) * light), crown, _colour(CROWN) * light)
        depth = torch.where(trunk | crown, 0.45, depth)
    left, foot, wide, tall = 8 + 34 * one[20], horizon + 10 + 6 * one[21], 12 + 6 * one[22], 8 + 4 * one[23]
    wall = (x >= left) & (x < left + wide) & (y < foot) & (y >= foot - tall)
    above = foot - tall - y
    roof = (above >= 0) & (above < 6) & ((x - left - wide / 2).abs() < (wide / 2 + 1) * (1 - above / 6))
    pane = ((x - left - wide / 2).abs() < 2) & ((y - foot + tall / 2).abs() < 2)
    lamps = torch.tensor(LAMPS)[hour].view(-1, 1, 1, 1)
    top = torch.where(snowy, _colour(SNOWY), _colour(ROOF)) * light
    scene = _paint(_paint(scene, wall, _colour(WALL) * light), roof, top)
    scene = _paint(scene, pane, _colour(PANE) * lamps + _colour((70, 90, 110)) * light * (1 - lamps))
    depth = torch.where(wall | roof, 0.35, depth)
    veil = 1 - torch.exp(-3 * fog.view(-1, 1, 1) * depth.clamp(0.15, 1))
    mist = _colour((205, 208, 214)) * (0.25 + 0.75 * light)
    scene = scene + (mist - scene) * veil.unsqueeze(1)
    scene = _fallen(scene, weather == RAIN, falling[:, :DROPS], slant=True, colour=150 + 70 * light)
    scene = _fallen(scene, weather == SNOW, falling[:, :FLAKES], slant=False, colour=130 + 120 * light)
    return scene.round().clamp(0, 255).to(torch.uint8)


def _sky(hour: Tensor, weather: Tensor, light: Tensor, height: Tensor) -> Tensor:
    """From the zenith to the horizon; grey where it is not clear."""
    top, low = (_by_hour(SKY[name], hour) for name in ("top", "low"))
    open_ = top + (low - top) * height.clamp(0, 1).unsqueeze(1)
    grey = torch.tensor([0.0, 165.0, 105.0, 196.0, 190.0])[weather].view(-1, 1, 1, 1)
    share = torch.tensor([0.0, 0.55, 0.8, 0.8, 0.8])[weather].view(-1, 1, 1, 1)
    return open_ + (grey * (0.1 + 0.9 * light) - open_) * share + torch.zeros(1, 1, 1, SIDE)


def _fallen(scene: Tensor, where: Tensor, places: Tensor, slant: bool, colour: Tensor) -> Tensor:
    """Streaks of rain, or flakes of two by two pixels."""
    along = torch.arange(LENGTH if slant else 4)
    down, across = (along, along // 2) if slant else (along // 2, along % 2)
    start = (places * SIDE).long()
    rows = (start[..., 0, None] + down).remainder(SIDE)
    columns = (start[..., 1, None] - across if slant else start[..., 1, None] + across).remainder(SIDE)
    mask = torch.zeros(len(scene), SIDE * SIDE, dtype=torch.bool)
    mask.scatter_(1, (rows * SIDE + columns).flatten(1), True)
    mask &= where.view(-1, 1)
    kept = 0.35 if slant else 0.1
    seen = mask.view(-1, 1, SIDE, SIDE)
    return torch.where(seen, scene * kept + colour * (1 - kept), scene)


def _paint(scene: Tensor, where: Tensor, colour: Tensor) -> Tensor:
    return torch.where(where.unsqueeze(1), colour, scene)


def _colour(values: tuple[int, int, int]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).view(1, 3, 1, 1)


def _by_hour(values: tuple[tuple[int, int, int], ...], hour: Tensor) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)[hour].view(-1, 3, 1, 1)
