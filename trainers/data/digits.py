"""scikit-learn's 1,797 real handwritten digits, 8x8, 16 grey levels (Alpaydin and Kaynak 1998); no download."""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits

from trainers.config import Data
from trainers.data.dataset import Dataset, Examples, Space
from trainers.randomness import stream

TEST_SHARE = 5  # every fifth digit of a fixed shuffle is held out


def digits(settings: Data) -> Dataset:
    """1,437 training and 360 test digits; ``resolution`` is 8, values are multiples of 1/8 in [-1, 1], labels 0..9."""
    values, labels = digit_arrays()
    order = torch.randperm(len(values), generator=stream("digits"))
    test, train = order[::TEST_SHARE], order[torch.arange(len(order)) % TEST_SHARE > 0]
    everything = Examples(values, labels)
    return Dataset("digits", Space((1, 8, 8), classes=10), everything[train], everything[test])


def digit_arrays() -> tuple[torch.Tensor, torch.Tensor]:
    """All digits: float32 (1797, 1, 8, 8) in [-1, 1], and int64 labels."""
    bunch = load_digits()
    values = torch.from_numpy(bunch.images).float().div(8).sub(1).unsqueeze(1)
    return values, torch.from_numpy(bunch.target).long()
