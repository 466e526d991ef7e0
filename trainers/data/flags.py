"""Flags: pictures drawn by a rule that is known, in 12 bits, as a stand-in for a modality with an anatomy.

After Deshpande et al., "A method for evaluating the capacity of generative adversarial networks to reproduce high-order
spatial context", arXiv 2111.12577: 16x16 squares, 8 classes, in each exactly 80 bright squares and 176 dark ones, and
24 squares that are never bright. The levels of bright and of dark squares don't overlap here, as they do there, so that
each square of a picture can be read. A GAN may have a low FID and still break such rules, or the classes' prevalence.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from trainers.config import Data
from trainers.data.dataset import Dataset, Examples, Space
from trainers.randomness import stream

SIDE, SQUARES, BRIGHT = 32, 16, 80
WINDOW = (0.0, 4095.0)
DIVIDE = 2048
"""Between dark and bright."""
TRAIN, TEST = 2_000, 1_000
NAMES = ("fess", "pale", "cross", "saltire", "roundel", "ring", "fly", "base")


def flags(settings: Data) -> Dataset:
    """2,000 flags to train on and 1,000 held out, each class equally often; ``data.per_class`` takes fewer."""
    space = Space((1, SIDE, SIDE), classes=len(NAMES), names=NAMES, window=WINDOW)
    fresh = partial(drawn, "fresh")
    return Dataset("flags", space, drawn("train", TRAIN), drawn("test", TEST), fresh=fresh, known=rules)


def patterns() -> Tensor:
    """Bright squares of each class, bool (8, 256)."""
    place = torch.arange(SQUARES) - (SQUARES - 1) / 2
    y, x = place.view(-1, 1), place.view(1, -1)
    corners = (x.abs() + y.abs() > 12.5).flatten()
    away = (
        *((y + 1).abs() + 0 * x, x.abs() + 0 * y, torch.minimum((y - 1).abs(), x.abs()), (x.abs() - y.abs()).abs()),
        *(x * x + y * y, (torch.hypot(x, y) - 8).abs(), 0 * y - x, 0 * x - y),
    )
    nearest = torch.stack(away).flatten(1).masked_fill(corners, torch.inf).argsort(stable=True)[:, :BRIGHT]
    return torch.zeros(len(NAMES), SQUARES**2, dtype=torch.bool).scatter_(1, nearest, True)


def drawn(split: str, count: int) -> Examples:
    """So many flags in [-1, 1], float32 (count, 1, 32, 32), and their classes; a function of ``split`` and the row."""
    generator = stream("flags", split)
    labels = torch.randperm(count, generator=generator) % len(NAMES)
    # The k-th smallest of n uniform numbers is Beta(k, n + 1 - k): Beta(4, 2) and Beta(2, 4), as in the paper.
    ordered = torch.rand(count, SQUARES**2, 5, generator=generator).sort(-1).values
    bright, dark = 2304 + 1536 * ordered[..., 3], 128 + 1664 * ordered[..., 1]
    levels = torch.where(patterns()[labels], bright, dark).round().view(count, 1, SQUARES, SQUARES)
    scale = SIDE // SQUARES
    values = levels.repeat_interleave(scale, 2).repeat_interleave(scale, 3).mul(2 / WINDOW[1]).sub(1)
    return Examples(values, labels)


def rules(pictures: Tensor) -> dict[str, float]:
    """What pictures (n, 1, 32, 32) in [-1, 1] keep of the rules, each read as the class that it is nearest to.

    ``rule_kept``: share of pictures with all 256 squares as in that class. ``wrong_squares``: of a picture, on average.
    ``forbidden``: bright ones among squares that never are. ``prevalence_tv``: total variation between how often
    classes are read and drawn.
    """
    bright = patterns()
    read = torch.nn.functional.avg_pool2d(pictures, SIDE // SQUARES).flatten(1) > 2 * DIVIDE / WINDOW[1] - 1
    wrong, nearest = (read[:, None] != bright).sum(-1).min(1)
    often = torch.bincount(nearest, minlength=len(NAMES)) / len(pictures)
    return {
        "rule_kept": float((wrong == 0).double().mean()),
        "wrong_squares": float(wrong.double().mean()),
        "forbidden": float(read[:, ~bright.any(0)].double().mean()),
        "prevalence_tv": float((often - 1 / len(NAMES)).abs().sum() / 2),
    }
