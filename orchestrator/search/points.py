"""Which points of the space were tried: the same settings with the same seed would train to the same bits again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from orchestrator.spec import Sweep


class Points:
    """What was tried, and what is left of a space that has an end."""

    def __init__(self, sweep: Sweep, tried: Iterable[Mapping[str, Any]]) -> None:
        self._sweep = sweep
        self._tried = {_point(params) for params in tried}
        self._ahead = sweep.search.points()
        self._next: dict[str, Any] | None = None

    def add(self, params: Mapping[str, Any]) -> None:
        """It is tried now."""
        self._tried.add(_point(params))

    def has(self, params: Mapping[str, Any]) -> bool:
        """Whether it was tried."""
        return _point(params) in self._tried

    def left(self) -> Iterator[dict[str, Any]]:
        """The points of a finite space that were not tried; nothing where there is no end of them."""
        return (point for point in self._sweep.search.points() or () if not self.has(point))

    def any_left(self) -> bool:
        """Whether there is one that was not tried. What was tried stays so: one way through all points answers every
        such question.
        """
        if self._ahead is None:
            return True
        while self._next is None or self.has(self._next):
            self._next = next(self._ahead, None)
            if self._next is None:
                return False
        return True


def _point(params: Mapping[str, Any]) -> str:
    """Equal for equal settings, in whatever order they were asked for, and by whatever sum a step was reached."""
    return repr(sorted((name, f"{v:.12g}" if isinstance(v, float) else v) for name, v in params.items()))
