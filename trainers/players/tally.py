"""Means over steps, kept on the device, so that no step waits for a number."""

from __future__ import annotations

import torch
from torch import Tensor

from trainers.world import World

WATCHED_STEPS = 47
"""Losses and signals are looked at every so many steps, and in the first after a report: looking at every step of a
small network costs a twentieth of it. A prime, so that lazy penalties do not always fall between.
"""
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

    def packed(self, world: World) -> tuple[dict[str, Tensor], list[tuple[tuple[str, ...], int]]]:
        """All of it, to go on from elsewhere with as many ranks: sums as rows of ranks, and names and numbers of steps.
        Called on every rank.
        """
        if self._broken is None:
            return {}, []
        sums = {str(i): world.all_gather(row.unsqueeze(0)) for i, row in enumerate(self._sums.values())}
        sums["broken"] = world.all_gather(self._broken.view(1))
        return sums, list(self._steps.items())

    def unpack(self, tensors: dict[str, Tensor], steps: list[tuple[list[str], int]], world: World) -> None:
        """This rank's part of what ``packed`` gave; of another number of ranks, the mean, which ``read`` gives too."""
        if not steps:
            return
        whole = {name: rows.to(world.device) for name, rows in tensors.items()}
        same = len(whole["broken"]) == world.size
        mine = {name: (rows[world.rank] if same else rows.mean(0)).clone() for name, rows in whole.items()}
        self._broken = mine.pop("broken")
        self._steps = {tuple(names): count for names, count in steps}
        self._sums = {names: mine[str(i)] for i, names in enumerate(self._steps)}

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
