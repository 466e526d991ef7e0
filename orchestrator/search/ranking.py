"""Trials in order, kept up as they change: a decision among ten thousand must not sort them all."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Mapping
from typing import Any

from orchestrator.settings.groups import Objective

Key = tuple[Any, ...]


class Ranking:
    """Numbers by their keys, least first; equal keys by number."""

    def __init__(self) -> None:
        self._keys: dict[int, Key] = {}
        self._order: list[Key] = []

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, place: int) -> int:
        """The number at ``place``, from 0."""
        number: int = self._order[place][-1]
        return number

    def put(self, number: int, key: Key | None) -> None:
        """Where it belongs now; None takes it out."""
        entry = None if key is None else (*key, number)
        before = self._keys.pop(number, None)
        if before is not None and before != entry:
            del self._order[bisect_left(self._order, before)]
        if entry is not None:
            self._keys[number] = entry
            if before != entry:
                insort(self._order, entry)


def ranking(objective: Objective) -> Ranking:
    """For costs of the objective, or of several."""
    if len(objective.goals) == 1:
        return Ranking()
    from orchestrator.search.pareto import Fronts  # brings NumPy

    return Fronts()


def in_order(objective: Objective, costs: Mapping[int, Key]) -> list[int]:
    """Numbers by their costs, the best first."""
    found = ranking(objective)
    for number, key in costs.items():
        found.put(number, key)
    return [found[place] for place in range(len(found))]
