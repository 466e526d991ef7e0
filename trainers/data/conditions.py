"""What examples are labelled with: columns of classes and of numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trainers.errors import DataError


@dataclass(frozen=True)
class Column:
    """One of several conditions of an example: one of the classes ``names``, or without these a number from ``low`` to
    ``high``, of which ``period`` says after how much it comes round (0: never).
    """

    name: str
    names: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 1.0
    period: float = 0.0

    @property
    def told(self) -> str:
        """In a few words."""
        if self.names:
            return f"{self.name} ({', '.join(self.names)})"
        return f"{self.name} ({self.low:g} to {self.high:g}{', around' if self.period else ''})"


def columns(
    values: Mapping[str, Sequence[str] | Tensor], period: Mapping[str, float] | None = None
) -> tuple[Tensor, tuple[Column, ...]]:
    """Labels (n, columns) float32, and what they mean, of ``values`` by name: texts are classes, numbers are numbers.

    Raises DataError where columns are of unequal length, hold nothing, a number that is not finite, or one number only.
    """
    lengths = {name: len(column) for name, column in values.items()}
    if len(set(lengths.values())) != 1:
        told = ", ".join(f"{name} has {count:,}" for name, count in lengths.items())
        raise DataError(f"label columns are of unequal length ({told}); each needs a value for every example")
    made = {name: _column(name, column, (period or {}).get(name, 0.0)) for name, column in values.items()}
    return torch.stack([numbers for numbers, _ in made.values()], 1), tuple(column for _, column in made.values())


def _column(name: str, values: Sequence[str] | Tensor, period: float) -> tuple[Tensor, Column]:
    if not len(values):
        raise DataError(f"label column {name!r} is empty")
    if not isinstance(values, Tensor):
        names = tuple(sorted(set(values)))
        numbers = {each: float(number) for number, each in enumerate(names)}
        return torch.tensor([numbers[value] for value in values]), Column(name, names)
    if not values.isfinite().all():
        raise DataError(f"label column {name!r} holds a value that is not finite; give every example a number")
    if values.min() == values.max():
        message = f"is {float(values[0]):g} for every example: nothing can be learned of it; leave the column out"
        raise DataError(f"label column {name!r} {message}")
    return values.float(), Column(name, low=float(values.min()), high=float(values.max()), period=period)


def require_fit(labels: Tensor, examples: int, conditions: Sequence[Column], whose: str) -> None:
    """Raises DataError where labels are not a number of each condition for each of so many examples."""
    table = labels.view(len(labels), -1)
    if len(table) != examples or table.shape[1] != len(conditions):
        names = ", ".join(column.name for column in conditions)
        message = f"labels of shape {tuple(labels.shape)} for {examples:,} examples with conditions {names}"
        raise DataError(f"{whose} has {message}; give each example one of each")
    for column, values in zip(conditions, table.unbind(1), strict=True):
        last = len(column.names) - 1
        if column.names and examples and not 0 <= values.min() <= values.max() <= last:
            found = f"{values.min():g} to {values.max():g}"
            raise DataError(f"{whose} has {column.name} from {found}; its {last + 1} classes are 0 to {last}")


def mismatched(labels: Tensor, conditions: Sequence[Column], chances: Tensor) -> Tensor:
    """Labels, each wrong in one condition. Of ``chances`` (n, 2), uniform in [0, 1), the first says in which, the other
    what stands there: another class, or any number from low to high.
    """
    chosen, found = (chances[:, 0] * len(conditions)).long(), []
    for place, (column, values) in enumerate(zip(conditions, labels.view(len(labels), -1).unbind(1), strict=True)):
        if classes := len(column.names):
            other = (values + 1 + (chances[:, 1] * (classes - 1)).to(torch.int64)) % classes
        else:
            other = column.low + chances[:, 1] * (column.high - column.low)
        found.append(torch.where(chosen == place, other, values))
    return torch.stack(found, 1).view_as(labels)


def kinds(labels: Tensor, conditions: Sequence[Column]) -> Tensor | None:
    """The class (n,), or the combination of classes, of each label; None where there are only numbers."""
    if labels.ndim == 1:
        return labels
    found, some = torch.zeros(len(labels), dtype=torch.int64), False
    for column, values in zip(conditions, labels.unbind(1), strict=True):
        if column.names:
            found, some = found * len(column.names) + values.long(), True
    return found if some else None


def balanced(labels: Tensor | None, conditions: Sequence[Column]) -> list[Tensor] | None:
    """Rows of each kind that there is."""
    found = None if labels is None else kinds(labels, conditions)
    return None if found is None else [torch.nonzero(found == kind).flatten() for kind in torch.unique(found)]
