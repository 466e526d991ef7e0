"""The verdict on the labelled set of tests/benchmarks/collapse: who changes a threshold sees here what it costs."""

from __future__ import annotations

import pytest

from tests.benchmarks.collapse.judge import Detector, Run, blind, load_runs, of_group, verdict
from tests.benchmarks.seeds import RESULTS

Case = tuple[list[Run], Detector]


@pytest.fixture(scope="module", params=["collapse", "unknown"])
def case(request: pytest.FixtureRequest) -> Case:
    """All runs, and the pictures of them judged as data of which nothing is known."""
    return load_runs(RESULTS / f"{request.param}.parquet"), verdict if request.param == "collapse" else blind


@pytest.mark.parametrize(("group", "missed"), [("dev", 0), ("held-out", 2)])
def test_failing_runs_are_called(case: Case, group: str, missed: int):
    runs, detector = case
    bad = [run for run in of_group(runs, group) if run.label in ("collapsed", "diverged")]
    assert len(bad) > 10
    assert sum(detector(run.rows) is None for run in bad) <= missed


def test_healthy_runs_are_left_alone(case: Case):
    runs, detector = case
    good = [run for run in runs if run.label == "healthy"]
    assert len(good) > 50
    assert [run.key for run in good if detector(run.rows) is not None] == []
