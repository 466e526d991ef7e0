"""What a sweep says: the reports of its trials as they come, and how it stands in one line."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple

from orchestrator import status as standing
from orchestrator.paths import SweepPaths
from orchestrator.search.known import Known, Reading, SweepState
from orchestrator.spec import counted

LOOK = 1.0
"""Seconds between two looks at a sweep that runs."""


class TrialReport(NamedTuple):
    """What a trial was worth after so many ``images``; ``seed`` is None but for a re-training on a fresh one."""

    trial: int
    seed: int | None
    images: int
    metrics: dict[str, float]
    verdict: str
    """At this report."""


def follow(ledger: Reading, paths: SweepPaths) -> Iterator[TrialReport]:
    """Every report, from the first on, until the sweep no longer runs."""
    seen: set[tuple[int, int | None, int]] = set()
    while True:
        state = standing.state(ledger, paths)  # before the reports, so that none comes between
        ledger.refresh()
        for report in _reports(ledger):
            if report[:3] not in seen:
                seen.add(report[:3])
                yield report
        if state != "running":
            return
        time.sleep(LOOK)


def _reports(ledger: Reading) -> Iterator[TrialReport]:
    for key, told in ledger.history().items():
        assert key is not None, "the sweep's own run has no reports"
        trial, seed = key if isinstance(key, tuple) else (key, None)
        for images, report in sorted(told.items()):
            yield TrialReport(trial, seed, images, report["metrics"], report["health"]["verdict"])


def headline(ledger: Known, state: SweepState) -> str:
    """``finished, 12 trials, best fid 3.21 (trial 4)``."""
    best, metric = standing.best_row(ledger), ledger.sweep.objective.metric
    found = f", best {metric} {standing.best_words(best)} (trial {best['id']})" if best else ""
    found = f", {counted(len(front), 'trial')} on the Pareto front" if (front := standing.front_rows(ledger)) else found
    return f"{state}, {counted(len(ledger.trials()), 'trial')}{found}"
