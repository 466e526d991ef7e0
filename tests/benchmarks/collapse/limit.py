"""How well any caller can do with what is recorded: learned ones, and the verdict's own thresholds moved.

    python -m tests.benchmarks.collapse.limit

The learned callers see far more than the verdict: twelve measures of both generators, losses, logits, gradients and
steps, as they are, against their best and worst so far and against earlier parts of the way. They are trained on all
recorded runs and asked about runs of data sets *and* causes that they were not trained on; then the best threshold is
chosen with the answers in hand, so that what they reach is a ceiling. Ten minutes of one core; writes
infra/results/collapse-limit.md.
"""

from __future__ import annotations

import math
import statistics
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import QuantileTransformer

from tests.benchmarks.collapse.replay import (
    Row,
    Run,
    alarm,
    columns,
    failing,
    load_runs,
    spent,
    train_of,
    verdict,
)
from tests.benchmarks.seeds import RESULTS, table
from trainers.course import Course
from trainers.health import THRESHOLDS
from trainers.schedule import first_weights

MEASURES = [
    f"{kind}.{name}"
    for kind in ("metric", "raw")
    for name in ("misfit", "mode_diversity", "diversity", "coverage", "precision", "recall", "density", "fid")
]
SIGNALS = [
    *(f"signal.{side}_{name}" for side in ("real", "fake") for name in ("logit", "sign")),
    *(f"signal.{who}_{name}" for who in ("generator", "discriminator") for name in ("gradient_norm", "update_ratio")),
    "loss.generator",
    "loss.discriminator",
]
WIDE = ("misfit", "fid", "gradient_norm", "update_ratio")
DECIDED = ("healthy", "collapsed", "diverged")
FOLDS = 3
FALSE = (0, 1, 5, 10)
MOVED: dict[str, tuple[float, ...]] = {
    "share of effort": (0.6, 2.5),
    "share": (0.06, 0.24),
    "astray": (0.5, 1.0),
    "varied": (0.25, 1.0),
    "modes fall": (0.5, 1.0),
    "bins": (0.0, 0.5),
    "confirm": (1, 3),
}
"""Half and twice what they are, or what is nearest to it and means something."""
HEADER = """# What a caller can reach with these signals

Written by `python -m tests.benchmarks.collapse.limit`, from all recorded runs: the first held-out half, which is
development data since its verdicts were looked at, the development half and the earlier set. Figures of callers whose
threshold is chosen with the answers in hand are ceilings, no claims."""


def main() -> None:
    """Writes the tables as Markdown."""
    sets = {name: load_runs(RESULTS / f"{name}.parquet") for name in ("held_out", "development", "collapse")}
    parts = [HEADER, "## Learned callers", learned(sets), "## The verdict, one threshold moved", moved(sets)]
    parts += ["## How early a call could come", earliest(sets["held_out"])]
    if (RESULTS / "longer.parquet").exists():
        parts += ["## Four times the budget", longer(sets["held_out"], load_runs(RESULTS / "longer.parquet"))]
    (RESULTS / "collapse-limit.md").write_text("\n\n".join(parts) + "\n")
    print("\n\n".join(parts))


# -- learned -----------------------------------------------------------------------------------------------------------


def features(run: Run) -> np.ndarray:
    """(reports, features), each row from what was known by then."""
    train, course, lines = train_of(run.rows[0]), Course(), []
    measures, signals = (
        np.array([[_value(row, name) for name in of] for row in run.rows]) for of in (MEASURES, SIGNALS)
    )
    images = np.array([row["images"] for row in run.rows], float)
    for i, row in enumerate(run.rows):
        course.move(row["images"], train.batch_size, train.n_dis, columns(row, "signal"))
        at, seen = images[: i + 1] / images[i], measures[: i + 1]
        first, third, last = (
            _median(seen[(at >= low) & (at < high)]) for low, high in ((0.25, 0.5), (0.5, 0.75), (0.75, 2))
        )
        ways = [math.log10(course.ways.get(player, 0.0) + 1e-4) for player in ("generator", "discriminator")]
        pace = [row["images"] / train.images, math.log10(row["images"] / train.batch_size), i + 1.0]
        held = first_weights(row["images"], train.ema_half_life, train.ema_ramp)
        known = [*ways, *pace, held, max(r.get("signal.nonfinite") or 0 for r in run.rows[: i + 1])]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of measures that were never taken
            best, worst = np.nanmax(seen, 0), np.nanmin(seen, 0)
        usual = _median(signals[: i + 1])
        parts = [known, seen[-1], seen[-1] - best, seen[-1] - worst, last, last - third, last - first]
        lines.append(np.concatenate([*parts, signals[i], _median(signals[i // 2 : i + 1]), signals[i] - usual]))
    return np.array(lines)


def _value(row: Row, name: str) -> float:
    value = row.get(name)
    if value is None or not math.isfinite(value):
        return math.nan
    return math.log10(max(value, 1e-8)) if name.endswith(WIDE) else float(value)


def _median(values: np.ndarray) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.nanmedian(values, 0) if len(values) else np.full(values.shape[1], math.nan)


def learned(sets: dict[str, list[Run]]) -> str:
    """Recall of both kinds of caller where so many healthy runs are ended."""
    runs = [run for part in sets.values() for run in part if run.label in DECIDED]
    seen, old = [features(run) for run in runs], {id(run) for run in sets["held_out"]}
    lines = []
    for name, model in (("gradient boosting", boosting), ("logistic regression", logistic)):
        scores = crossed(runs, seen, model)
        peaks = sorted(
            (max(score) for run, score in zip(runs, scores, strict=True) if run.label == "healthy"), reverse=True
        )
        for count in FALSE:
            found = [(run, _call(run, score, peaks[count])) for run, score in zip(runs, scores, strict=True)]
            cells: list[Any] = [name, f"{count}/{len(peaks)}"]
            for mine in (found, [one for one in found if id(one[0]) in old]):
                bad = [(run, at) for run, at in mine if run.label != "healthy"]
                ways = [spent(run, at) for run, at in bad if at is not None]
                cells += [f"{len(ways)}/{len(bad)} = {len(ways) / len(bad):.2f}", f"{statistics.median(ways):.2f}"]
            lines.append(cells)
    head = (
        "caller",
        "healthy runs ended",
        "recall, all",
        "median spent",
        "recall, first held-out half",
        "median spent",
    )
    return table(head, lines)


def boosting() -> Any:
    """A hundred small trees."""
    return HistGradientBoostingClassifier(max_iter=100, learning_rate=0.1, max_leaf_nodes=15, min_samples_leaf=40)


def logistic() -> Any:
    """On ranks, so that nothing astronomic reigns."""
    ranks = QuantileTransformer(output_distribution="normal", n_quantiles=200)
    fill = SimpleImputer(strategy="median", keep_empty_features=True)
    return Pipeline([("fill", fill), ("ranks", ranks), ("model", LogisticRegression(C=0.03, max_iter=1000))])


def crossed(runs: list[Run], seen: list[np.ndarray], model: Callable[[], Any]) -> list[np.ndarray]:
    """Of each run the probability of failing at its reports, by a model that knows neither its data nor its cause."""
    data, cause = _folds([run.key[0] for run in runs]), _folds([run.name for run in runs])
    scores: dict[int, np.ndarray] = {}
    for one, other in product(range(FOLDS), repeat=2):
        asked = [i for i in range(len(runs)) if (data[i], cause[i]) == (one, other)]
        known = [i for i in range(len(runs)) if data[i] != one and cause[i] != other]
        rows = [np.array([run.label == "healthy" or row["images"] > run.start for row in run.rows]) for run in runs]
        x = np.concatenate([seen[i][rows[i]] for i in known])
        y = np.concatenate([np.full(rows[i].sum(), runs[i].label != "healthy") for i in known])
        weight = np.concatenate([np.full(rows[i].sum(), 1 / rows[i].sum()) for i in known])
        fitted = model()
        named = {"model__sample_weight": weight} if isinstance(fitted, Pipeline) else {"sample_weight": weight}
        fitted.fit(x, y, **named)
        scores |= {i: fitted.predict_proba(seen[i])[:, 1] for i in asked}
    return [scores[i] for i in range(len(runs))]


def _folds(names: list[str]) -> list[int]:
    """The most frequent ones apart."""
    ordered = sorted(set(names), key=lambda name: (-names.count(name), name))
    return [ordered.index(name) % FOLDS for name in names]


def _call(run: Run, score: np.ndarray, over: float) -> int | None:
    return next((i for i, row in enumerate(run.rows) if row["images"] > run.start and score[i] > over), None)


# -- the verdict -------------------------------------------------------------------------------------------------------


def moved(sets: dict[str, list[Run]]) -> str:
    """Recall, healthy runs ended and median on all runs."""
    runs = [run for part in sets.values() for run in part if run.label in DECIDED]
    lines = [("as it is", "", *_reached(runs))]
    for name, values in MOVED.items():
        for value in values:
            with _set(name, value):
                lines.append((name, f"{value:g}", *_reached(runs)))
    return table(("threshold", "value", "found", "healthy runs ended", "median spent"), lines)


def _reached(runs: list[Run]) -> tuple[str, str, str]:
    ways, ended = [], 0
    for run in runs:
        called = verdict(run.rows)
        if run.label == "healthy":
            ended += any(called)
        elif (at := alarm(run, lambda _, called=called: called)) is not None:  # type: ignore[misc]
            ways.append(spent(run, at))
    good = sum(run.label == "healthy" for run in runs)
    return f"{len(ways)}/{len(runs) - good}", f"{ended}/{good}", f"{statistics.median(ways):.2f}"


@contextmanager
def _set(name: str, value: float) -> Iterator[None]:
    before = THRESHOLDS[name]
    THRESHOLDS[name] = value
    yield
    THRESHOLDS[name] = before


def earliest(runs: list[Run]) -> str:
    """What is spent of the failing part at its first evaluations."""
    bad, lines = failing(runs), []
    for count in (1, 2, 3):
        ways = []
        for run in bad:
            after = [i for i, row in enumerate(run.rows) if row["images"] > run.start]
            ways.append(spent(run, after[min(count, len(after)) - 1]))
        lines.append((count, f"{statistics.median(ways):.2f}", f"{sum(way <= 0.35 for way in ways)}/{len(ways)}"))
    return table(("evaluations within the failing part", "median spent", "by .35"), lines)


def longer(runs: list[Run], again: list[Run]) -> str:
    """What runs that were set to learn and failed become with four times the images."""
    known, lines = {run.key: run for run in runs}, []
    for run in again:
        short = known[run.key]
        said = "ended" if alarm(short) is not None else "not ended"
        lines.append((*run.key, said, run.label, "ended" if any(verdict(run.rows)) else "not ended"))
    grown = sum(run.label == "healthy" for run in again)
    head = ("data", "cause", "number", "within its budget", "with four times as many images it is", "and is then")
    told = f"{grown} of {len(again)} that failed within their budget are healthy at the end of four times as much."
    return f"{told}\n\n{table(head, lines)}"


if __name__ == "__main__":
    main()
