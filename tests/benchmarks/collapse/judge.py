"""How often the verdict is right: replays trainers/health.py over the recorded signals of the labelled set.

    python -m tests.benchmarks.collapse.judge infra/results/collapse.parquet > infra/results/collapse.md

A few seconds. What a run is comes from its truth columns at the end; what the detector says, from the others.
"""

from __future__ import annotations

import argparse
import statistics
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from trainers import config
from trainers.health import HealthMonitor

Row = dict[str, Any]
Detector = Callable[[list[Row]], int | None]
LAST = 3
"""Reports at the end whose median says what became of a run, so that an oscillation is not judged by one moment."""


class Run(NamedTuple):
    """The rows of one run in order, with its label from the truth columns."""

    rows: list[Row]
    label: str

    @property
    def name(self) -> str:
        """Its cause."""
        return str(self.rows[0]["cause"])


def main() -> None:
    """Prints the tables as Markdown."""
    parser = argparse.ArgumentParser()
    parser.add_argument("signals", type=Path)
    runs = load_runs(parser.parse_args().signals)
    print("# How often the verdict on collapse is right\n")
    print(
        f"{len(runs)} runs: " + ", ".join(f"{count} {label}" for label, count in Counter(r.label for r in runs).items())
    )
    print(
        "By data set: " + ", ".join(f"{n} {d}" for d, n in Counter(str(r.rows[0]["data"]) for r in runs).items()) + "."
    )
    print("\nUnclear runs (between half and three quarters of modes or classes kept) count on no side.\n")
    for group in ("dev", "held-out"):
        chosen = [run for run in runs if run.rows[0]["group"] == group]
        compare(f"Group: {group}", chosen)
        lead(chosen)
        by_cause(chosen)


def load_runs(file: Path) -> list[Run]:
    """All runs of a table, reports in order."""
    grouped: dict[tuple[str, str, int], list[Row]] = {}
    for row in pq.read_table(file).to_pylist():
        grouped.setdefault((row["data"], row["cause"], row["seed"]), []).append(row)
    ordered = [sorted(rows, key=lambda row: int(row["images"])) for rows in grouped.values()]
    return [Run(rows, label(rows)) for rows in ordered]


def label(rows: list[Row]) -> str:
    """healthy, collapsed, diverged or unclear, by what the generator makes at the end of its budget."""
    last = rows[-LAST:]
    if min(row["truth.finite"] for row in last) < 1 or last[-1].get("signal.nonfinite"):
        return "diverged"
    kept = statistics.median(row["truth.kept"] for row in last)
    return "healthy" if kept >= 0.75 else "collapsed" if kept <= 0.5 else "unclear"


def verdict(rows: list[Row]) -> int | None:
    """The report at which trainers/health.py calls a run collapsed or diverged, or None."""
    monitor = HealthMonitor(config.Health())
    for number, row in enumerate(rows):
        health = monitor.observe(row["images"], *(_part(row, kind) for kind in ("loss", "signal", "metric")))
        if health.verdict in ("collapsed", "diverged"):
            return number
    return None


def critic_near_zero(rows: list[Row]) -> int | None:
    """What people watch for: the discriminator's loss under 0.05 for three reports."""
    return _first(rows, lambda i: i >= 2 and all(abs(r["loss.discriminator"]) < 0.05 for r in rows[i - 2 : i + 1]))


def fid_jump(rows: list[Row]) -> int | None:
    """FID at twice its best so far, twice in a row."""
    fids = [row.get("metric.fid") or float("inf") for row in rows]
    return _first(rows, lambda i: i >= 2 and min(fids[i - 1 : i + 1]) > 2 * min(fids[: i - 1]))


def only_nan(rows: list[Row]) -> int | None:
    """A loss or gradient that is not finite."""
    return _first(rows, lambda i: bool(rows[i].get("signal.nonfinite")))


DETECTORS: dict[str, Detector] = {
    "trainers.health": verdict,
    "discriminator loss near 0": critic_near_zero,
    "FID doubles": fid_jump,
    "NaN only": only_nan,
}


def compare(title: str, runs: list[Run]) -> None:
    """Recall, false alarms and lead of every detector."""
    print(f"## {title}\n\n| detector | found | recall | false alarms | rate | median share of the failing part spent |")
    print("|---|---|---|---|---|---|")
    bad = [run for run in runs if run.label in ("collapsed", "diverged")]
    good = [run for run in runs if run.label == "healthy"]
    for name, detector in DETECTORS.items():
        found = [(run, at) for run in bad if (at := detector(run.rows)) is not None]
        alarms = sum(detector(run.rows) is not None for run in good)
        lead = statistics.median(spent(run, at) for run, at in found) if found else float("nan")
        print(f"| {name} | {len(found)}/{len(bad)} | {len(found) / max(len(bad), 1):.2f} | {alarms}/{len(good)} | "
              f"{alarms / max(len(good), 1):.2f} | {lead:.2f} |")  # fmt: skip
    print()


def spent(run: Run, at: int) -> float:
    """Share of the images from the cause to the end of the budget that were shown before the alarm."""
    first, row = run.rows[0], run.rows[at]
    start = first["acted_at"] * first["budget"]
    return float(max(row["images"] - start, 0) / (first["budget"] - start))


def lead(runs: list[Run]) -> None:
    """How many failing runs are called by the time that a share of what they still had to spend is spent."""
    marks = (0.2, 0.3, 0.4, 0.6, 0.8, 1.0)
    bad = [run for run in runs if run.label in ("collapsed", "diverged")]
    at = [spent(run, number) for run in bad if (number := verdict(run.rows)) is not None]
    print("| called by | " + " | ".join(f"{mark:.0%}" for mark in marks) + " |\n|" + "---|" * (len(marks) + 1))
    shares = [sum(value <= mark for value in at) / max(len(bad), 1) for mark in marks]
    print("| share of failing runs | " + " | ".join(f"{share:.2f}" for share in shares) + " |\n")


def by_cause(runs: list[Run]) -> None:
    """One row per cause: what became of its runs, and what was said of them."""
    print("| cause | became | called collapsed or diverged |\n|---|---|---|")
    for name in dict.fromkeys(run.name for run in runs):
        mine = [run for run in runs if run.name == name]
        became = ", ".join(f"{count} {label}" for label, count in Counter(run.label for run in mine).items())
        print(f"| {name} | {became} | {sum(verdict(run.rows) is not None for run in mine)}/{len(mine)} |")
    print()


def _part(row: Row, kind: str) -> dict[str, float]:
    return {k.removeprefix(f"{kind}."): v for k, v in row.items() if k.startswith(f"{kind}.") and v is not None}


def _first(rows: list[Row], holds: Callable[[int], bool]) -> int | None:
    return next((i for i in range(len(rows)) if holds(i)), None)


if __name__ == "__main__":
    main()
