"""Stacked digits: three real digits as the colours of one image, so that 1,000 modes are known by their labels.

The 8x8 stand-in for Stacked MNIST (Metz 2017, section 3.3.1): no download, and the test digits are other people's.
"""

from __future__ import annotations

import torch

from trainers.config import Data
from trainers.data.dataset import Dataset, Examples, Space
from trainers.data.digits import split_digits
from trainers.randomness import stream

TRAIN, TEST = 128_000, 26_000  # the sizes of the published protocol (Lin 2018, section 4.2)


def stacked_digits(settings: Data) -> Dataset:
    """uint8 (n, 3, 8, 8); label 100 a + 10 b + c. Training and test images share no underlying digit."""
    train, test = split_digits()
    space = Space((3, 8, 8), classes=1000)
    return Dataset("stacked-digits", space, _stack(train, TRAIN, "train"), _stack(test, TEST, "test"))


def _stack(singles: Examples, count: int, split: str) -> Examples:
    chosen = torch.randint(len(singles), (count, 3), generator=stream("stacked-digits", split))
    levels = (singles.values[:, 0] + 1).mul(127.5).round().to(torch.uint8)
    assert singles.labels is not None
    labels = singles.labels[chosen] @ torch.tensor([100, 10, 1])
    return Examples(levels[chosen], labels)
