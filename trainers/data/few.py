"""Fewer labelled examples than a data set has, as if nobody could afford more."""

from __future__ import annotations

from dataclasses import replace

import torch

from trainers.data.dataset import Dataset, Examples
from trainers.errors import UnusableSettingError
from trainers.randomness import stream


def few(dataset: Dataset, per_class: int) -> Dataset:
    """The same with at most so many training examples of each class, always the same ones; what is held out stays.

    Raises UnusableSettingError where there are no classes, or not all examples are in memory.
    """
    train = dataset.train
    if not isinstance(train, Examples) or train.label_counts is None:
        raise UnusableSettingError("data.per_class: needs classes, of data that are held in memory; leave it out")
    assert train.labels is not None
    order = torch.randperm(len(train), generator=stream("few"))
    chosen = torch.cat([order[train.labels[order] == label][:per_class] for label in range(len(train.label_counts))])
    note = f"data.per_class: {len(chosen):,} of {len(train):,} training examples are used"
    return replace(dataset, train=train[chosen.sort().values], notes=(*dataset.notes, note))
