"""The sweep file's space as Optuna distributions, with conditional parameters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from orchestrator.spec import Dimension, Sweep


def suggest(trial: optuna.Trial, sweep: Sweep) -> dict[str, Any]:
    """Ask ``trial`` for every parameter that is active; parents are asked before the parameters they switch on."""
    params: dict[str, Any] = {}
    for name, dimension in _parents_first(sweep.search.space):
        if all(params.get(other) in values for other, values in dimension.when.items()):
            params[name] = _ask(trial, name, dimension)
    return params


def distribution(dimension: Dimension) -> BaseDistribution:
    if dimension.choice is not None:
        return CategoricalDistribution(dimension.choice)
    if dimension.int_ is not None:
        return IntDistribution(*dimension.int_, log=dimension.log)
    low, high = dimension.float_ or (0.0, 1.0)
    return FloatDistribution(low, high, log=dimension.log)


def _ask(trial: optuna.Trial, name: str, dimension: Dimension) -> Any:
    if dimension.choice is not None:
        return trial.suggest_categorical(name, dimension.choice)
    if dimension.int_ is not None:
        return trial.suggest_int(name, *dimension.int_, log=dimension.log)
    low, high = dimension.float_ or (0.0, 1.0)
    return trial.suggest_float(name, low, high, log=dimension.log)


def _parents_first(space: dict[str, Dimension]) -> Iterator[tuple[str, Dimension]]:
    left = dict(space)
    while left:
        ready = [name for name, dimension in left.items() if not dimension.when.keys() & left.keys()]
        for name in ready:
            yield name, left.pop(name)
