"""The sweep file's space as Optuna distributions, with conditional parameters.

Optuna keeps a choice as null, bool, number or text; a list goes there as its JSON, and nobody outside this file sees
that.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from orchestrator.dimension import Dimension
from orchestrator.spec import Sweep


def suggest(trial: optuna.Trial, sweep: Sweep) -> dict[str, Any]:
    """Ask ``trial`` for every parameter that is active; parents are asked before the parameters they switch on."""
    params: dict[str, Any] = {}
    for name, dimension in _parents_first(sweep.search.space):
        if all(params.get(other) in values for other, values in dimension.when.items()):
            params[name] = _ask(trial, name, dimension)
    return params


def distribution(dimension: Dimension) -> BaseDistribution:
    if dimension.choice is not None:
        return CategoricalDistribution(tuple(map(_kept, dimension.choice)))
    low, high = dimension.ends
    if dimension.int_ is not None:
        return IntDistribution(int(low), int(high), log=dimension.log, step=int(dimension.step or 1))
    return FloatDistribution(low, high, log=dimension.log, step=dimension.step)


def kept(params: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a trial as Optuna keeps them."""
    return {name: _kept(value) for name, value in params.items()}


def unkept(params: Mapping[str, Any], sweep: Sweep) -> dict[str, Any]:
    """Settings of a trial from what Optuna keeps: the reverse of ``kept``."""
    return {name: _unkept(value, sweep.search.space.get(name)) for name, value in params.items()}


def _kept(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | tuple) else value


def _unkept(value: Any, dimension: Dimension | None) -> Any:
    if not isinstance(value, str) or dimension is None:
        return value
    return next((choice for choice in dimension.choice or () if _kept(choice) == value), value)


def _ask(trial: optuna.Trial, name: str, dimension: Dimension) -> Any:
    match distribution(dimension):
        case CategoricalDistribution(choices=choices):
            return _unkept(trial.suggest_categorical(name, choices), dimension)
        case IntDistribution(low=low, high=high, step=step, log=log):
            return trial.suggest_int(name, low, high, step=step, log=log)
        case FloatDistribution(low=low, high=high, step=step, log=log):
            return trial.suggest_float(name, low, high, step=step, log=log)


def _parents_first(space: dict[str, Dimension]) -> Iterator[tuple[str, Dimension]]:
    left = dict(space)
    while left:
        ready = [name for name, dimension in left.items() if not dimension.when.keys() & left.keys()]
        for name in ready:
            yield name, left.pop(name)
