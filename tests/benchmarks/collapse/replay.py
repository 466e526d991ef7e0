"""The recorded runs of the labelled set, what became of each, and what detectors say of them report by report.

What a run is comes from its truth columns at the end; what a detector says, from the others.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from tests.benchmarks.collapse import earlier
from trainers import config
from trainers.health import HealthMonitor
from trainers.report import Health

Row = dict[str, Any]
Detector = Callable[[list[Row]], list[bool]]
"""Whether a run is called, report by report."""

LAST = 3
"""Reports at the end whose median says what became of a run, so that an oscillation is not judged by one moment."""
GAINED = 0.9
BATCH = {"digits": 64, "stacked-digits": 64, "ring": 128, "grid": 128}  # of the earlier set, which did not record it


class Run(NamedTuple):
    """The rows of one run in order, with its label from the truth columns."""

    rows: list[Row]
    label: str

    @property
    def name(self) -> str:
        """Its cause."""
        return str(self.rows[0]["cause"])

    @property
    def key(self) -> tuple[str, str, int]:
        """Tells it from all others."""
        first = self.rows[0]
        return first["data"], first["cause"], first["seed"]

    @property
    def start(self) -> int:
        """Images at the report from which on its cause acts."""
        due = self.rows[0]["acted_at"] * self.rows[0]["budget"]
        return next((row["images"] for row in self.rows if row["images"] >= due), 0) if due else 0


def load_runs(file: Path) -> list[Run]:
    """All runs of a table, reports in order."""
    grouped: dict[tuple[str, str, int], list[Row]] = {}
    for row in pq.read_table(file).to_pylist():
        grouped.setdefault((row["data"], row["cause"], row["seed"]), []).append(row)
    ordered = [sorted(rows, key=lambda row: int(row["images"])) for rows in grouped.values()]
    return [Run(rows, label(rows)) for rows in ordered]


def label(rows: list[Row]) -> str:
    """healthy, learning, unclear, collapsed or diverged, by what the generator makes at the end of its budget."""
    known = [row for row in rows if row.get("truth.kept") is not None]
    last = known[-LAST:]
    if min(row["truth.finite"] for row in last) < 1:
        return "diverged"
    kept = statistics.median(row["truth.kept"] for row in last)
    if kept >= 0.75:
        return "healthy"
    if _still_learns(known):
        return "learning"
    return "collapsed" if kept <= 0.5 else "unclear"


def _still_learns(known: list[Row]) -> bool:
    """By the true distance, from the third quarter of the budget to the last reports."""
    budget, last = known[0]["budget"], known[-LAST:]
    middle = [row for row in known[:-LAST] if row["images"] >= 0.5 * budget] or known[-LAST - 1 : -LAST]
    if not middle or last[-1].get("truth.distance") is None:
        return False
    now, then = (statistics.median(row["truth.distance"] for row in part) for part in (last, middle))
    return bool(now < GAINED * then and last[-1]["truth.distance"] < then)


def told(rows: list[Row], seen: str = "metric") -> list[Health]:
    """What trainers/health.py says, report by report. ``seen`` are the columns that it is shown."""
    monitor, plain = HealthMonitor(config.Health(), train_of(rows[0])), {"metric": "raw", "blind": "blind_raw"}[seen]
    answers = []
    for row in rows:
        measures = columns(row, seen) | {f"raw_{name}": value for name, value in columns(row, plain).items()}
        answers.append(monitor.observe(row["images"], columns(row, "loss"), columns(row, "signal"), measures))
    return answers


def verdict(rows: list[Row], seen: str = "metric") -> list[bool]:
    """The verdict of today."""
    return [health.verdict in config.BAD for health in told(rows, seen)]


def before(rows: list[Row], seen: str = "metric") -> list[bool]:
    """The verdict until 2026-11-25."""
    monitor = earlier.HealthMonitor(config.Health())
    parts = (tuple(columns(row, kind) for kind in ("loss", "signal", seen)) for row in rows)
    return [monitor.observe(row["images"], *part).verdict in config.BAD for row, part in zip(rows, parts, strict=True)]


def critic_near_zero(rows: list[Row]) -> list[bool]:
    """What people watch for: the discriminator's loss under 0.05 for three reports."""
    low = [abs(row["loss.discriminator"] or 0.0) < 0.05 for row in rows]
    return [i >= 2 and all(low[i - 2 : i + 1]) for i in range(len(rows))]


def fid_jump(rows: list[Row]) -> list[bool]:
    """FID at twice its best so far, twice in a row."""
    fids = [row.get("metric.fid") or float("inf") for row in rows]
    return [i >= 2 and min(fids[i - 1 : i + 1]) > 2 * min(fids[: i - 1]) for i in range(len(rows))]


def only_nan(rows: list[Row]) -> list[bool]:
    """A loss or gradient that is not finite."""
    return [bool(row.get("signal.nonfinite")) for row in rows]


DETECTORS: dict[str, Detector] = {
    "trainers.health": verdict,
    "the verdict before": before,
    "discriminator loss near 0": critic_near_zero,
    "FID doubles": fid_jump,
    "NaN only": only_nan,
}


BLIND: dict[str, Detector] = {
    "trainers.health": partial(verdict, seen="blind"),
    "the verdict before": partial(before, seen="blind"),
}


def blind(runs: list[Run]) -> list[Run]:
    """Those that were measured so too."""
    return [run for run in runs if run.rows[0].get("blind.misfit") is not None]


def alarm(run: Run, detector: Detector = verdict) -> int | None:
    """The first report within the failing part at which a run is called, or None."""
    called = detector(run.rows)
    return next((i for i, row in enumerate(run.rows) if row["images"] > run.start and called[i]), None)


def failing(runs: list[Run]) -> list[Run]:
    """Those that a detector should call."""
    return [run for run in runs if run.label in ("collapsed", "diverged")]


def spent(run: Run, at: int) -> float:
    """Share of the images from the cause to the end of the budget that were shown before the alarm."""
    return float((run.rows[at]["images"] - run.start) / (run.rows[0]["budget"] - run.start))


def train_of(first: Row) -> config.Train:
    if first.get("train"):
        return config.Train.model_validate_json(first["train"])
    settings = {"images": first["budget"], "batch_size": BATCH[first["data"]], "ema_half_life": 2_000, "ema_ramp": 0}
    return config.Train.model_validate(settings)


def columns(row: Row, kind: str) -> dict[str, float]:
    return {k.removeprefix(f"{kind}."): v for k, v in row.items() if k.startswith(f"{kind}.") and v is not None}
