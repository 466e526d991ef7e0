"""One searched setting: the values that it may take, and when it exists."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from trainers.config import Settings


def _value(given: Any) -> Any:
    """What a setting may be: lists become tuples, so that values can be compared and hashed."""
    if isinstance(given, list | tuple):
        return tuple(map(_value, given))
    if given is None or isinstance(given, bool | int | float | str):
        return given
    raise ValueError(f"{given!r} is no value of a setting: give a number, text, true, false, null or a list of these")


Value = Annotated[Any, BeforeValidator(_value)]


class Dimension(Settings):
    """One searched setting: a ``float`` or ``int`` interval (``log``, or in whole steps of ``step`` from its low end),
    or a ``choice``; ``when`` makes it conditional.
    """

    float_: tuple[float, float] | None = Field(default=None, alias="float")
    int_: tuple[int, int] | None = Field(default=None, alias="int")
    choice: tuple[Value, ...] | None = None
    log: bool = False
    step: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    when: dict[str, tuple[Value, ...]] = Field(default={})

    @model_validator(mode="after")
    def _one_kind(self) -> Dimension:
        kinds = [k for k in (self.float_, self.int_, self.choice) if k is not None]
        if len(kinds) != 1:
            raise ValueError("give exactly one of float: [low, high], int: [low, high] or choice: [a, b, …]")
        if self.choice is not None:
            if not self.choice or len(set(map(repr, self.choice))) < len(self.choice):
                raise ValueError("choice needs at least one value, each once")
            if self.log or self.step:
                raise ValueError(f"{'log' if self.log else 'step'} has no meaning for a choice")
        else:
            self._check_interval(*(self.float_ or self.int_ or (0, 0)))
        return self

    def _check_interval(self, low: float, high: float) -> None:
        if not low < high:
            raise ValueError(f"the interval [{low}, {high}] is empty: low must be under high")
        if self.log and low <= 0:
            raise ValueError(f"a log interval must start above 0, not at {low}")
        if self.step is None:
            return
        if self.log:
            raise ValueError("log and step can't go together; write the values as a choice")
        if self.int_ and self.step % 1:
            raise ValueError(f"step {self.step:g} of an int interval must be a whole number")
        if self.step > high - low:
            raise ValueError(f"step {self.step:g} is wider than the interval [{low}, {high}]")

    @property
    def ends(self) -> tuple[float, float]:
        """The lowest and the highest value of an interval."""
        low, high = self.float_ or self.int_ or (0, 0)
        if self.step is None:
            return low, high
        highest = low + self.step * math.floor((high - low) / self.step + 1e-9)
        return (low, int(highest)) if self.int_ else (low, highest)

    @property
    def values(self) -> Sequence[Any] | None:
        """All there are; None for an interval without steps."""
        if self.int_:
            return range(self.int_[0], self.int_[1] + 1, int(self.step or 1))
        if self.step is None:
            return self.choice
        low, high = self.ends
        return [low + self.step * i for i in range(round((high - low) / self.step) + 1)]

    @property
    def corners(self) -> tuple[Any, ...]:
        """The values at which validity is tried: all choices, or both ends."""
        return self.choice or self.ends

    def holds(self, value: Any) -> bool:
        """Whether ``value`` is one that the setting may take."""
        if self.choice is not None:
            return value in self.choice
        low, high = self.ends
        if isinstance(value, bool) or not isinstance(value, int | float if self.float_ else int):
            return False
        steps = (value - low) / self.step if self.step else 0.0
        return low <= value <= high and abs(steps - round(steps)) < 1e-8


def ancestors(space: dict[str, Dimension], name: str, seen: frozenset[str] = frozenset()) -> frozenset[str]:
    """Every parameter whose value decides whether ``name`` is active."""
    for other in space[name].when if name in space else ():
        if other not in seen:
            seen = ancestors(space, other, seen | {other})
    return seen


FIXED = ("train.batch_size", "train.packing")
"""Settings of training on which a checkpoint's clock and shapes depend."""


def changing(space: Mapping[str, Dimension]) -> frozenset[str]:
    """Settings that may change while a training runs: intervals that shape no network."""
    return frozenset(
        name
        for name, dimension in space.items()
        if dimension.choice is None and not name.startswith("model.") and name not in FIXED
    )


def inside(space: Mapping[str, Dimension], params: Mapping[str, Any]) -> bool:
    """Whether settings are a point of ``space``: values that it holds, of just those that its conditions switch on."""
    active = {
        name
        for name, dimension in space.items()
        if all(other in params and params[other] in values for other, values in dimension.when.items())
    }
    return params.keys() == active and all(space[name].holds(value) for name, value in params.items())


def extended(
    points: Iterator[dict[str, Any]], name: str, dimension: Dimension, tried: Sequence[Any]
) -> Iterator[dict[str, Any]]:
    """Each of ``points`` with every ``tried`` value of one more setting, where that is active."""
    for point in points:
        if all(point.get(other) in values for other, values in dimension.when.items()):
            yield from (point | {name: value} for value in tried)
        else:
            yield point
