"""The pictures of a report, each drawn from its numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from orchestrator.report.landscape import place
from orchestrator.report.svg import Scale, axes, box, dot, drawing, line, number, path, text
from orchestrator.search.trial import FATAL
from orchestrator.settings.dimension import Dimension

WIDTH = 760
AXES = 10
"""Settings for which a parallel plot has room; the most important."""
ENDS = ("on", "finished", "running", "waiting", "pruned", "stuck", "collapsed", "diverged", "crashed")
"""What becomes of a trial at a rung, from good to bad."""


def score_over_hours(document: Mapping[str, Any]) -> str:
    """The score of every trial when it was last seen, the best claimed so far, and what fresh seeds made of it."""
    told, kind = document["over_hours"], document["devices"]["kind"]
    longest = max((one["hours"] for one in (*told["trials"], *told["confirmed"])), default=0.0)
    unit, factor = (f"{kind}-hours", 1.0) if longest >= 1 else (f"{kind}-minutes", 60.0)
    seeds = [score for one in told["confirmed"] for score in one["scores"]]
    x = Scale.over([0.0, longest * factor], 60, WIDTH - 20)
    y = Scale.over([*(one["score"] for one in told["trials"]), *seeds], 290, 30, log=True)
    verdicts = {trial["id"]: trial["verdict"] for trial in document["trials"]}
    marks = axes(x, y, f"{unit} spent by the sweep", document["objective"]["metric"])
    marks += [
        dot(x(one["hours"] * factor), y(one["score"]), f"v {verdicts[one['trial']]}", _of(one["trial"], one["score"]))
        for one in told["trials"]
    ]
    steps: list[tuple[float, float]] = []
    for one in told["best"]:
        at = x(one["hours"] * factor)
        steps += [(at, steps[-1][1])] if steps else []
        steps += [(at, y(one["score"]))]
    marks += [path([*steps, (x(longest * factor), steps[-1][1])], "best")] if steps else []
    for one in told["confirmed"]:
        at = x(one["hours"] * factor)
        words = f"trial {one['trial']} on fresh seeds: median {number(one['median'])}"
        marks += [line(at, y(min(one["scores"])), at, y(max(one["scores"])), "confirmed")]
        marks += [path([(at - 5, y(one["median"])), (at + 5, y(one["median"]))], "confirmed", words)]
        marks += [dot(at, y(one["median"]), "confirmed", words, 4)]
    return drawing(WIDTH, 330, marks, "score against device-hours")


def rung_flow(document: Mapping[str, Any]) -> str:
    """A column for each rung, as high as trials set out for it, parted by what became of them."""
    rungs = document["rungs"]
    most = max(rung["trials"] for rung in rungs)
    step = min(220.0, (WIDTH - 180) / len(rungs))
    high, marks, before = 200 / most, [], 0.0
    for i, rung in enumerate(rungs):
        left, top = 20 + i * step, 40.0
        if before:
            near, far = left - step + 60, [(left, top), (left, top + rung["trials"] * high)]
            marks += [path([(near, top), *far, (near, top + before * high)], "ribbon")]
        marks += [text(left, 16, f"{rung['images']:,} images", "label"), text(left, 30, f"{rung['trials']:,}", "tick")]
        for end_ in [e for e in ENDS if rung["fates"].get(e)]:
            count = rung["fates"][end_]
            words = f"{count:,} went on" if end_ == "on" and i + 1 < len(rungs) else f"{count:,} {_ended(end_)}"
            marks += [box(left, top, 60, count * high, f"s {_ended(end_)}", words)]
            marks += [text(left + 64, top + count * high / 2 + 4, words, "tick")] if count * high > 9 else []
            top += count * high
        before = rung["fates"].get("on", 0)
    return drawing(WIDTH, 250, marks, "what became of the trials at each rung")


def _ended(fate: str) -> str:
    return "finished" if fate == "on" else fate


def bars(shares: Sequence[Mapping[str, Any]]) -> str:
    """Shares of importance, of which a conditional setting says among how many trials."""
    most = max(one["trials"] for one in shares)
    marks = []
    for i, one in enumerate(shares):
        among = "" if one["trials"] == most else f", of {one['trials']:,} trials"
        marks += [text(0, 22 * i + 15, one["name"], "tick")]
        marks += [box(150, 22 * i + 4, 150 * one["share"], 14, "bar", f"{one['name']}: {one['share']:.0%}")]
        marks += [text(155 + 150 * one["share"], 22 * i + 15, f"{one['share']:.0%}{among}", "tick")]
    return drawing(370, 22 * len(shares) + 6, marks, "importance of each setting")


def landscape(document: Mapping[str, Any]) -> str:
    """The mean score near each point, by colour, and the trials in it."""
    told = document["landscape"]
    space = _space(document)
    left, top, width, height = 150.0, 12.0, 420.0, 300.0
    values = sorted(v for row in told["cells"] for v in row if v is not None)
    rows, columns = len(told["cells"]), len(told["cells"][0])
    wide, tall = width / columns, height / rows
    better = document["objective"]["direction"] == "minimize"
    marks = [
        box(
            left + j * wide, top + height - (i + 1) * tall, wide + 0.4, tall + 0.4, _shade(v, values, better), number(v)
        )
        for i, row in enumerate(told["cells"])
        for j, v in enumerate(row)
        if v is not None
    ]
    marks += [f'<g style="--o:{min(1.0, 4 * _opacity(len(told["points"])))}">']
    marks += [
        dot(round(left + px * width, 1), round(top + (1 - py) * height, 1), "point", number(score), 2)
        for px, py, score in told["points"]
    ]
    marks += ["</g>"]
    for where, words in _marks(space[told["x"]]):
        marks += [text(left + where * width, top + height + 16, words, "tick", "middle")]
    for where, words in _marks(space[told["y"]]):
        marks += [text(left - 6, top + (1 - where) * height + 4, words, "tick", "end")]
    marks += [
        text(left + width / 2, top + height + 34, told["x"], "label", "middle"),
        text(0, top + 10, told["y"], "label"),
    ]
    shades = [box(left + width + 20, top + 30 + 18 * i, 18, 18, f"q{9 - i}") for i in range(10)]
    marks += [
        *shades,
        text(left + width + 20, top + 22, "better", "tick"),
        text(left + width + 20, 256, "worse", "tick"),
    ]
    return drawing(WIDTH, 356, marks, "score over the two most important settings")


def _shade(value: float, values: Sequence[float], less_is_better: bool) -> str:
    """By rank, so that one that broke off does not take all colours for itself; 9 is best."""
    below = sum(v < value for v in values) / max(len(values) - 1, 1)
    return f"q{min(9, int(10 * (1 - below if less_is_better else below)))}"


def parallel(document: Mapping[str, Any]) -> str:
    """A line for each trial through its settings to its score, in the colour of its verdict; the best on top."""
    space, best = _space(document), document["best"]
    names = _by_importance(document)[:AXES]
    scores = [t["score"] for t in document["trials"] if t["score"] is not None]
    last = Scale.over(scores, 260, 40, log=True)
    step = (WIDTH - 140) / max(len(names), 1)
    at = [60 + i * step for i in range(len(names) + 1)]
    marks = []
    for trial in sorted(
        document["trials"], key=lambda t: (bool(best) and t["id"] == best["id"], t["verdict"] in FATAL)
    ):
        given = trial["params"]
        heights = [260 - 220 * place(space[n], _plain(given[n])) if n in given else 282.0 for n in names]
        heights += [last(trial["score"]) if trial["score"] is not None else 282.0]
        way = [(round(x, 1), round(height, 1)) for x, height in zip(at, heights, strict=True)]
        champion = " champion" if best and trial["id"] == best["id"] else ""
        marks += [path(way, f"way {trial['verdict']}{champion}", _of(trial["id"], trial["score"]))]
    for i, (x, name) in enumerate(zip(at, names, strict=False)):
        marks += [line(x, 260, x, 40, "axis"), text(x, 14 + 14 * (i % 2), name, "label", "middle")]
        marks += [text(x + 4, 264 - 220 * where, words, "tick halo") for where, words in _marks(space[name])]
    marks += [
        line(at[-1], 260, at[-1], 40, "axis"),
        text(at[-1], 14, document["objective"]["metric"], "label", "middle"),
    ]
    marks += [text(at[-1] + 4, last(v) + 4, number(v), "tick halo") for v in last.ticks()]
    thin = f'<g style="--o:{_opacity(len(document["trials"]))}">'
    return drawing(
        WIDTH, 296, [thin, *marks, text(4, 286, "none", "tick"), "</g>"], "settings and score of every trial"
    )


def confirmations(document: Mapping[str, Any]) -> str:
    """For each trial trained again: what it claimed, its seeds, and their median."""
    told = document["confirmed"]
    values = [v for one in told for v in (*one["scores"], one["claimed"]) if v is not None]
    x = Scale.over(values, 90, WIDTH - 150, log=True)
    marks = axes(x, Scale(1, 1, 24 * len(told) + 14, 10), document["objective"]["metric"], "")
    for i, one in enumerate(told):
        at, known = 24.0 * i + 24, [s for s in one["scores"] if s is not None]
        marks += [text(0, at + 4, f"trial {one['trial']}", "tick")]
        marks += [line(x(min(known)), at, x(max(known)), at, "confirmed")] if known else []
        marks += [dot(x(score), at, "confirmed", number(score)) for score in known]
        if one["median"] is not None:
            marks += [line(x(one["median"]), at - 7, x(one["median"]), at + 7, "confirmed")]
        if one["claimed"] is not None:
            marks += [dot(x(one["claimed"]), at, "claimed", f"claimed {number(one['claimed'])}", 5)]
        failed = len(one["scores"]) - len(known)
        words = f"median {number(one['median'])}" + (f", {failed} without a score" if failed else "")
        marks += [text(WIDTH - 145, at + 4, words, "tick")]
    return drawing(WIDTH, 24 * len(told) + 56, marks, "scores on fresh seeds beside the score that was claimed")


def _opacity(marks: int) -> float:
    """So that many on top of each other still show where they are dense."""
    return round(min(0.5, max(0.04, 90 / marks)), 3)


def _space(document: Mapping[str, Any]) -> dict[str, Dimension]:
    return {name: Dimension.model_validate(values) for name, values in document["space"].items()}


def _by_importance(document: Mapping[str, Any]) -> list[str]:
    weighed = [one["name"] for one in document["importance"]["score"]]
    return [*weighed, *(name for name in document["space"] if name not in weighed)]


def _marks(dimension: Dimension) -> Iterable[tuple[float, str]]:
    """Where an axis is labelled: every choice, or both ends and the middle."""
    if dimension.choice is not None:
        return [(place(dimension, choice), _word(choice)) for choice in dimension.choice]
    low, high = dimension.ends
    middle = (low * high) ** 0.5 if dimension.log else (low + high) / 2
    return [(0.0, f"{low:.3g}"), (0.5, f"{middle:.3g}"), (1.0, f"{high:.3g}")]


def _plain(value: Any) -> Any:
    return tuple(map(_plain, value)) if isinstance(value, list) else value


def _word(value: Any) -> str:
    return "null" if value is None else number(value) if isinstance(value, float) else str(value)


def _of(trial: int, score: float | None) -> str:
    return f"trial {trial}: {number(score)}"
