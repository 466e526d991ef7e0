"""Moving digits: clips drawn by code in which one of scikit-learn's digits flies straight on and bounces off the walls,
so that its identity, its path and its speed are known.

As in Moving MNIST (Srivastava 2015, arXiv 1502.04681), but with one digit of 8x8 pixels, drawn between pixels too.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from trainers.config import Data
from trainers.data.dataset import Dataset, Examples, Space
from trainers.data.digits import split_digits
from trainers.errors import DataError
from trainers.randomness import stream

DIGIT = 8
"""Pixels of its side."""
SLOWEST, FASTEST = 0.5, 1.5
"""Pixels per frame."""
TRAIN, TEST = 3_000, 1_000
INK = 0.1
"""Share of full ink below which a pixel is ground."""
SPEED_STEP, PHASE_STEP = 0.025, 0.5
"""Of the paths that are tried, in pixels: finer ones change nothing at a hundredth of a pixel."""
AT_ONCE = 250


def moving_digits(settings: Data) -> Dataset:
    """3,000 clips of training digits and 1,000 of held-out ones, uint8 (n, frames, 1, side, side), labelled with the
    digit. Raises DataError where there is no room to move.
    """
    side, frames = settings.resolution, settings.frames
    if side < 2 * DIGIT:
        raise DataError(f"data.resolution: {side} leaves a digit of 8 pixels no room to move; use 16 or more")
    law = Bouncing(side - DIGIT, frames)
    space = Space((frames, 1, side, side), classes=10)
    train, test = split_digits()
    fresh = partial(drawn, law, train, "fresh")
    splits = drawn(law, train, "train", TRAIN), drawn(law, test, "test", TEST)
    return Dataset("moving-digits", space, *splits, fresh=fresh, law=law)


@dataclass(frozen=True)
class Bouncing:
    """Straight on at constant speed, reflected at walls that are ``room`` pixels apart, over so many ``frames``."""

    room: int
    frames: int

    def places(self, start: Tensor, velocity: Tensor) -> Tensor:
        """From starts and velocities (...,), in pixels and pixels per frame, to places (..., frames)."""
        way = start[..., None] + velocity[..., None] * torch.arange(self.frames)
        return self.room - (self.room - way.remainder(2 * self.room)).abs()

    def paths(self, clips: Tensor) -> Tensor:
        """The centre of the ink; of a frame without ink the centre of the picture."""
        return torch.stack(centres(clips[:, :, 0]), 2)

    def residuals(self, paths: Tensor) -> Tensor:
        """Root mean square distance (n,) in pixels of each path (n, frames, 2) from the nearest one that obeys the law
        at a speed that occurs; where in the picture it runs is free, since a digit's centre is not its box's.
        """
        speeds = torch.arange(0, FASTEST + SPEED_STEP / 2, SPEED_STEP)
        phases = torch.arange(0, 2 * self.room, PHASE_STEP)
        tried = self.places(phases.repeat(len(speeds)), speeds.repeat_interleave(len(phases)))
        tried = tried - tried.mean(1, keepdim=True)
        centred = paths - paths.mean(1, keepdim=True)
        x, y = (self._apart(centred[:, :, axis], tried).view(-1, len(speeds), len(phases)).amin(2) for axis in (0, 1))
        squared = torch.hypot(speeds[:, None], speeds)
        occurs = (squared >= SLOWEST - SPEED_STEP) & (squared <= FASTEST + SPEED_STEP)
        return (x[:, :, None] + y[:, None])[:, occurs].amin(1).sqrt()

    def _apart(self, paths: Tensor, tried: Tensor) -> Tensor:
        return torch.cdist(paths, tried).square() / self.frames


def centres(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Of the ink, x and y (...,) in pixels, in pictures (..., side, side) in [-1, 1]."""
    ink = ((pictures.float() + 1) / 2 - INK).clamp(min=0) + 1e-6
    pixels, whole = torch.arange(ink.shape[-1], device=ink.device), ink.sum((-2, -1))
    return (ink.sum(-2) * pixels).sum(-1) / whole, (ink.sum(-1) * pixels).sum(-1) / whole


def drawn(law: Bouncing, digits: Examples, name: str, count: int) -> Examples:
    """So many clips and their digits; a function of ``name`` and the row."""
    numbers = torch.rand(count, 5, generator=stream("moving-digits", name))
    chosen = (numbers[:, 0] * len(digits)).long()
    start = numbers[:, 1:3] * law.room
    speed, angle = SLOWEST + (FASTEST - SLOWEST) * numbers[:, 3], 2 * torch.pi * numbers[:, 4]
    velocity = torch.stack((speed * angle.cos(), speed * angle.sin()), 1)
    ink = (digits.values[chosen, 0] + 1) / 2
    parts = zip(torch.split(ink, AT_ONCE), torch.split(law.places(start, velocity), AT_ONCE), strict=True)
    clips = torch.cat([_frames(*part, side=law.room + DIGIT) for part in parts])
    assert digits.labels is not None
    return Examples(clips, digits.labels[chosen])


def _frames(ink: Tensor, places: Tensor, side: int) -> Tensor:
    """uint8 (n, frames, 1, side, side) of digits (n, 8, 8) in [0, 1] whose boxes are at places (n, 2, frames): bilinear
    between pixels.
    """
    away = torch.arange(side)[:, None] - torch.arange(DIGIT) - places[..., None, None]
    across, down = (1 - away.abs()).clamp(min=0).unbind(1)
    levels = down @ ink[:, None] @ across.transpose(2, 3)
    return levels.mul(255).round().to(torch.uint8)[:, :, None]
