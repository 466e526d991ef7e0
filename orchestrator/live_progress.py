"""How far trainings are between two reports, as their workers tell every few seconds."""

from __future__ import annotations

import time
from collections.abc import Mapping

from orchestrator.paths import RunKey


class LiveProgress:
    """Images and images/s of what trains now, since its last report."""

    def __init__(self) -> None:
        self._first: dict[RunKey, tuple[int, float]] = {}
        self._now: dict[RunKey, tuple[int, float]] = {}

    def take(self, images: Mapping[RunKey, int]) -> None:
        """What the workers say now."""
        now = time.monotonic()
        for run, shown in images.items():
            self._first.setdefault(run, (shown, now))
            if shown != self._now.get(run, (0, 0.0))[0]:
                self._now[run] = shown, now

    def forget(self, run: RunKey) -> None:
        """A report has come, or the leg is over: the ledger knows better."""
        self._first.pop(run, None)
        self._now.pop(run, None)

    def images(self, run: RunKey, known: int) -> int:
        """Shown so far, where the last report was at ``known``."""
        return max(known, self._now.get(run, (0, 0.0))[0])

    def speed(self, run: RunKey) -> float | None:
        """Images/s; None before two different counts were heard."""
        if run not in self._now or self._now[run] == self._first[run]:
            return None
        (before, since), (images, now) = self._first[run], self._now[run]
        return (images - before) / (now - since)
