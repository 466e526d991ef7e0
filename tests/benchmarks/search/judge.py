"""What the replayed searches say: ``infra/results/search.md``, and the regret over time as a picture.

    python -m tests.benchmarks.search.judge

Methods are paired by seed. Intervals are 95 %, from 2,000 bootstrap samples of the seeds.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.search.methods import METHODS
from tests.benchmarks.search.replay import MOMENTS, TRAININGS, rows
from tests.benchmarks.seeds import RESULTS, table

OURS = "gansweep"
LATE = 2.0
"""What was not confirmed in this many lengths of a search counts as confirmed then."""
SAMPLES = 2_000
NOBODY = 3.0
"""The regret of a search that can name nobody yet; more than that of the worst settings seen."""
Values = NDArray[np.float64]
Plays = dict[str, dict[int, dict[str, Any]]]
"""By method and seed."""


def main() -> None:
    """Writes the page."""
    played: dict[tuple[str, int], Plays] = defaultdict(lambda: defaultdict(dict))
    for row in rows():
        played[row["task"], row["slots"]][row["method"]][row["seed"]] = row
    parts = [INTRODUCTION]
    for (task, slots), plays in sorted(played.items()):
        seeds = sorted(plays[OURS])
        parts.append(f"## {task}, slots: {slots}; {len(seeds)} seeds\n\n{_table(slots, plays, seeds)}\n")
    parts.append(f"## Methods\n\n{table(('method', ''), [(name, one.words) for name, one in METHODS.items()])}\n")
    picture(played)
    (RESULTS / "search.md").write_text("\n".join(parts))


def _table(slots: int, plays: Plays, seeds: Sequence[int]) -> str:
    end = TRAININGS / slots
    columns = {
        method: {name: np.array([read(plays[method][seed]) for seed in seeds]) for name, read in _measures(end).items()}
        for method in METHODS
        if plays.get(method, {}).keys() >= set(seeds)
    }
    ours = columns[OURS]
    lines = []
    for method, of in columns.items():
        time = of["time"]
        ratio = "" if method == OURS else interval(_ratio, ours["time"], time)
        cells = [interval(_mean, time), f"{np.mean(time < LATE * end):.2f}", ratio]
        cells += [interval(_median, of["regret"]), f"{np.mean(of['risk']):.3f}", f"{np.mean(of['confirmed_risk']):.3f}"]
        lines.append([method, *cells])
    return table(HEAD, lines)


def _measures(end: float) -> Mapping[str, Callable[[dict[str, Any]], float]]:
    """Of a play that lasts so long; who can name nobody names somebody that fails."""
    return {
        "time": lambda row: min(_or(row["confirmed_at"], np.inf), LATE * end),
        "regret": lambda row: _or(row["regret"][-1], NOBODY),
        "risk": lambda row: _or(row["risk"], 1.0),
        "confirmed_risk": lambda row: _or(row["confirmed_risk"], 1.0),
    }


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


def interval(measure: Callable[..., float], *columns: Values) -> str:
    """A measure of columns that are paired by seed, and where it lies in 95 % of the bootstrap's samples."""
    dice, count = np.random.default_rng(0), len(columns[0])
    drawn = dice.integers(count, size=(SAMPLES, count))
    low, high = np.percentile([measure(*(column[of] for column in columns)) for of in drawn], (2.5, 97.5))
    return f"{measure(*columns):.2f} [{low:.2f}, {high:.2f}]"


def _mean(values: Values) -> float:
    return float(np.mean(values))


def _median(values: Values) -> float:
    return float(np.median(values))


def _ratio(ours: Values, theirs: Values) -> float:
    return float(np.mean(ours) / np.mean(theirs))


def picture(played: Mapping[tuple[str, int], Plays]) -> None:
    """The median regret over time, of gansweep and the peers."""
    rows = math.ceil(len(played) / 3)
    figure, axes = plt.subplots(rows, 3, figsize=(12.6, 3.6 * rows), squeeze=False, sharey="row")
    for axis, ((task, slots), plays) in zip(axes.flat, sorted(played.items()), strict=False):
        moments = np.arange(1, MOMENTS + 1) * TRAININGS / slots / MOMENTS
        for number, method in enumerate(PICTURED):
            found = plays.get(method, {}).values()
            curves = np.array([[_or(value, NOBODY) for value in row["regret"]] for row in found])
            if len(curves):
                axis.plot(
                    moments,
                    np.median(curves, axis=0),
                    label=method,
                    color=f"C{number}",
                    linewidth=2.5 if method == OURS else 1.2,
                )
        axis.set(title=f"{task}, slots: {slots}", xlabel="time, in whole trainings", ylim=(0, 1.6))
        axis.grid(alpha=0.3)
    for row in axes:
        row[0].set_ylabel("regret: log of the score, above the best")
    axes[0][-1].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(RESULTS / "search.png", dpi=110)


PICTURED = (OURS, "random", "random x2", "tpe", "hyperband", "median", "asha", "one evaluation")
HEAD = ("method", "time", "reached", "gansweep's / its time", "regret", "risk", "risk after the race")
INTRODUCTION = f"""# Searches, replayed in virtual time

Written by `python -m tests.benchmarks.search.judge` from `search/replay.jsonl`, whose rows are of

    python -m tests.benchmarks.search.replay pool:digits --methods {" ".join(map(repr, PICTURED))}
    python -m tests.benchmarks.search.replay pool:ring --methods {" ".join(map(repr, PICTURED))}
    python -m tests.benchmarks.search.replay pool:stacked-digits --methods {" ".join(map(repr, PICTURED))}
    python -m tests.benchmarks.search.replay synthetic --slots 4 --seeds 20
    python -m tests.benchmarks.search.replay synthetic --slots 1 16 --seeds 10 --methods {" ".join(map(repr, PICTURED))}

Not all came to their 100 seeds; each table says how many it has.
The three tasks of the [recorded table](search/README.md), and a family of formulas
(`tests/benchmarks/search/synthetic.py`), a new one for each seed. TPE's kernel widths and the first rung were chosen on
the same tables, on other seeds of the search (decision 0030); the peers are as they come. The same for real, against
the clock on the wall, is in [search-real.md](search-real.md).

The code is the real one: ledger, rungs, samplers and confirmation; Optuna's samplers and `HyperbandPruner`; Ray Tune's
`ASHAScheduler`, as their documentation shows them. Whatever collapses is ended at once for all, which favours peers
that have no such verdict. A search lasts as long as {TRAININGS} trainings take on its slots; one takes 1 on average.

- **time** until settings of the best 2 % are *confirmed*, of which at most a fifth of the trainings collapse: the
  search is ended at one of {MOMENTS} moments, and its finished trials go through the race of decision 0030, whose time
  is counted. Mean with 95 % interval (bootstrap over seeds, paired for ratios); what was not confirmed after {LATE:g}
  lengths of the search counts as that. **reached**: the share that was confirmed before.
- **regret** of whom the search names at its end without a race: the log of the score without luck, above the best of
  2,000 random settings. Median.
- **risk**: of whom it names at its end, the share of further trainings that would collapse; in the last column of whom
  the race leaves.

The peers begin with the same random settings, so one lucky draw is shared by all of them; gansweep begins with others.
A race is as large as a third of what was trained allows, so that with more slots it is longer in proportion.
On the table, a race has one or two seeds of a row to confirm by, and every proposal is moved to the nearest of 512
rows: who tries many settings for a short time has tried a large part of all there are.
Not played yet: Syne Tune's ASHA-CQR (100 s of CPU a search) and BOHB. Of Ray's `OptunaSearch` Optuna's
sampler takes the place, told what it would be told.

![the median regret over time](search.png)
"""


if __name__ == "__main__":
    main()
