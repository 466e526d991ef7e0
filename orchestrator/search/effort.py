"""How much training a sweep asks for when no trial ends badly, and how much of it goes into confirmation. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from orchestrator.spec import Sweep

MOST = 3
"""Trials that ``confirm.top: auto`` confirms, where a third of all images is enough for it."""
RACE = ((6, 1, 3), (3, 2, 2))
"""The rounds before the last of its race, where that is enough for one."""


Affords = Callable[[Sequence[int]], bool]
"""Whether a budget has room for batches of whole trainings, one batch after the other."""


class Stage(NamedTuple):
    """``trainings`` come to ``level`` images; from the stage before to there they show ``images`` in all."""

    level: int
    trainings: int
    images: int


class Round(NamedTuple):
    """The ``top`` trials have ``seeds`` fresh seeds each by its end; more trials where less than ``need`` survive."""

    top: int
    seeds: int
    need: int


class Confirming(NamedTuple):
    """What ``confirm`` came to, round by round; none: no confirmation."""

    rounds: tuple[Round, ...] = ()

    @classmethod
    def of(cls, rounds: Iterable[Sequence[int]]) -> Confirming:
        """As JSON keeps them."""
        return cls(tuple(Round(*one) for one in rounds))

    @property
    def seeds(self) -> int:
        """Of a trial that comes to the end."""
        return self.rounds[-1].seeds if self.rounds else 0

    @property
    def top(self) -> int:
        """Trials that it begins with."""
        return self.rounds[0].top if self.rounds else 0

    def batches(self, trials: int) -> list[int]:
        """Trainings of each round, among so many trials, when none fails."""
        before = (0, *(one.seeds for one in self.rounds))
        return [min(one.top, trials) * (one.seeds - seeds) for one, seeds in zip(self.rounds, before, strict=False)]

    def trainings(self, trials: int) -> int:
        """Of all rounds."""
        return sum(self.batches(trials))


def searching(sweep: Sweep, keep: int) -> list[Stage]:
    """Rung by rung, as halving comes out when no trial ends badly, and at least ``keep`` go to the end."""
    reduction = sweep.rungs.reduction if sweep.rungs else 1
    reaching, before, stages, whole = sweep.most_trials, 0, list[Stage](), sweep.startup
    for level in sweep.rung_images():
        stages.append(Stage(level, reaching, reaching * (level - before)))
        before, reaching = level, min(reaching, max(whole + (reaching - whole) // reduction, keep))
    return stages


def confirming(sweep: Sweep, affords: Affords = lambda batches: True) -> Confirming:
    """``confirm`` in numbers: ``auto`` is what fits into a third of all images, and what a budget ``affords``: a race
    before ``MOST`` trials on every seed, then fewer trials, then fewer seeds.
    """
    top, seeds = sweep.confirm.top, sweep.confirm.seeds
    if top != "auto":
        return _each(top, seeds)
    race = Confirming.of([*RACE, (2, seeds, 1)])
    sizes = [*((t, seeds) for t in range(MOST, 1, -1)), *((1, s) for s in range(seeds, 0, -1))]
    for size in [*([race] if seeds > RACE[-1][1] else []), *(_each(*one) for one in sizes)]:
        batches = size.batches(sweep.most_trials)
        again = sum(batches) * sweep.train.images
        if affords(batches) and 3 * again <= sum(stage.images for stage in searching(sweep, size.top)) + again:
            return size
    return Confirming()


def _each(top: int, seeds: int) -> Confirming:
    return Confirming((Round(top, seeds, top),) if top else ())
