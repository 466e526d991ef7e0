"""How often the verdict is right: replays trainers/health.py over the recorded signals of the labelled set.

    python -m tests.benchmarks.collapse.judge

Reads from infra/results the second held-out half (second.parquet), the first one (held_out.parquet), runs of it with
more time (longer.parquet), the development half (development.parquet), and the
earlier set: collapse.parquet, and unknown.parquet (its pictures, measured as data of which nothing is known). Two
minutes; writes collapse.md and collapse.png there.
"""

from __future__ import annotations

import statistics
from collections import Counter
from pathlib import Path

import matplotlib.pyplot as plt
from scipy.stats import binomtest

from tests.benchmarks.collapse.replay import (
    BLIND,
    DETECTORS,
    Detector,
    Run,
    alarm,
    before,
    blind,
    failing,
    load_runs,
    spent,
    told,
    verdict,
)
from tests.benchmarks.seeds import RESULTS, table
from trainers import config

LABELS = ("healthy", "learning", "unclear", "collapsed", "diverged")
MARKS = (0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0)
HEADER = """# How often the verdict on collapse is right

Written by `python -m tests.benchmarks.collapse.judge`. A run is *healthy* where its last samples keep three quarters of
the modes or classes, *diverged* where what it makes is no longer finite, *collapsed* where they keep half or fewer,
and *unclear* in between. One that keeps too few and whose distance to the data still falls by a tenth over the last
part of its budget is *learning*. Unclear and learning runs count on no side; how many of them were ended is shown.
"Failing part": from the cause (the start, or the moment of a late one) to the end; only calls within it count as found.
Runs named "learns" were not made to fail: those that fail had rates, sizes or lengths that did not do. Brackets: 95 %
intervals (Clopper and Pearson 1934). What any caller could reach: collapse-limit.md.

**None of these figures is held out, but those of this table.** Each half was written by somebody who saw neither rules
nor verdicts, with other settings, causes, data and pictures, and judged once, by rules that were fixed before
(HELD_OUT.md, SECOND.md). Then its errors were looked at, and the rules of today were made on it too (decision 0009).

| held out, and the rules that judged it | found | recall | healthy runs ended | rate | median spent |
| --- | --- | --- | --- | --- | --- |
| first half, commit 170c621 | 70/102 | 0.686 [0.587, 0.775] | 1/184 | 0.005 [0.000, 0.030] | 0.50 |
| its data taken for unknown, added later | 30/45 | 0.667 [0.510, 0.800] | 4/104 | 0.038 [0.011, 0.096] | 0.55 |
| second half, commit 6b262ac | 40/66 | 0.606 [0.478, 0.724] | 1/166 | 0.006 [0.000, 0.033] | 0.60 |
| its slow half | | | 0/83 | 0.000 [0.000, 0.043] | |
| its data taken for unknown | 8/14 | 0.571 [0.289, 0.823] | 0/31 | 0.000 [0.000, 0.112] | 0.57 |"""
UNKNOWN = """Those of built-in data, taken for data of which nothing is known (no centres, no classifier, features of
random convolutions):"""


def main() -> None:
    """Writes the tables as Markdown, and the curve."""
    second, first = load_runs(RESULTS / "second.parquet"), load_runs(RESULTS / "held_out.parquet")
    longer, development = load_runs(RESULTS / "longer.parquet"), load_runs(RESULTS / "development.parquet")
    old, unknown = load_runs(RESULTS / "collapse.parquet"), load_runs(RESULTS / "unknown.parquet")
    parts = [HEADER, "## The second held-out half, now development data", *of(second), lead(second), slow(second)]
    parts += [by_intent(second), by_kind(second), by_cause(second), wrong(second)]
    parts += ["## The first held-out half, now development data", *of(first), slow(first), by_intent(first)]
    parts += ["## Of its runs that did not learn, those that were given four times the budget", *of(longer)]
    parts += ["## Development half", *of(development), slow(development)]
    parts += ["## The earlier set", "Only the averaged generator was measured.", summary(old), confusion(old)]
    parts += [compare(old, DETECTORS), UNKNOWN, compare(unknown, BLIND)]
    text = "\n\n".join(parts)
    (RESULTS / "collapse.md").write_text(text + "\n")
    print(text)
    draw(second, RESULTS / "collapse.png")


def of(runs: list[Run]) -> list[str]:
    """What every set has: what became of it, what was said of it, and of what of it was taken for unknown data."""
    return [summary(runs), confusion(runs), compare(runs, DETECTORS), UNKNOWN, compare(blind(runs), BLIND)]


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
    """Healthy runs by the share of their budget until FID first came to twice its last value, the upper half of which
    are the slow learners; and those that were late by what they truly kept.
    """
    good = sorted((run for run in runs if run.label == "healthy"), key=_half_way)
    kinds = {
        "quick half": good[: len(good) // 2],
        "slow half": good[len(good) // 2 :],
        "under 3/4 of the modes in the first third": [run for run in good if _most(run, until=1 / 3) < 0.75],
        "under half of them in the first fifth": [run for run in good if _most(run, until=0.2) < 0.5],
    }
    lines = []
    for name, mine in kinds.items():
        ways = [_half_way(run) for run in mine] or [0.0]
        alarms, once = (sum(any(detector(run.rows)) for run in mine) for detector in (verdict, before))
        row = (f"{alarms}/{len(mine)}", f"{once}/{len(mine)}", share(alarms, len(mine)) if mine else "")
        lines.append((name, f"{min(ways):.2f} to {max(ways):.2f}", *row))
    return table(("healthy runs", "share of the budget to twice the last FID", "ended", "ended before", "rate"), lines)


def _most(run: Run, until: float = 1.0) -> float:
    """Of the modes, truly kept at any look within a share of the budget."""
    looks = (row for row in run.rows if row["images"] <= until * row["budget"])
    return max((row.get("truth.kept") or 0.0 for row in looks), default=0.0)


def _half_way(run: Run) -> float:
    fids = [row.get("metric.fid") for row in run.rows]
    goal = 2 * (fids[-1] or 0.0)
    at = next((row["images"] for row, fid in zip(run.rows, fids, strict=True) if fid is not None and fid <= goal), 0)
    return float(at / run.rows[0]["budget"])


def by_kind(runs: list[Run]) -> str:
    """Failing runs by whether they had ever kept three quarters of the modes, and calls before a late cause."""
    lines = []
    for name, learned in (("never learned", False), ("lost what it had", True)):
        mine = [run for run in failing(runs) if (_most(run) >= 0.75) == learned]
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


def wrong(runs: list[Run]) -> str:
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


def _counts(counted: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counted.most_common())


if __name__ == "__main__":
    main()
