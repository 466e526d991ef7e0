"""The score over the two settings that matter most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.search.importance import Measured
from orchestrator.settings.dimension import Dimension
from orchestrator.spec import Sweep

CELLS = 24
"""Along each axis of an interval."""
REACH = 0.08
"""Width of the kernel, as a share of an axis: what is farther than three of it from every trial stays blank."""


def landscape(sweep: Sweep, measured: Measured, names: Sequence[str]) -> dict[str, Any] | None:
    """``{"x", "y", "points", "cells"}``: the scores of the trials that have both settings as points in the unit square,
    and their mean, weighted by distance, over a grid of it, rows from the bottom, null where there is nothing near.
    Categories stand at the middles of equal parts. None where there are not two settings that matter.
    """
    having = [(params, score) for params, score in measured if all(name in params for name in names)]
    if len(names) < 2 or not having:
        return None
    first, second = (sweep.search.space[name] for name in names)
    at = np.array([[place(first, p[names[0]]), place(second, p[names[1]])] for p, _ in having])
    scores = np.array([score for _, score in having])
    columns, rows = _centres(first), _centres(second)
    grid = np.array([[x, y] for y in rows for x in columns])
    values = _smooth(grid, at, scores).reshape(len(rows), len(columns))
    return {
        "x": names[0],
        "y": names[1],
        "points": [[float(x), float(y), float(s)] for (x, y), s in zip(at, scores, strict=True)],
        "cells": [[None if np.isnan(v) else float(v) for v in row] for row in values],
    }


def place(dimension: Dimension, value: Any) -> float:
    """Where a value lies on its axis, from 0 to 1."""
    if dimension.choice is not None:
        return (list(dimension.choice).index(value) + 0.5) / len(dimension.choice)
    low, high = dimension.ends
    if dimension.log:
        return float(np.log(value / low) / np.log(high / low))
    return float((value - low) / (high - low))


def _centres(dimension: Dimension) -> list[float]:
    count = len(dimension.choice) if dimension.choice is not None else CELLS
    return [(i + 0.5) / count for i in range(count)]


def _smooth(grid: NDArray[np.float64], at: NDArray[np.float64], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """The kernel regression of the ranks' own scores; (cells,)."""
    distance = ((grid[:, None] - at[None]) ** 2).sum(-1) / REACH**2
    weight = np.exp(-distance / 2)
    total = weight.sum(1)
    near = distance.min(1) <= 9
    return np.where(near, weight @ scores / np.maximum(total, 1e-300), np.nan)
