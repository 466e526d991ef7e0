"""How often the verdict is right: replays trainers/health.py over the recorded signals of the labelled set.

    python -m tests.benchmarks.collapse.judge

Reads from infra/results the held-out half (held_out.parquet) and the development half: development.parquet, and the
earlier set, collapse.parquet, and unknown.parquet (its pictures, measured as data of which nothing is known). A minute;
writes collapse.md and collapse.png there. What a run is comes from its truth columns at the end; what a detector says,
from the others.
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

from tests.benchmarks.collapse import earlier
from tests.benchmarks.seeds import RESULTS, table
from trainers import config
from trainers.health import HealthMonitor
from trainers.report import Health

Row = dict[str, Any]
Detector = Callable[[list[Row]], list[bool]]
"""Whether a run is called, report by report."""

LABELS = ("healthy", "learning", "unclear", "collapsed", "diverged")
MARKS = (0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0)
LAST = 3
"""Reports at the end whose median says what became of a run, so that an oscillation is not judged by one moment."""
GAINED = 0.9
BATCH = {"digits": 64, "stacked-digits": 64, "ring": 128, "grid": 128}  # of the earlier set, which did not record it
HEADER = """# How often the verdict on collapse is right

Written by `python -m tests.benchmarks.collapse.judge`. A run is *healthy* where its last samples keep three quarters of
the modes or classes, *diverged* where what it makes is no longer finite, *collapsed* where they keep half or fewer,
and *unclear* in between. One that keeps too few and whose distance to the data still falls by a tenth over the last
part of its budget is *learning*. Unclear and learning runs count on no side; how many of them were ended is shown.
"Failing part": from the cause (the start, or the moment of a late one) to the end; only calls within it count as found.
Runs named "learns" were not made to fail: those that fail had rates, sizes or lengths that did not do. Brackets: 95 %
intervals (Clopper and Pearson 1934). What any caller could reach: collapse-limit.md.

**None of these figures is held out.** The first held-out half was written by somebody who saw neither rules nor
verdicts, with other settings, causes and pictures, and judged once, by rules that were fixed before. Then its errors
were looked at, and the rules of today were made on it too, as on the two other sets. What it said of the rules that
they replace:

| held out, rules of commit 170c621 | found | recall | healthy runs ended | rate | median spent |
| --- | --- | --- | --- | --- | --- |
| as recorded | 70/102 | 0.686 [0.587, 0.775] | 1/184 | 0.005 [0.000, 0.030] | 0.50 |
| data taken for unknown, added later | 30/45 | 0.667 [0.510, 0.800] | 4/104 | 0.038 [0.011, 0.096] | 0.55 |

A held-out figure of today's rules needs a new half (HELD_OUT.md)."""


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


def main() -> None:
    """Writes the tables as Markdown, and the curve."""
    held_out = load_runs(RESULTS / "held_out.parquet")
    development, old = load_runs(RESULTS / "development.parquet"), load_runs(RESULTS / "collapse.parquet")
    unknown = load_runs(RESULTS / "unknown.parquet")
    parts = [HEADER, "## The first held-out half, now development data", summary(held_out), confusion(held_out)]
    parts += [compare(held_out, DETECTORS), UNKNOWN, compare(blind(held_out), BLIND)]
    parts += [
        lead(held_out),
        slow(held_out),
        by_intent(held_out),
        by_kind(held_out),
        by_cause(held_out),
        missed(held_out),
    ]
    parts += ["## Development half", summary(development), confusion(development), compare(development, DETECTORS)]
    parts += [UNKNOWN, compare(blind(development), BLIND), slow(development)]
    parts += ["## The earlier set", "Only the averaged generator was measured.", summary(old), confusion(old)]
    parts += [compare(old, DETECTORS), UNKNOWN, compare(unknown, BLIND)]
    text = "\n\n".join(parts)
    (RESULTS / "collapse.md").write_text(text + "\n")
    print(text)
    draw(held_out, RESULTS / "collapse.png")


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
    monitor, plain = HealthMonitor(config.Health(), _train(rows[0])), {"metric": "raw", "blind": "blind_raw"}[seen]
    answers = []
    for row in rows:
        measures = _part(row, seen) | {f"raw_{name}": value for name, value in _part(row, plain).items()}
        answers.append(monitor.observe(row["images"], _part(row, "loss"), _part(row, "signal"), measures))
    return answers


def verdict(rows: list[Row], seen: str = "metric") -> list[bool]:
    """The verdict of today."""
    return [health.verdict in config.BAD for health in told(rows, seen)]


def before(rows: list[Row], seen: str = "metric") -> list[bool]:
    """The verdict until 2026-11-25."""
    monitor = earlier.HealthMonitor(config.Health())
    parts = (tuple(_part(row, kind) for kind in ("loss", "signal", seen)) for row in rows)
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
UNKNOWN = """Those of built-in data, taken for data of which nothing is known (no centres, no classifier, features of
random convolutions):"""


def blind(runs: list[Run]) -> list[Run]:
    """Those that were measured so too."""
    return [run for run in runs if run.rows[0].get("blind.misfit") is not None]


def alarm(run: Run, detector: Detector = verdict) -> int | None:
    """The first report within the failing part at which a run is called, or None."""
    called = detector(run.rows)
    return next((i for i, row in enumerate(run.rows) if row["images"] > run.start and called[i]), None)


def summary(runs: list[Run]) -> str:
    """What became of the runs, and what they were trained on."""
    labels, data = Counter(run.label for run in runs), Counter(str(run.rows[0]["data"]) for run in runs)
    return f"{len(runs)} runs: {_counts(labels)}. By data set: {_counts(data)}."


def confusion(runs: list[Run]) -> str:
    """What runs became, against the last word of trainers/health.py on them, or that it ended them."""
    said: Counter[tuple[str, str]] = Counter()
    for run in runs:
        last = told(run.rows)[-1].verdict
        said[run.label, "ended" if alarm(run) is not None else last] += 1
    words = ("ended", "suspect", "unjudged", "slow", "healthy")
    lines = [(name, *(said[name, word] for word in words)) for name in LABELS]
    return table(("became", "ended (stuck, collapsed, diverged)", *(f"last: {word}" for word in words[1:])), lines)


def compare(runs: list[Run], detectors: dict[str, Detector]) -> str:
    """Recall, false alarms and lead of every detector."""
    bad, good = failing(runs), [run for run in runs if run.label == "healthy"]
    lines = []
    for name, detector in detectors.items():
        found = [(run, at) for run in bad if (at := alarm(run, detector)) is not None]
        alarms = sum(any(detector(run.rows)) for run in good)
        median = f"{statistics.median(spent(run, at) for run, at in found):.2f}" if found else ""
        recall, rate = share(len(found), len(bad)), share(alarms, len(good))
        lines.append((name, f"{len(found)}/{len(bad)}", recall, f"{alarms}/{len(good)}", rate, median))
    head = ("detector", "found", "recall", "healthy runs called", "rate", "median share of the failing part spent")
    return table(head, lines)


def share(count: int, of: int) -> str:
    """A proportion with its interval."""
    low, high = binomtest(count, of).proportion_ci()
    return f"{count / of:.3f} [{low:.3f}, {high:.3f}]"


def slow(runs: list[Run]) -> str:
    """Healthy runs by the share of their budget until FID first came to twice its last value: the upper half are the
    slow learners.
    """
    good = sorted((run for run in runs if run.label == "healthy"), key=_half_way)
    lines = []
    for name, mine in (("quick half", good[: len(good) // 2]), ("slow half", good[len(good) // 2 :])):
        ways = [_half_way(run) for run in mine]
        row = [f"{sum(any(detector(run.rows)) for run in mine)}/{len(mine)}" for detector in (verdict, before)]
        alarms = sum(any(verdict(run.rows)) for run in mine)
        lines.append((name, f"{min(ways):.2f} to {max(ways):.2f}", *row, share(alarms, len(mine))))
    return table(
        ("healthy runs", "share of the budget to twice the last FID", "called", "called before", "rate"), lines
    )


def _half_way(run: Run) -> float:
    fids = [row.get("metric.fid") for row in run.rows]
    goal = 2 * (fids[-1] or 0.0)
    at = next((row["images"] for row, fid in zip(run.rows, fids, strict=True) if fid is not None and fid <= goal), 0)
    return float(at / run.rows[0]["budget"])


def by_kind(runs: list[Run]) -> str:
    """Failing runs by whether they had ever kept three quarters of the modes, and calls before a late cause."""
    lines = []
    for name, learned in (("never learned", False), ("lost what it had", True)):
        mine = [
            run for run in failing(runs) if (max(row.get("truth.kept") or 0 for row in run.rows) >= 0.75) == learned
        ]
        found = sum(alarm(run) is not None for run in mine)
        early = sum(_called_before_its_cause(run) for run in mine)
        lines.append((name, len(mine), found, early))
    return table(("kind of failure", "runs", "called", "called before its cause already"), lines)


def by_intent(runs: list[Run]) -> str:
    """Failing runs that were made to fail, and those that were only set to learn and did not."""
    lines = []
    for name, meant in (("made to fail", True), ("set to learn", False)):
        mine = [run for run in failing(runs) if run.name.startswith("learns") != meant]
        found = [sum(alarm(run, detector) is not None for run in mine) for detector in (verdict, before)]
        lines.append((name, len(mine), found[0], share(found[0], len(mine)), found[1]))
    return table(("failing runs", "runs", "called", "recall", "called by the verdict before"), lines)


def _called_before_its_cause(run: Run) -> bool:
    return any(bad for row, bad in zip(run.rows, verdict(run.rows), strict=True) if row["images"] <= run.start)


def _most_kept(run: Run) -> float:
    return max(row.get("truth.kept") or 0.0 for row in run.rows)


def failing(runs: list[Run]) -> list[Run]:
    """Those that a detector should call."""
    return [run for run in runs if run.label in ("collapsed", "diverged")]


def spent(run: Run, at: int) -> float:
    """Share of the images from the cause to the end of the budget that were shown before the alarm."""
    return float((run.rows[at]["images"] - run.start) / (run.rows[0]["budget"] - run.start))


def lead(runs: list[Run]) -> str:
    """How many failing runs are called by the time that a share of what they still had to spend is spent."""
    at = _alarms(runs, verdict)
    shares = [f"{sum(one <= mark for one in at) / max(len(failing(runs)), 1):.2f}" for mark in MARKS]
    return table(("called by", *(f"{mark:.0%}" for mark in MARKS)), [("share of failing runs", *shares)])


def _alarms(runs: list[Run], detector: Detector) -> list[float]:
    return [spent(run, at) for run in failing(runs) if (at := alarm(run, detector)) is not None]


def by_cause(runs: list[Run]) -> str:
    """One row per cause: what became of its runs, and what was said of them."""
    lines = []
    for name in sorted({run.name for run in runs}):
        mine = [run for run in runs if run.name == name]
        became, alarms = Counter(run.label for run in mine), sum(alarm(run) is not None for run in mine)
        lines.append((name, _counts(became), f"{alarms}/{len(mine)}"))
    return table(("cause", "became", "ended"), lines)


def missed(runs: list[Run]) -> str:
    """Failing runs that were not called, with the last reasons, and healthy ones that were, with the first."""
    lines = []
    for run in runs:
        answers, at = told(run.rows), alarm(run)
        if run.label in ("collapsed", "diverged") and at is None:
            lines.append(("missed", *run.key, answers[-1].verdict, "; ".join(answers[-1].reasons)))
        bad = next((health for health in answers if health.verdict in config.BAD), None)
        if run.label == "healthy" and bad:
            lines.append(("false alarm", *run.key, bad.verdict, "; ".join(bad.reasons)))
    return (
        table(("error", "data", "cause", "number", "verdict", "reasons"), lines)
        if lines
        else "No run was judged wrong."
    )


def draw(runs: list[Run], file: Path) -> None:
    """The curve of every detector: how many failing runs it has called, by the share of their failing part spent."""
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    marks = [i / 100 for i in range(101)]
    for name, detector in DETECTORS.items():
        alarms = sum(any(detector(run.rows)) for run in runs if run.label == "healthy")
        at = _alarms(runs, detector)
        curve = [sum(one <= mark for one in at) / max(len(failing(runs)), 1) for mark in marks]
        axes.step(marks, curve, where="post", label=f"{name} ({alarms} false alarms)")
    axes.set(xlabel="share of the failing part spent", ylabel="share of failing runs called", ylim=(0, 1.02))
    axes.legend(fontsize="small")
    axes.grid(alpha=0.3)
    figure.savefig(file, dpi=120)


def _train(first: Row) -> config.Train:
    if first.get("train"):
        return config.Train.model_validate_json(first["train"])
    settings = {"images": first["budget"], "batch_size": BATCH[first["data"]], "ema_half_life": 2_000, "ema_ramp": 0}
    return config.Train.model_validate(settings)


def _counts(counted: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counted.most_common())


def _part(row: Row, kind: str) -> dict[str, float]:
    return {k.removeprefix(f"{kind}."): v for k, v in row.items() if k.startswith(f"{kind}.") and v is not None}


if __name__ == "__main__":
    main()
