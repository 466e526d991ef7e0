"""A data set in a few lines, for whoever is about to train on it."""

from __future__ import annotations

import torch

from trainers.data.dataset import Dataset
from trainers.data.picture import different

LOOK = 256
"""Rows that are looked at of a set which is read as it is needed."""
NAMED = 8  # classes that are named one by one; of more, the first


def describe(data: Dataset) -> list[str]:
    """What was loaded: how many examples of which shape, the classes with their counts, then what was skipped."""
    shape = "x".join(map(str, data.space.shape))
    what = f"{'images' if data.space.is_image else 'clips' if data.space.is_clip else 'points'} of shape {shape}"
    if data.space.alphabet:
        what = f"texts of up to {data.space.shape[0] - 1} of {len(data.space.alphabet)} characters"
    line = f"{data.name}: {len(data):,} {what} to train on, {len(data.test):,} held out; "
    source = [f"source: {told}" for told in describe(data.source)] if data.source else []
    return [line + _classes(data), *data.notes, *_look(data), *data.found(), *source]


def _look(data: Dataset) -> list[str]:
    """Of a set that nobody has read yet, whether its first pictures repeat each other."""
    if data.digest is None:
        return []
    first = data.train[torch.arange(min(LOOK, len(data)))].values
    count = different(first.cpu().numpy())
    return [f"only {count:,} of the first {len(first):,} pictures are different"] if count < len(first) / 2 else []


def _classes(data: Dataset) -> str:
    if data.space.columns:
        return f"conditions: {'; '.join(column.told for column in data.space.columns)}"
    counts = data.train.label_counts
    if counts is None:
        return "no labels"
    classes = data.space.classes
    each = [*counts.tolist(), *[0] * (classes - len(counts))]  # the last classes may have no example
    names = data.space.names or tuple(map(str, range(classes)))
    told = [f"{name} ({count:,})" for name, count in zip(names[:NAMED], each, strict=False)]
    empty = each.count(0)
    return f"{classes:,} classes: {', '.join(told)}{', …' if classes > NAMED else ''}" + (
        f"; {empty} of them without an example" if empty else ""
    )
