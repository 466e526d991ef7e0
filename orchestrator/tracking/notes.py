"""What MLflow shows as the description of a run, in Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.commands import command
from orchestrator.spec import Sweep, counted

NOTE = "mlflow.note.content"
RUN, EXPERIMENT = "{run}", "{experiment}"
"""Stand in a description for their own ids, which are known when it is sent."""
MOST = 7_500
"""Characters; MLflow takes 8,000."""


def of_sweep(
    sweep: Sweep,
    state: str,
    trials: Sequence[Mapping[str, Any]],
    best: Mapping[str, Any] | None,
    front: Sequence[str],
) -> str:
    """What was searched, how it stands, and how to go on. ``trials`` and ``best`` are as in ``status --json``, what
    the best is worth in ``words``, and the ``front`` of several objectives as lines.
    """
    bounds = "".join(f", {metric} {bound}" for metric, bound in sweep.objective.require.items())
    counts = ", ".join(f"{count} {word}" for word, count in Counter(t["state"] for t in trials).most_common())
    lines = [f"**{sweep.name}**: {state}. {sweep.objective.told.capitalize()}{bounds}."]
    lines += ["", f"{counted(len(trials), 'trial')}: {counts}." if trials else "No trial yet."]
    if best:
        lines += ["", f"**Best so far**: trial {best['id']}, {sweep.objective.metric} {best['words']}, with", ""]
        lines += [f"- `{name}`: {_short(value)}" for name, value in best["params"].items()]
    elif trials and not front:
        lines += ["", "**Best so far**: none that could be promoted"]
    lines += ["", "**Pareto front**", "", *(f"- {line}" for line in front)] if front else []
    lines += ["", "**Searched**", "", *(f"- `{name}`: {_told(one)}" for name, one in sweep.search.space.items())]
    report = f"#/experiments/{EXPERIMENT}/runs/{RUN}/artifacts/report.html"
    lines += ["", f"**Report**: [report.html]({report}), once the sweep has ended or was stopped.", ""]
    lines += [
        "**Go on**",
        "",
        "```",
        command("report", sweep.name),
        command("promote", sweep.name, *(("--trial", "ID") if front else ())),
    ]
    lines += [command("resume", sweep.name, "--trials", 2 * sweep.search.trials), "```"]
    return _cut("\n".join(lines))


def of_training(tags: Mapping[str, Any], images: int, metrics: Mapping[str, float]) -> str:
    """How a training ended and why, from the tags that say so, and what was measured last."""
    state, verdict, reasons = (tags[f"gansweep.{name}"] for name in ("state", "verdict", "reasons"))
    lines = [f"**{state}**, verdict **{verdict}**"]
    lines += ["", *(f"- {reason}" for reason in str(reasons).split("; "))] if reasons != "none" else []
    lines += ["", "Nothing looked wrong at its last report."] if verdict == "healthy" and reasons == "none" else []
    measured = ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())
    lines += ["", f"After {images:,} images: {measured}"] if metrics else []
    lines += ["", f"score **{tags['gansweep.score']:.4g}**"] if "gansweep.score" in tags else []
    lines += ["", "```", str(tags["gansweep.error"]), "```"] if "gansweep.error" in tags else []
    return _cut("\n".join(lines))


def _told(dimension: Any) -> str:
    if dimension.choice is not None:
        return "one of " + ", ".join(map(_short, dimension.choice))
    low, high = dimension.ends
    when = "".join(f", for {name} {_short(list(values))}" for name, values in dimension.when.items())
    return f"{_short(low)} to {_short(high)}{', log' if dimension.log else ''}{when}"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _cut(text: str) -> str:
    return text if len(text) <= MOST else f"{text[:MOST]} …"
