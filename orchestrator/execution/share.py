"""Several sweeps on one cluster: each driver says that it has work, and takes its share of the places that there are.

Nobody is asked and nothing is locked: all compute the same from what they read. A gang is placed as a whole or not at
all, so no two can wait for each other's half.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping

from orchestrator.execution import gcs

TURN = 60.0
"""Seconds after which places that can't be divided go to another sweep."""
SILENCE = 15.0
"""Seconds without a word after which a sweep counts as gone."""
GOLDEN = (math.sqrt(5) - 1) / 2


class Share:
    """Of the sweep ``name``, in proportion to its ``priority``."""

    def __init__(self, name: str, priority: float) -> None:
        self._name, self._priority = name, priority

    def of(self, places: int, has_work: bool) -> int:
        """How many of ``places`` are ours at this moment. A sweep without work to hand out leaves its share to others,
        until it has some again.
        """
        now = time.time()
        if has_work:
            gcs.put(self._key, json.dumps([self._name, self._priority, now]).encode())
        else:
            self.leave()
        told = map(json.loads, gcs.read("sweeps/").values())
        priorities = {name: priority for name, priority, at in told if now - at < SILENCE}
        return shares(places, priorities | {self._name: self._priority}, int(now // TURN))[self._name]

    def leave(self) -> None:
        gcs.forget(self._key)

    @property
    def _key(self) -> str:
        return f"sweeps/{self._name}/"


def shares(places: int, priorities: Mapping[str, float], turn: int) -> dict[str, int]:
    """``places`` divided in whole numbers, at no turn more than one away from the exact share, and over many turns in
    proportion (systematic sampling, Madow 1944).
    """
    total, begin, found = sum(priorities.values()), turn * GOLDEN % 1, {}
    for name in sorted(priorities):
        end = begin + places * priorities[name] / total
        found[name] = math.floor(end + 1e-9) - math.floor(begin + 1e-9)
        begin = end
    return found
