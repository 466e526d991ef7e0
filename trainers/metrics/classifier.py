"""A small classifier of pictures, trained for a fixed number of steps on whatever it is given.

Steps and not epochs: more data must not mean more training (Ravuri and Vinyals, "Classification Accuracy Score",
arXiv 1905.10887, compare at a fixed schedule too).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainers.data import Examples
from trainers.metrics.kept import alone, fitted
from trainers.randomness import stream

STEPS, BATCH, PEAK_LR = 600, 64, 4e-3
SHIFT, TURN, ZOOM = 0.125, 15.0, 0.1
"""Of the jitter: at most this share of a side, so many degrees, this share larger or smaller."""


def taught(sets: Sequence[Examples], classes: int, seed: int, jitter: bool) -> nn.Module:
    """A network from pictures (n, c, h, w) in [-1, 1] to logits (n, classes), trained on equally many of each of
    ``sets`` in every batch. With ``jitter`` they are shifted, turned and zoomed a little, as is customary.
    """

    def loss(net: nn.Module, step: int) -> Tensor:
        generator, each = stream(seed, step, "classifier"), BATCH // len(sets)
        parts = [one[torch.randint(len(one), (each,), generator=generator)] for one in sets]
        pictures = torch.cat([part.floats() for part in parts])
        if jitter:
            pictures = jittered(pictures, generator)
        return F.cross_entropy(net(pictures), torch.cat([_classes(part) for part in parts]), label_smoothing=0.1)

    def train() -> nn.Module:
        net = _network(sets[0].values.shape[1:], classes)
        return fitted(net, (loss(net, step) for step in range(STEPS)), STEPS, PEAK_LR).eval()

    return alone(train, seed)


@torch.no_grad()
def right(net: nn.Module, examples: Examples) -> Tensor:
    """Which of the examples it reads right, bool (n,)."""
    parts = [examples[rows] for rows in torch.split(torch.arange(len(examples)), 512)]
    return torch.cat([net(part.floats()).argmax(1) == _classes(part) for part in parts])


def jittered(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Each picture (n, c, h, w) shifted, turned and zoomed at random; what comes in at a side repeats that side."""
    n = len(pictures)
    turn, zoom, x, y = (torch.rand(4, n, generator=generator) * 2 - 1).unbind()
    angle, scale = turn * math.radians(TURN), 1 + zoom * ZOOM
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    rows = torch.stack((torch.stack((cos, -sin, 2 * SHIFT * x), 1), torch.stack((sin, cos, 2 * SHIFT * y), 1)), 1)
    grid = F.affine_grid(rows, list(pictures.shape), align_corners=False)
    return F.grid_sample(pictures, grid, padding_mode="border", align_corners=False)


def _classes(examples: Examples) -> Tensor:
    assert examples.labels is not None
    return examples.labels


def _network(shape: torch.Size, classes: int) -> nn.Module:
    """Convolutions down to 4x4, at least two, and one hidden layer."""
    channels, side = shape[0], shape[1]
    halvings = max(1, round(math.log2(side / 4)))
    layers: list[nn.Module] = [nn.Conv2d(channels, 24, 3, padding=1), nn.GELU()]
    width = 24
    for _ in range(halvings):
        layers += [nn.Conv2d(width, min(2 * width, 96), 3, stride=2, padding=1), nn.GELU()]
        width = min(2 * width, 96)
    head = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(width * 16, 64), nn.GELU())
    return nn.Sequential(*layers, *head, nn.Linear(64, classes))
