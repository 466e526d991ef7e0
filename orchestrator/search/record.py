"""Trials and runs as the study's attributes hold them. What an older version wrote lacks what it did not know."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from orchestrator.paths import RunKey
from orchestrator.search import objective
from orchestrator.search.kept import unkept
from orchestrator.search.trial import FATAL, Origin, State, Trial
from orchestrator.spec import Sweep

_RECORD = (
    "state",
    "target",
    "images",
    "rung",
    "failures",
    "checkpoints",
    "verdict",
    "reasons",
    "score",
    "error",
    "images_per_second",
    "device_seconds",
    "unwanted",
    "reported_at",
    "origin",
)


class Stored(Protocol):
    """The part of a trial in a study that is ours: Optuna's FrozenTrial, or a ``JournaledTrial`` of a journal."""

    number: int
    params: dict[str, Any]
    user_attrs: dict[str, Any]


def trial_of(stored: Stored, sweep: Sweep, runs: Mapping[RunKey, str]) -> Trial:
    """From what the study holds; ``runs`` are MLflow's."""
    attrs = stored.user_attrs
    record: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in by_class(attrs["trial"]).items()}
    record["origin"] = Origin(*record["origin"]) if record.get("origin") else None
    reports = {int(k[7:]): v for k, v in attrs.items() if k.startswith("report:")}
    violations = objective.violations(sweep.objective, reports)
    run_id = runs.get(stored.number)
    params = unkept(stored.params, sweep)
    scores = objective.scores(sweep.objective, reports) if record["score"] is not None else ()
    return Trial(
        *(stored.number, params), scores=scores, reports=reports, violations=violations, mlflow_run_id=run_id, **record
    )


def by_class(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record with its failures by class, for which an older version had one number."""
    attempts = record.get("attempts", 0)
    counted = {"failures": {"rank": attempts}} if attempts else {}
    return {name: value for name, value in record.items() if name != "attempts"} | counted


def ended(trial: Trial, otherwise: State) -> Trial:
    """A trial that trains no more. A bad verdict is a bad end also where ``health.stop`` let it train on."""
    fatal = next((verdict for verdict in FATAL if verdict == trial.verdict), None)
    return replace(trial, state=fatal, score=None, scores=()) if fatal else replace(trial, state=otherwise)


def run_key(name: str) -> RunKey:
    """The reverse of ``key_word``."""
    if name == "sweep":
        return None
    trial, _, seed = name.partition(":")
    return (int(trial), int(seed)) if seed else int(trial)


def record_of(trial: Trial) -> dict[str, Any]:
    """What of a trial its user attribute holds."""
    return {key: getattr(trial, key) for key in _RECORD}


_TOLD = ("seconds", "losses", "health", "rewind", "images_per_second", "system", "timestamp", "samples")


def told_of(report: Mapping[str, Any]) -> dict[str, Any]:
    """What of a report is kept beside its metrics, so that it can be told again as it was."""
    first = {"untrained": report["untrained"]} if report.get("untrained") else {}
    return {key: report[key] for key in _TOLD} | first


def history_of(attrs: Mapping[str, Any], trials: Iterable[Stored]) -> dict[RunKey, dict[int, dict[str, Any]]]:
    """Every report of every training, by images, as ``told_of`` took it. Those that an older version wrote lack all but
    their metrics, and are left out.
    """
    found: dict[RunKey, dict[int, dict[str, Any]]] = {trial.number: _history(trial.user_attrs) for trial in trials}
    for name, run in attrs.items():
        if name.startswith("confirm:"):
            key = run_key(name[8:])
            own = {part: value for part, value in attrs.items() if part.startswith(f"told:{name[8:]}:")}
            metrics = {f"report:{images}": value for images, value in run["reports"].items()}
            found[key] = _history(metrics | {f"told:{part.rsplit(':', 1)[1]}": value for part, value in own.items()})
    return found


def _history(attrs: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    told = {int(name[5:]): value for name, value in attrs.items() if name.startswith("told:")}
    reports = {images: attrs.get(f"report:{images}") for images in sorted(told)}
    return {
        images: {"images": images, "metrics": metrics, **told[images]}
        for images, metrics in reports.items()
        if metrics is not None
    }
