"""Several objectives: who dominates whom. Costs are turned so that less is better."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from orchestrator.search.ranking import Key, Ranking


class Fronts(Ranking):
    """Numbers by the costs of several objectives: those that none dominates, then those that only these dominate, and
    so on; within a front the loneliest first, then by number (NSGA-II, Deb et al. 2002). Sorted when it is asked.
    """

    def put(self, number: int, key: Key | None) -> None:
        if key != self._keys.get(number):
            self._keys.pop(number, None)
            if key is not None:
                self._keys[number] = key
            self._order = []

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, place: int) -> int:
        if not self._order:
            self._order = self._sorted()
        return super().__getitem__(place)

    def _sorted(self) -> list[Key]:
        numbers = sorted(self._keys)
        costs = np.array([self._keys[number] for number in numbers], dtype=float)
        return [
            (numbers[i],) for front in fronts(costs) for i in front[np.argsort(-_room(costs[front]), kind="stable")]
        ]


def first_front(costs: Mapping[int, Key]) -> list[int]:
    """Numbers that none dominates, by the first of their costs."""
    numbers = sorted(costs, key=lambda number: costs[number])
    return [numbers[i] for i in next(iter(fronts(np.array([costs[n] for n in numbers]))), ())] if numbers else []


def fronts(costs: NDArray[np.float64]) -> list[NDArray[np.int64]]:
    """Rows of ``costs`` (rows, objectives), by front."""
    rows = costs[:, None]
    ahead: NDArray[np.bool_] = np.all(rows <= costs, axis=-1) & np.any(rows < costs, axis=-1)  # [i, j]: i dominates j
    left, found = np.arange(len(costs)), []
    while len(left):
        dominated = np.any(ahead[np.ix_(left, left)], axis=0)
        found.append(left[~dominated])
        left = left[dominated]
    return found


def _room(costs: NDArray[np.float64]) -> NDArray[np.float64]:
    """The crowding distance of each row: how far apart its neighbours are, summed over the objectives."""
    room = np.zeros(len(costs))
    for column in costs.T:
        order = np.argsort(column, kind="stable")
        values = column[order]
        gaps = np.zeros(len(costs))
        gaps[[0, -1]] = np.inf
        if values[0] < values[-1] < np.inf:
            gaps[1:-1] = (values[2:] - values[:-2]) / (values[-1] - values[0])
        room[order] += gaps
    return room
