"""scikit-learn's 1,797 real handwritten digits, 8x8, 16 grey levels (Alpaydin and Kaynak 1998); no download."""

from __future__ import annotations

import torch

from trainers.config import Data
from trainers.data.dataset import Dataset, Examples, Space
from trainers.randomness import stream

TEST_SHARE = 5  # every fifth digit of a fixed shuffle is held out


def digits(settings: Data) -> Dataset:
    """1,437 training and 360 test digits; ``resolution`` is 8, values are multiples of 1/8 in [-1, 1], labels 0..9."""
    return Dataset("digits", Space((1, 8, 8), classes=10), *split_digits())


def split_digits() -> tuple[Examples, Examples]:
    """Training and test digits: values float32 (n, 1, 8, 8) in [-1, 1], labels int64."""
    from sklearn.datasets import load_digits  # a quarter of all that a rank imports

    bunch = load_digits()
    values = torch.from_numpy(bunch.images).float().div(8).sub(1).unsqueeze(1)
    everything = Examples(values, torch.from_numpy(bunch.target).long())
    order = torch.randperm(len(values), generator=stream("digits"))
    is_test = torch.arange(len(order)) % TEST_SHARE == 0
    return everything[order[~is_test]], everything[order[is_test]]
