"""The verdict on the labelled set of tests/benchmarks/collapse: who changes a threshold sees here what it costs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.collapse.judge import Run, load_runs, verdict

SIGNALS = Path(__file__).parents[2] / "infra/results/collapse.parquet"


@pytest.fixture(scope="module")
def runs() -> list[Run]:
    return load_runs(SIGNALS)


@pytest.mark.parametrize(("group", "recall"), [("dev", 1.0), ("held-out", 0.95)])
def test_failing_runs_are_called(runs: list[Run], group: str, recall: float):
    bad = [run for run in runs if run.rows[0]["group"] == group and run.label in ("collapsed", "diverged")]
    assert sum(verdict(run.rows) is not None for run in bad) >= recall * len(bad) > 10


def test_healthy_runs_are_left_alone(runs: list[Run]):
    good = [run for run in runs if run.label == "healthy"]
    assert len(good) > 100
    assert [run.key for run in good if verdict(run.rows) is not None] == []
