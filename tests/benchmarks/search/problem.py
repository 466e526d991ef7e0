"""What a replayed search is about: settings, the curves that trainings with them give, and what they are worth."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from optuna._transform import _SearchSpaceTransform

from orchestrator.search.kept import kept
from orchestrator.search.samplers import middle
from orchestrator.search.space import searched
from orchestrator.spec import Sweep

Params = dict[str, Any]

BEST = 0.02
"""The share of all settings that a search is to find one of."""
RISK = 0.2
"""Settings of which more trainings than this share fail are not among the best, whatever their scores."""


class Curve(NamedTuple):
    """A training to its end: measures and verdict of each evaluation, and how long one evaluation takes to reach, in
    whole trainings of average pace.
    """

    metrics: list[dict[str, float]]
    verdicts: list[str]
    pace: float


class Worth(NamedTuple):
    """What settings are really worth: the log of their score without luck (less is better), and the share of trainings
    that fail.
    """

    value: float
    risk: float

    @property
    def cost(self) -> float:
        """Infinite for settings that are not stable."""
        return self.value if self.risk <= RISK else math.inf


class Goal(NamedTuple):
    """The ``best`` that there is, and how much the best 2 % cost at most."""

    best: float
    enough: float

    @classmethod
    def among(cls, costs: NDArray[np.float64]) -> Goal:
        """Settings with these costs, drawn at random."""
        return cls(float(costs.min()), float(np.sort(costs)[max(0, math.ceil(BEST * len(costs)) - 1)]))


class Problem(Protocol):
    """One task to search on; its trainings are the same for every method."""

    sweep: Sweep
    goal: Goal

    def taken(self, params: Params) -> Params:
        """The settings that are trained where ``params`` are proposed."""

    def curve(self, params: Params, number: int, seed: int | None) -> Curve:
        """The training of trial ``number`` by the search, or on a fresh ``seed``."""

    def worth(self, params: Params) -> Worth:
        """Of settings that were ``taken``."""


class Coordinates:
    """Settings as points of a cube, choices as one axis each; what a conditional setting lacks is its middle."""

    def __init__(self, sweep: Sweep) -> None:
        space = searched(sweep)
        self._absent = middle(space)
        self._transform = _SearchSpaceTransform(space, transform_0_1=True)

    def __call__(self, params: Mapping[str, Any]) -> NDArray[np.float64]:
        point: NDArray[np.float64] = self._transform.transform(self._absent | kept(dict(params)))
        return point
