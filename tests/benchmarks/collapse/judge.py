"""How often the verdict is right: replays trainers/health.py over the recorded signals of the labelled set.

    python -m tests.benchmarks.collapse.judge

Reads from infra/results collapse.parquet, rewound.parquet (the same runs with health.rewind) and unknown.parquet
(pictures, measured as data of which nothing is known); a few seconds; writes collapse.md and collapse.png there. What a
run is comes from its truth columns at the end; what the detector says, from the others.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import pyarrow.parquet as pq
from scipy.stats import binomtest

from tests.benchmarks.seeds import RESULTS, table
from trainers import config
from trainers.health import HealthMonitor

Row = dict[str, Any]
Detector = Callable[[list[Row]], int | None]
LABELS = ("healthy", "collapsed", "diverged", "unclear")
MARKS = (0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0)
HEADER = """# How often the verdict on collapse is right

Written by `python -m tests.benchmarks.collapse.judge`. A run is healthy where its last samples keep three quarters of
the modes or classes, collapsed where they keep half or fewer, unclear in between (these count on no side), and
diverged where what it makes is no longer finite. Rules and thresholds were chosen on the first group and committed
before any run of the held-out group was made. "Failing part": from the cause (the start, or the moment of a late one)
to the end; only calls within it count as found. Brackets: 95 % intervals (Clopper and Pearson 1934)."""
UNKNOWN = """## Pictures of which nothing is known

The verdict has no setting per data set, but digits come with a classifier. Here the same recipes on digits and stacked
digits are judged as a user's own pictures would be: features from random convolutions (`random-conv`), and modes that
are k-means bins of the real features. Truth as above."""
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

    @property
    def key(self) -> tuple[str, str, int]:
        """Tells it from all others."""
        first = self.rows[0]
        return first["data"], first["cause"], first["seed"]


def main() -> None:
    """Writes the tables as Markdown, and the curve."""
    names = ("collapse", "unknown", "rewound")
    runs, unknown, rewound = (load_runs(RESULTS / f"{name}.parquet") for name in names)
    labels = Counter(run.label for run in runs)
    data = Counter(str(run.rows[0]["data"]) for run in runs)
    parts = [HEADER, f"{len(runs)} runs: {_counts(labels)}. By data set: {_counts(data)}."]
    for group in ("dev", "held-out"):
        chosen = of_group(runs, group)
        parts += [f"## Group: {group}", confusion(chosen), compare(chosen, DETECTORS), lead(chosen)]
        parts += [by_kind(chosen), by_cause(chosen)]
    parts.append(UNKNOWN)
    for group in ("dev", "held-out"):
        chosen = of_group(unknown, group)
        detectors: dict[str, Detector] = {"nothing known": blind, "digits known": verdict}
        parts += [f"### Group: {group}", confusion(chosen, blind), compare(chosen, detectors)]
    parts += ["## What health.rewind saves", rescued(runs, rewound)]
    text = "\n\n".join(parts)
    (RESULTS / "collapse.md").write_text(text + "\n")
    print(text)
    draw(of_group(runs, "held-out"), RESULTS / "collapse.png")


def of_group(runs: list[Run], group: str) -> list[Run]:
    """The development or the held-out causes."""
    return [run for run in runs if run.rows[0]["group"] == group]


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
    if min(row["truth.finite"] for row in last) < 1:
        return "diverged"
    kept = statistics.median(row["truth.kept"] for row in last)
    return "healthy" if kept >= 0.75 else "collapsed" if kept <= 0.5 else "unclear"


def verdict(rows: list[Row], seen: str = "metric") -> int | None:
    """The first report at which trainers/health.py calls a run collapsed or diverged, or None. ``seen`` are the columns
    that it is shown.
    """
    called = calls(rows, seen)
    return _first(rows, lambda i: called[i])


def calls(rows: list[Row], seen: str = "metric") -> list[bool]:
    """Whether the verdict is bad, report by report."""
    monitor = HealthMonitor(config.Health())
    told = [monitor.observe(row["images"], *(_part(row, kind) for kind in ("loss", "signal", seen))) for row in rows]
    return [health.verdict in ("collapsed", "diverged") for health in told]


blind = partial(verdict, seen="blind")


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


def confusion(runs: list[Run], detector: Detector = verdict) -> str:
    """What runs became, against the last word of trainers/health.py on them."""
    said = [(run.label, "alarm" if detector(run.rows) is not None else "none") for run in runs]
    counts = Counter(said)
    lines = [(label, counts[label, "alarm"], counts[label, "none"]) for label in LABELS]
    return table(("became", "called collapsed or diverged", "not called"), lines)


def compare(runs: list[Run], detectors: dict[str, Detector]) -> str:
    """Recall, false alarms and lead of every detector."""
    bad, good = failing(runs), [run for run in runs if run.label == "healthy"]
    lines = []
    for name, detector in detectors.items():
        found = [(run, at) for run in bad if (at := detector(run.rows)) is not None]
        alarms = sum(detector(run.rows) is not None for run in good)
        median = f"{statistics.median(spent(run, at) for run, at in found):.2f}" if found else ""
        recall, rate = share(len(found), len(bad)), share(alarms, len(good))
        lines.append((name, f"{len(found)}/{len(bad)}", recall, f"{alarms}/{len(good)}", rate, median))
    head = ("detector", "found", "recall", "false alarms", "rate", "median share of the failing part spent")
    return table(head, lines)


def share(count: int, of: int) -> str:
    """A proportion with its interval."""
    low, high = binomtest(count, of).proportion_ci()
    return f"{count / of:.3f} [{low:.2f}, {high:.2f}]"


def by_kind(runs: list[Run]) -> str:
    """Failing runs by whether they had ever kept three quarters of the modes, and calls before a late cause."""
    lines = []
    for name, learned in (("never learned", False), ("lost what it had", True)):
        mine = [run for run in failing(runs) if (max(row["truth.kept"] for row in run.rows) >= 0.75) == learned]
        found = sum(verdict(run.rows) is not None for run in mine)
        early = sum(any(calls([row for row in run.rows if row["images"] <= _start(run.rows)])) for run in mine)
        lines.append((name, len(mine), found, early))
    return table(("kind of failure", "runs", "called", "called before its cause already"), lines)


def failing(runs: list[Run]) -> list[Run]:
    """Those that a detector should call."""
    return [run for run in runs if run.label in ("collapsed", "diverged")]


def spent(run: Run, at: int) -> float:
    """Share of the images from the cause to the end of the budget that were shown before the alarm."""
    start = _start(run.rows)
    return float((run.rows[at]["images"] - start) / (run.rows[0]["budget"] - start))


def lead(runs: list[Run]) -> str:
    """How many failing runs are called by the time that a share of what they still had to spend is spent."""
    shares = [f"{called(runs, verdict, mark):.2f}" for mark in MARKS]
    return table(("called by", *(f"{mark:.0%}" for mark in MARKS)), [("share of failing runs", *shares)])


def called(runs: list[Run], detector: Detector, mark: float) -> float:
    """The share of failing runs that a detector has called by then."""
    bad = failing(runs)
    at = [(run, detector(run.rows)) for run in bad]
    return sum(number is not None and spent(run, number) <= mark for run, number in at) / max(len(bad), 1)


def by_cause(runs: list[Run]) -> str:
    """One row per cause: what became of its runs, and what was said of them."""
    lines = []
    for name in sorted({run.name for run in runs}):
        mine = [run for run in runs if run.name == name]
        became, alarms = Counter(run.label for run in mine), sum(verdict(run.rows) is not None for run in mine)
        lines.append((name, _counts(became), f"{alarms}/{len(mine)}"))
    return table(("cause", "became", "called collapsed or diverged"), lines)


def rescued(runs: list[Run], rewound: list[Run]) -> str:
    """Of the runs that failed, what became of the same settings and seed with rewinds allowed."""
    after = {run.key: run for run in rewound}
    pairs = [(run, after[run.key]) for run in failing(runs) if run.key in after]
    lines = []
    for name in [*sorted({run.name for run, _ in pairs}), "all"]:
        mine = [end for run, end in pairs if name in (run.name, "all")]
        times = [max(row["signal.rewinds"] for row in end.rows) for end in mine]
        lines.append((name, len(mine), _counts(Counter(end.label for end in mine)), f"{statistics.mean(times):.1f}"))
    return table(("cause", "failed without", "became with rewinds", "rewinds a run"), lines)


def draw(runs: list[Run], file: Path) -> None:
    """The curve of every detector: how many failing runs it has called, by the share of their failing part spent."""
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    marks = [i / 100 for i in range(101)]
    for name, detector in DETECTORS.items():
        alarms = sum(detector(run.rows) is not None for run in runs if run.label == "healthy")
        label = f"{name} ({alarms} false alarms)"
        axes.step(marks, [called(runs, detector, mark) for mark in marks], where="post", label=label)
    axes.set(xlabel="share of the failing part spent", ylabel="share of failing runs called", ylim=(0, 1.02))
    axes.legend(fontsize="small")
    axes.grid(alpha=0.3)
    figure.savefig(file, dpi=120)


def _counts(counted: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counted.most_common())


def _part(row: Row, kind: str) -> dict[str, float]:
    return {k.removeprefix(f"{kind}."): v for k, v in row.items() if k.startswith(f"{kind}.") and v is not None}


def _first(rows: list[Row], holds: Callable[[int], bool]) -> int | None:
    """Within the failing part."""
    return next((i for i in range(len(rows)) if rows[i]["images"] > _start(rows) and holds(i)), None)


def _start(rows: list[Row]) -> float:
    """Images before the cause."""
    return float(rows[0]["acted_at"] * rows[0]["budget"])


if __name__ == "__main__":
    main()
