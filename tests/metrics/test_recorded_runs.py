"""The verdict on the labelled set of tests/benchmarks/collapse: who changes a threshold sees here what it costs."""

from __future__ import annotations

from functools import partial

import pytest

from tests.benchmarks.collapse.judge import Run, alarm, failing, load_runs, told, verdict
from tests.benchmarks.seeds import RESULTS
from trainers.config import BAD

SETS = {"development": "metric", "collapse": "metric", "unknown": "blind"}


@pytest.mark.parametrize(("name", "missed"), [("development", 2), ("collapse", 6), ("unknown", 4)])
def test_failing_runs_are_called(name: str, missed: int):
    bad = failing(load_runs(RESULTS / f"{name}.parquet"))
    assert len(bad) > 20
    assert sum(alarm(run, partial(verdict, seen=SETS[name])) is None for run in bad) <= missed


@pytest.mark.parametrize("name", SETS)
def test_healthy_runs_are_left_alone(name: str):
    good = [run for run in load_runs(RESULTS / f"{name}.parquet") if run.label == "healthy"]
    assert len(good) > 50
    assert [run.key for run in good if any(verdict(run.rows, SETS[name]))] == []


@pytest.mark.parametrize("number", [3, 4, 5])
def test_slow_digits_that_were_once_ended_at_a_tenth_of_their_budget_are_left_to_learn(number: int):
    """Default rates; rates of 5e-5; batches of 512: FID 4.7, 7.2 and 2.2 at their ends."""
    runs = load_runs(RESULTS / "development.parquet")
    run: Run = next(run for run in runs if run.key == ("digits", "slow digits", number))
    words = [health.verdict for health in told(run.rows)]
    assert words[-1] == "healthy" and not set(words) & set(BAD)
