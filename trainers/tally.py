"""Means and counts over steps, kept on the device, so that no step waits for a number."""

from __future__ import annotations

import torch
from torch import Tensor

from trainers.world import World


class Tally:
    """Sums of named scalars since the last ``read``."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._steps: dict[str, int] = {}

    def mean(self, **values: Tensor) -> None:
        """Adds one step's values to those whose mean is wanted."""
        for name, value in values.items():
            self._steps[name] = self._steps.get(name, 0) + 1
            self._add(name, value)

    def count(self, **events: Tensor) -> None:
        """Adds one step's events (booleans or numbers) to those whose sum is wanted."""
        for name, value in events.items():
            self._steps[name] = 1
            self._add(name, value)

    def read(self, world: World) -> dict[str, float]:
        """Means over steps and ranks, and counts, the same on every rank; starts anew. Here the host waits for the
        device.
        """
        if not self._sums:
            return {}
        totals = world.mean(torch.stack(list(self._sums.values()))).tolist()
        values = {name: total / self._steps[name] for name, total in zip(self._sums, totals, strict=True)}
        self._sums, self._steps = {}, {}
        return values

    def peek(self, name: str) -> float:
        """A count so far, on this rank; 0 where there is none."""
        return float(self._sums.get(name, 0.0))

    def _add(self, name: str, value: Tensor) -> None:
        if name in self._sums:
            self._sums[name].add_(value)
        else:
            self._sums[name] = value.detach().float().clone()
