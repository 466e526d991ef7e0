"""The sweep file's space as Optuna distributions, with conditional parameters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import BaseTrial

from orchestrator.search.kept import kept_value, unkept_value
from orchestrator.settings.dimension import Dimension
from orchestrator.spec import Sweep


def suggest(trial: BaseTrial, sweep: Sweep) -> dict[str, Any]:
    """Ask ``trial`` for every parameter that is active; parents are asked before the parameters they switch on."""
    params: dict[str, Any] = {}
    for name, dimension in _parents_first(sweep.search.space):
        if all(params.get(other) in values for other, values in dimension.when.items()):
            params[name] = _ask(trial, name, dimension)
    return params


def searched(sweep: Sweep) -> dict[str, BaseDistribution]:
    """All settings that can differ, whether their conditions hold or not."""
    space = {name: distribution(dimension) for name, dimension in sorted(sweep.search.space.items())}
    return {name: kind for name, kind in space.items() if not kind.single()}


def distribution(dimension: Dimension) -> BaseDistribution:
    if dimension.choice is not None:
        return CategoricalDistribution(tuple(map(kept_value, dimension.choice)))
    low, high = dimension.ends
    if dimension.int_ is not None:
        return IntDistribution(int(low), int(high), log=dimension.log, step=int(dimension.step or 1))
    return FloatDistribution(low, high, log=dimension.log, step=dimension.step)


def _ask(trial: BaseTrial, name: str, dimension: Dimension) -> Any:
    match distribution(dimension):
        case CategoricalDistribution(choices=choices):
            return unkept_value(trial.suggest_categorical(name, choices), dimension)
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
