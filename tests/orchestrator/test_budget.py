"""A sweep that ends by its budget ends in time to confirm within it. Played in virtual time, by the real ledger."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from orchestrator import spec
from orchestrator.errors import UserError
from orchestrator.planning.earlier import Earlier, require_room
from orchestrator.search.ledger import Ledger
from orchestrator.search.trial import RETRIES, Leg
from orchestrator.spec import Sweep
from tests.orchestrator.small import report, sweep
from trainers.settings import SettingsError

SECOND = 40.0
"""Per image: 90 images, a whole training, take an hour."""


class Clock:
    """Moved by who plays."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def play(ledger: Ledger, clock: Clock, slots: int, dies: frozenset[int] = frozenset()) -> list[Leg]:
    """Every leg on so many slots; returns them in the order in which they ended. The legs of ``dies`` die at their
    first report, each time.
    """
    ledger.set_state("running")
    events: list[tuple[float, int, Leg, int]] = []
    number, busy, ended = count(), 0, []

    def hand_out() -> None:
        nonlocal busy
        while busy < slots and isinstance(leg := ledger.next_leg(), Leg):
            start = int(leg.checkpoints[-1].rsplit("/", 1)[-1]) if leg.checkpoints else 0
            heapq.heappush(events, (clock.now + 10 * SECOND, next(number), leg, start + 10))
            busy += 1

    hand_out()
    while events:
        clock.now, _, leg, images = heapq.heappop(events)
        if leg.trial in dies:
            ledger.fail_leg(leg, "killed")
        else:
            key = f"{leg.trial}/{leg.confirm_seed}/{images}"
            ledger.report(leg, report(images, fid=10.0 + leg.trial, stored=(key,)))
            if images < leg.until:
                heapq.heappush(events, (clock.now + 10 * SECOND, next(number), leg, images + 10))
                continue
            ledger.end_leg(leg)
        busy -= 1
        ended.append(leg)
        hand_out()
    ledger.set_state("finished" if ledger.is_over() else "stopped")
    return ended


def budgeted(budget: dict[str, Any], **groups: Any) -> Sweep:
    return sweep(**{"search": {"trials": 500, "sampler": "random"}, "rungs": None, "budget": budget, **groups})


def played(tmp_path: Path, asked: Sweep, slots: int, **more: Any) -> Ledger:
    clock = Clock()
    tmp_path.mkdir(exist_ok=True)
    ledger = Ledger.open(asked, tmp_path / "journal", clock=clock)
    play(ledger, clock, slots, **more)
    return ledger


@pytest.mark.parametrize("slots", [1, 4])
@pytest.mark.parametrize("rungs", [None, {"first_images": 30, "reduction": 3}], ids=["no rungs", "rungs"])
@pytest.mark.parametrize("budget", [{"trials": 40}, {"hours": 12}, {"device_hours": 40}], ids=lambda b: next(iter(b)))
def test_the_search_ends_in_time_to_confirm(tmp_path: Path, budget: dict[str, float], slots: int, rungs: Any):
    ledger = played(tmp_path, budgeted(budget, rungs=rungs), slots)
    spent = ledger.spent()._asdict()
    ((unit, most),) = budget.items()
    assert 0.8 * most < spent[unit] <= most
    assert ledger.is_over() and ledger.confirmations.medians(), "the best was confirmed within it"
    best = ledger.best()
    assert best and best.id in ledger.confirmations.medians()
    again = ledger.confirmations.all()
    assert len(again) <= len(ledger.trials()) / 2 + 1 or rungs, "a third of all"
    (note,) = (note for note in ledger.notes if note.startswith("budget: "))
    assert f" of {most:g} " in note


def test_restarts_are_paid_for(tmp_path: Path):
    """Trials that die at their first report, three times, take a third of an hour each."""
    healthy = played(tmp_path / "a", budgeted({"device_hours": 10}, confirm={"top": 0}), 1)
    dying = played(tmp_path / "b", budgeted({"device_hours": 10}, confirm={"top": 0}), 1, dies=frozenset(range(6)))
    assert len(healthy.trials()) == 10
    crashed = [t for t in dying.trials() if t.state == "crashed"]
    assert [round(t.device_seconds) for t in crashed] == [(RETRIES["rank"] + 1) * 10 * SECOND] * 6
    assert dying.spent().device_hours <= 10 and len(dying.trials()) == 6 + 7, (
        "2 h for nothing, and the next may die as well"
    )


def test_a_device_hour_counts_every_device_that_a_trial_holds(tmp_path: Path):
    two = {"workers_per_trial": 2}
    asked = budgeted({"device_hours": 10}, confirm={"top": 0}, resources=two)
    assert len(played(tmp_path, asked, 1).trials()) == 5


def test_a_rung_is_left_for_the_end_when_nothing_else_fits(tmp_path: Path):
    """Four trials at a rung, none promoted yet, and half an hour left: one of them is brought to its end."""
    asked = budgeted({"device_hours": 2.2}, rungs={"first_images": 30, "reduction": 6}, confirm={"top": 0})
    ledger = played(tmp_path, asked, 1)
    assert [t.state for t in ledger.trials()].count("finished") == 1
    assert ledger.spent().device_hours <= 2.2


def test_hours_are_of_all_drivers_and_a_larger_budget_goes_on(tmp_path: Path):
    asked, clock = budgeted({"hours": 5}, confirm={"top": 0}), Clock()
    play(Ledger.open(asked, tmp_path / "journal", clock=clock), clock, 1)
    clock.now += 24 * 3600  # nobody drives
    again = Ledger.open(asked, tmp_path / "journal", clock=clock)
    assert again.spent().hours == 5 and again.is_over()
    more = Ledger.open(budgeted({"hours": 7}, confirm={"top": 0}), tmp_path / "journal", clock=clock)
    play(more, clock, 1)
    assert len(more.trials()) == 7


def test_without_a_budget_nothing_is_counted_against_it(tmp_path: Path):
    ledger = played(tmp_path, budgeted({}, search={"trials": 3}), 2)
    assert len(ledger.trials()) == 3 and ledger.notes == []
    assert ledger.spent().device_hours == pytest.approx(sum(t.images for t in ledger.trials()) * SECOND / 3600 + 1)


def test_fewer_trainings_than_a_rung_compares_are_refused():
    file = {"name": "a", "rungs": {"reduction": 4}, "budget": {"trials": 3}}
    with pytest.raises(SettingsError, match="3 trainings are too few for one rung, which compares 4"):
        spec.load(file)


@pytest.mark.parametrize("budget", [{"hours": 0}, {"trials": 0}, {"device_hours": -1}, {"days": 3}])
def test_a_budget_of_nothing_is_refused(budget: dict[str, Any]):
    with pytest.raises(SettingsError, match="budget"):
        spec.load({"name": "a", "budget": budget})


def test_hours_that_are_too_few_for_one_rung_are_refused_where_the_pace_is_known():
    asked = budgeted({"hours": 1}, rungs={"first_images": 30, "reduction": 3})
    require_room(asked, None)
    require_room(asked, Earlier("before", 30 / 3599))
    with pytest.raises(UserError, match=r"1 h is too little for one rung: 30 images, .* at the pace of sweep 'before'"):
        require_room(asked, Earlier("before", 30 / 3700))


def times(ledger: Ledger) -> Iterator[float]:
    return (trial.device_seconds for trial in ledger.trials())


def test_what_each_leg_took_is_kept(tmp_path: Path):
    before = played(tmp_path, budgeted({"trials": 6}), 3)
    after = Ledger.open(before.sweep, tmp_path / "journal")
    assert list(times(after)) == list(times(before)) == [90 * SECOND] * len(before.trials())
    assert after.spent() == before.spent()
