"""A data set in a few lines, for whoever is about to train on it."""

from __future__ import annotations

from trainers.data.dataset import Dataset

NAMED = 8  # classes that are named one by one; of more, the first


def describe(data: Dataset) -> list[str]:
    """What was loaded: how many examples of which shape, the classes with their counts, then what was skipped."""
    shape = "x".join(map(str, data.space.shape))
    what = "images" if data.space.is_image else "points"
    line = f"{data.name}: {len(data):,} {what} of shape {shape} to train on, {len(data.test):,} held out; "
    return [line + _classes(data), *data.notes]


def _classes(data: Dataset) -> str:
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
