"""Who watches a training on its way from report to report."""

from __future__ import annotations

from collections.abc import Sequence


class Watcher:
    """Is told by rank 0; says nothing by itself."""

    TICK = 0.5
    """Seconds between two calls of ``moved``, at the least."""

    def began(self, told: Sequence[str]) -> None:
        """Before the first step, where one is left: lines on what was loaded, what is trained on it, and where."""

    def moved(self, images: int, speed: float) -> None:
        """So many images were shown so far, and so many a second since the last report."""
