"""The verdict on the labelled set of tests/benchmarks/collapse: who changes a threshold sees here what it costs."""

from __future__ import annotations

from functools import partial

import pytest

from tests.benchmarks.collapse.replay import Run, alarm, failing, load_runs, told, verdict
from tests.benchmarks.seeds import RESULTS
from trainers.config import BAD

SETS = [
    ("second", "metric", 27),
    ("held_out", "metric", 30),
    ("held_out", "blind", 11),
    ("development", "metric", 1),
    ("development", "blind", 3),
    ("collapse", "metric", 10),
    ("unknown", "blind", 6),
]
"""Table, what the verdict is shown, and how many failing runs it does not call."""


def runs(name: str, seen: str) -> list[Run]:
    """Those that were measured so; pictures of unknown data were not measured otherwise."""
    return [run for run in load_runs(RESULTS / f"{name}.parquet") if run.rows[0].get(f"{seen}.misfit") is not None]


@pytest.mark.parametrize(("name", "seen", "missed"), SETS)
def test_failing_runs_are_called(name: str, seen: str, missed: int):
    bad = failing(runs(name, seen))
    assert len(bad) > 20
    assert sum(alarm(run, partial(verdict, seen=seen)) is None for run in bad) <= missed


@pytest.mark.parametrize(("name", "seen", "_"), SETS)
def test_healthy_runs_are_left_alone(name: str, seen: str, _: int):
    good = [run for run in runs(name, seen) if run.label == "healthy"]
    assert len(good) > 50
    assert [run.key for run in good if any(verdict(run.rows, seen))] == []


def test_rings_that_find_all_modes_at_once_after_two_fifths_of_their_budget_are_left_to_find_them():
    good = [run for run in load_runs(RESULTS / "longer.parquet") if run.label == "healthy"]
    assert len(good) >= 4
    assert [run.key for run in good if any(verdict(run.rows))] == []


@pytest.mark.parametrize("number", [3, 4, 5])
def test_slow_digits_that_were_once_ended_at_a_tenth_of_their_budget_are_left_to_learn(number: int):
    """Default rates; rates of 5e-5; batches of 512: FID 4.7, 7.2 and 2.2 at their ends."""
    known = load_runs(RESULTS / "development.parquet")
    run: Run = next(run for run in known if run.key == ("digits", "slow digits", number))
    words = [health.verdict for health in told(run.rows)]
    assert words[-1] == "healthy" and not set(words) & set(BAD)
