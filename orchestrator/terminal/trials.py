"""The trials of a sweep as a table, that ``status`` prints and the live display redraws."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestrator.status import origin_words

console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)

_COLOURS = {
    "finished": "green",
    "running": "cyan",
    "waiting": "yellow",
    "pruned": "dim",
    "stuck": "red",
    "collapsed": "red",
    "diverged": "red",
    "crashed": "bold red",
}


def table(title: str, trials: Sequence[dict[str, Any]], marked: Collection[int], screen: Console) -> tuple[Table, int]:
    """A row per trial, as ``status.rows`` has them, and how many settings found no room for a column."""
    varied = sorted({name for trial in trials for name in trial["params"]})
    wide = screen.options.update(width=1_000)
    for hidden in range(len(varied)):
        drawn = _table(title, trials, marked, varied[: len(varied) - hidden])
        if screen.measure(drawn, options=wide).maximum <= screen.width:
            return drawn, hidden
    return _table(title, trials, marked, ()), len(varied)


def _table(title: str, trials: Sequence[dict[str, Any]], marked: Collection[int], params: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    copies = any(trial.get("origin") for trial in trials)
    for column in ("trial", *(["from"] if copies else []), "state", "rung", "images", "score", "verdict", "images/s"):
        table.add_column(column, justify="left" if column in ("state", "verdict") else "right")
    for name in params:
        table.add_column(name.split(".")[-1], justify="right")
    for trial in trials:
        mark = "*" if trial["id"] in marked else ""
        score = "-" if trial["score"] is None else f"{trial['score']:.4g}"
        speed = "-" if trial["images_per_second"] is None else f"{trial['images_per_second']:,.0f}"
        values = [_value(trial["params"].get(name)) for name in params]
        state = Text(trial["state"], style=_COLOURS[trial["state"]])
        row = (
            f"{mark}{trial['id']}",
            *([origin_words(trial)] if copies else []),
            state,
            str(trial["rung"]),
            f"{trial['images']:,}",
            score,
            trial["verdict"],
            speed,
        )
        table.add_row(*row, *values)
    return table


def confirmed_words(summaries: Sequence[dict[str, Any]]) -> Iterator[str]:
    """A line for each trial that was trained again."""
    for confirmed in summaries:
        scores = ", ".join("-" if s is None else f"{s:.4g}" for s in confirmed["scores"])
        yield f"trial {confirmed['trial']} on fresh seeds: {scores} ({_median_words(confirmed)})"


def _median_words(confirmed: Mapping[str, Any]) -> str:
    """With the interval from the lowest score to the highest of n, which holds the median of all seeds with probability
    1 - 2 / 2^n, whatever their distribution.
    """
    if confirmed["median"] is None:
        return "median -"
    median, known = f"median {confirmed['median']:.4g}", confirmed["scores"]
    if len(known) < 2:
        return median
    return f"{median}, {1 - 2 / 2 ** len(known):.0%} interval {min(known):.4g} to {max(known):.4g}"


def _value(value: Any) -> str:
    return "" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)
