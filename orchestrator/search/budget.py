"""What a sweep has spent, and whether more fits into its budget. Knows no clock but the one it is given."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from orchestrator.paths import RunKey
from orchestrator.settings.groups import Budget
from orchestrator.spec import Sweep

Clock = Callable[[], float]
"""Seconds since any moment."""

SHARE = 1 / 3
"""Of a budget that is kept for confirmation, at most."""


class Spent(NamedTuple):
    """Trainings that were begun, fresh seeds too; hours that drivers ran; device-hours of all legs, restarts too."""

    trials: int
    hours: float
    device_hours: float


class BudgetTracker:
    """The driver's: told of every leg."""

    def __init__(self, sweep: Sweep, spent: Spent, images: int, clock: Clock) -> None:
        """``images`` were trained for what is ``spent``."""
        self._budget, self._full, self._clock = sweep.budget, sweep.train.images, clock
        self._held, _ = sweep.resources.devices
        self.trials, self._hours, self._seconds, self._images = (
            spent.trials,
            spent.hours,
            spent.device_hours * 3600,
            images,
        )
        self._since: float | None = None
        self._heard: dict[RunKey, float] = {}
        self._ahead: dict[RunKey, int] = {}
        self._slots = 1

    @property
    def hours(self) -> float:
        """Of this driver and those before."""
        return self._hours + (0.0 if self._since is None else (self._clock() - self._since) / 3600)

    def drive(self, runs: bool) -> None:
        """The driver's time counts from now on, or no more."""
        self._hours, self._since = self.hours, self._clock() if runs else None

    def begin(self, run: RunKey, images: int, new: bool) -> None:
        """A leg of so many images is handed out; ``new``: the first of its training."""
        self.trials += new
        self._heard[run], self._ahead[run] = self._clock(), images
        self._slots = max(self._slots, len(self._ahead))

    def took(self, run: RunKey, images: int = 0) -> float:
        """Device-seconds of a leg since it was last heard of, for so many images."""
        now = self._clock()
        seconds = self._held * (now - self._heard.get(run, now))
        self._seconds, self._images = self._seconds + seconds, self._images + images
        if run in self._heard:
            self._heard[run], self._ahead[run] = now, max(0, self._ahead[run] - images)
        return seconds

    def end(self, run: RunKey) -> None:
        """Its leg is over."""
        self._heard.pop(run, None)
        self._ahead.pop(run, None)

    def affords(self, batches: Sequence[int]) -> bool:
        """Whether batches of so many whole trainings fit, one after the other."""
        return self._fits(self._whole(batches), Spent(0, 0, 0))

    def has_room(self, new: int, images: int, kept: Sequence[int], finish: bool) -> bool:
        """Whether a leg of so many images, ``new`` (1) or going on (0), leaves enough for the batches of re-trainings
        that are ``kept``, and to ``finish`` one trial; or their ``SHARE``.
        """
        again, end = self._whole(kept), self._cost(0, self._full * finish, self._full * finish)
        later = Spent(again.trials, again.hours + end.hours, again.device_hours + end.device_hours)
        return self._fits(self._cost(new, images, images), later)

    def _fits(self, more: Spent, kept: Spent) -> bool:
        budget = (self._budget.trials, self._budget.hours, self._budget.device_hours)
        under_way = self._cost(0, sum(self._ahead.values()), 0).device_hours
        spent = (self.trials, self.hours, self._seconds / 3600 + under_way)
        return all(
            most is None or before + now + min(later, most * SHARE) <= most
            for most, before, now, later in zip(budget, spent, more, kept, strict=True)
        )

    def _whole(self, batches: Sequence[int]) -> Spent:
        in_a_row = sum(math.ceil(trainings / self._slots) for trainings in batches)
        return self._cost(sum(batches), sum(batches) * self._full, in_a_row * self._full)

    def _cost(self, trainings: int, images: int, in_a_row: int) -> Spent:
        """At the pace so far; nothing is known of it at first."""
        hours = self._seconds / 3600 / self._images if self._images else 0.0
        return Spent(trainings, in_a_row * hours / self._held, images * hours)


def words(budget: Budget, spent: Spent | None = None) -> str:
    """``40 trainings, 8 hours``, or ``14 of 40 trainings, 1.2 of 8 hours``; empty where there is none."""
    parts = zip(budget.model_dump().values(), spent or (None,) * 3, ("trainings", "hours", "device-hours"), strict=True)
    told = ((f"{done:.3g} of " if done is not None else "", most, unit) for most, done, unit in parts)
    return ", ".join(f"{done}{most:g} {unit}" for done, most, unit in told if most is not None)
