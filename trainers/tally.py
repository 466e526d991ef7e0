"""Means over steps, kept on the device, so that no step waits for a number."""

from __future__ import annotations

import torch
from torch import Tensor

from trainers.world import World

BROKEN = "nonfinite"
"""The name under which ``Tally.read`` gives the number of steps with a value that was NaN or infinite."""


class Tally:
    """Sums of named scalars since the last ``read``."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, ...], Tensor] = {}
        self._steps: dict[tuple[str, ...], int] = {}
        self._broken: Tensor | None = None

    def __contains__(self, name: str) -> bool:
        return any(name in names for names in self._sums)

    def add(self, values: dict[str, Tensor]) -> None:
        """One step's values; not every step need bring the same names."""
        names, row = tuple(values), torch.stack(list(values.values()))
        broken = row.isfinite().all().logical_not().float()
        self._broken = broken if self._broken is None else self._broken.add_(broken)
        self._sums[names] = self._sums[names].add_(row) if names in self._sums else row
        self._steps[names] = self._steps.get(names, 0) + 1

    def read(self, world: World) -> dict[str, float]:
        """Means over steps and ranks, and the number of broken steps, the same on every rank; starts anew.

        Here the host waits for the device.
        """
        if self._broken is None:
            return {}
        *totals, broken = world.mean(torch.cat([*self._sums.values(), self._broken.view(1)])).tolist()
        steps: dict[str, int] = {}
        sums: dict[str, float] = {}
        each = ((name, count) for names, count in self._steps.items() for name in names)
        for (name, count), total in zip(each, totals, strict=True):
            steps[name], sums[name] = steps.get(name, 0) + count, sums.get(name, 0.0) + total
        self.__init__()  # type: ignore[misc]
        return {**{name: total / steps[name] for name, total in sums.items()}, BROKEN: broken}

    def broken(self) -> bool:
        """Whether any step since the last ``read`` was, on this rank."""
        return self._broken is not None and bool(self._broken > 0)
