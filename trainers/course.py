"""The course of a training's measures: what they were, how far the weights have come, and whether anything still gains.

Nothing here counts images as such. A window is the last half of the way so far, whatever its length, and effort is how
often the weights have moved by their own norm: both mean the same at every learning rate, batch size and budget.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple


class Scale(NamedTuple):
    """How a measure is read: its better direction, the factor that is a gain, and the value under which differences no
    longer count as changes.
    """

    sign: int
    gain: float
    least: float


MISFIT, MODES, COVERAGE = Scale(-1, 1 / 1.1, 0.5), Scale(1, 1.15, 0.5), Scale(1, 1.15, 0.2)
SCALES = {
    "misfit": MISFIT,
    "raw_misfit": MISFIT,
    "mode_diversity": MODES,
    "raw_mode_diversity": MODES,
    "diversity": MODES,
    "condition_diversity": MODES,
    "raw_condition_diversity": MODES,
    "coverage": COVERAGE,
}
WORDS = {
    "mode_diversity": "the number of modes",
    "diversity": "diversity",
    "condition_diversity": "the spread within one condition",
    "coverage": "coverage",
    "misfit": "the distance to the data",
}
LONG = 12.0
"""Effort of the generator after which a training is no longer young: healthy ones of the development half have left
their starting point before 10.
"""
AVERAGE_PICTURE = 1.0
"""Distance of one average picture, which is no achievement."""
FAR = 0.5
"""Distance at which it means nothing that a little more of the data is covered."""
ASTRAY = 0.75
"""Distance at which nothing but coming nearer is a gain: a mode more or less is chance there, and nearly every healthy
run that was known when this was set came nearer first.
"""
SEVERAL = 5
"""Evaluations of a quarter whose order is no accident: all of five over all of five once in 252 times."""
KEPT = 128
"""Points that are remembered. Of the older half every second one goes when there are more."""


class Gain(NamedTuple):
    """A measure, and what it was in the third and in the last quarter of the way."""

    name: str
    before: float
    now: float

    def __str__(self) -> str:
        raw = " without averaging" if self.name.startswith("raw_") else ""
        return f"{WORDS[self.name.removeprefix('raw_')]}{raw} {self.before:.2g} -> {self.now:.2g}"


@dataclass
class Course:
    """``points`` are (images, measures) in order; ``ways`` is how often each player's weights have moved by their own
    norm; JSON-able.
    """

    points: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    best: dict[str, float] = field(default_factory=dict)
    ways: dict[str, float] = field(default_factory=dict)
    images: int = 0

    def move(self, images: int, batch: int, n_dis: int, signals: Mapping[str, float]) -> None:
        """The weights' way since the last call, from the mean update ratio of the steps that were looked at."""
        steps = (images - self.images) / batch
        for player, moves in (("generator", steps / n_dis), ("discriminator", steps)):
            self.ways[player] = self.ways.get(player, 0.0) + moves * signals.get(f"{player}_update_ratio", 0.0)
        self.images = images

    @property
    def effort(self) -> float:
        """Of the player that moved most."""
        return max(self.ways.values(), default=0.0)

    def add(self, seen: Mapping[str, float]) -> None:
        """What was measured after ``images``."""
        self.points.append((self.images, dict(seen)))
        for name, value in seen.items():
            better = min if SCALES[name].sign < 0 else max
            self.best[name] = better(value, self.best.get(name, value))
        if len(self.points) > KEPT:
            self.points = self.points[: KEPT // 2 : 2] + self.points[KEPT // 2 :]

    def gains(self) -> list[Gain]:
        """What has gained over the last half of the way, from its third quarter to its last."""
        misfit, found = self.points[-1][1].get("misfit", 0.0), []
        old = self.ways.get("generator", 0.0) >= LONG
        for name, before, now in self._quarters():
            scale, gain = SCALES[name], Gain(name, median(before), median(now))
            if scale is MISFIT:
                idle = old and gain.now > AVERAGE_PICTURE
            else:
                idle = misfit > (FAR if scale is COVERAGE else ASTRAY)
            if not idle and _gained(scale, before, now):
                found.append(gain)
        return found

    def moved(self) -> float:
        """The largest change of a measure over the last half of the way, as a share of what it was; 1 where that cannot
        be said.
        """
        quarters = ((SCALES[name].least, median(before), median(now)) for name, before, now in self._quarters())
        return max((abs(now - before) / max(before, least) for least, before, now in quarters), default=1.0)

    def comparable(self) -> bool:
        """Whether there are evaluations in both quarters."""
        return bool(self._quarters())

    def _quarters(self) -> list[tuple[str, list[float], list[float]]]:
        """Of each measure what it was in the third quarter of the way, and in the last."""
        found = []
        for name in SCALES:
            values = [(images / self.images, seen[name]) for images, seen in self.points if name in seen]
            before = [value for at, value in values if 0.5 <= at < 0.75]
            now = [value for at, value in values if at >= 0.75]
            if before and now:
                found.append((name, before, now))
        return found


def _gained(scale: Scale, before: list[float], now: list[float]) -> bool:
    """Whether the median is better by a factor, and better than nearly all before; so neither one lucky evaluation nor
    an oscillation is a gain. Where every one of several evaluations is better than all before, any gain counts.
    """
    was, has = (sorted(scale.sign * value for value in values) for values in (before, now))
    if min(len(was), len(has)) >= SEVERAL and has[0] > was[-1]:
        return True
    better = scale.sign * median(now) > scale.sign * median(before) * scale.gain
    return better and scale.sign * median(now) > was[-1 - len(was) // 5]
