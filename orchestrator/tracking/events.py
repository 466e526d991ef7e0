"""What is recorded of a sweep, as events for the spool. The names of metrics and tags are a contract (design, section
5).
"""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from orchestrator.paths import RunKey, key_word
from orchestrator.tracking.spool import Event

VERDICTS = {
    **{"unjudged": -1.0, "healthy": 0.0, "slow": 0.5, "suspect": 1.0},
    **{"stuck": 1.5, "collapsed": 2.0, "diverged": 3.0},
}
"""The metric ``health/verdict``: the higher, the worse. Whole numbers mean what they meant before the others came."""

PACKAGES = ("gansweep", "torch", "ray", "optuna", "mlflow", "pyarrow", "boto3")


def started(
    key: RunKey,
    params: Mapping[str, Any],
    tags: Mapping[str, Any],
    dataset: Mapping[str, str],
    at: float | None = None,
) -> Event:
    """A run begins, or began ``at`` seconds since the epoch. ``dataset`` has name, digest, source (JSON) and profile
    (JSON).
    """
    return {
        "kind": "start",
        **_of(key),
        "params": dict(params),
        "tags": dict(tags),
        "dataset": dict(dataset),
        "time": _milliseconds(at),
    }


def report_id(key: RunKey, images: int) -> str:
    """By which the spool knows a report."""
    return f"report/{key_word(key)}/{images}"


def reported(key: RunKey, report: Mapping[str, Any], score: float | None = None) -> Event:
    """One report of a training, with the ``score`` that it competes with; step = images."""
    metrics = {f"loss/{name}": value for name, value in report["losses"].items()}
    metrics |= report["metrics"]
    metrics |= {f"health/{name}": value for name, value in report["health"]["signals"].items()}
    metrics["health/verdict"] = VERDICTS[report["health"]["verdict"]]
    metrics |= {} if score is None else {"score": score}
    metrics["images"] = report["images"]
    metrics["images_per_second"] = report["images_per_second"]
    metrics |= {f"system/{name}": value for name, value in report.get("system", {}).items()}  # older ledgers lack it
    return {
        "kind": "report",
        "id": report_id(key, report["images"]),
        **_of(key),
        "images": report["images"],
        "metrics": metrics,
        "samples": report["samples"],
        "time": round(report["timestamp"] * 1000),
    }


def untrained(key: RunKey, samples: str, at: float) -> Event:
    """The picture before the first step, of a training that began ``at`` seconds since the epoch."""
    event = {"kind": "report", **_of(key), "images": 0, "metrics": {}, "samples": samples}
    return {"id": report_id(key, 0), **event, "time": _milliseconds(at)}


def settled(trial: int, seeds: int, median: float, at: float | None) -> Event:
    """The median score of a trial over so many fresh seeds (step = seeds)."""
    event = {"kind": "report", "trial": trial, "images": seeds, "metrics": {"score/confirmed": median}, "samples": None}
    return {"id": f"settled/{trial}/{seeds}", **event, "time": _milliseconds(at)}


def confirmed(trial: int, number: int, metric: str, score: float, at: float | None) -> Event:
    """The score of a trial re-trained on its ``number``-th fresh seed (step = number)."""
    metrics = {f"confirm/{metric}": score}
    event = {"kind": "report", "trial": trial, "images": number, "metrics": metrics, "samples": None}
    return {"id": f"confirm/{trial}/{number}", **event, "time": _milliseconds(at)}


def stood(key: RunKey, device_hours: float, metrics: Mapping[str, float], at: float) -> Event:
    """How the sweep stood when the training ``key``, or itself, ended (step = device-seconds)."""
    event = {"kind": "report", "trial": None, "images": round(3600 * device_hours), "samples": None}
    metrics = {**metrics, "device_hours": device_hours}
    name = key_word(key) if key is not None else f"sweep/{event['images']}"  # it may go on
    return {"id": f"stood/{name}", **event, "metrics": metrics, "time": _milliseconds(at)}


def tagged(key: RunKey, tags: Mapping[str, Any]) -> Event:
    return {"kind": "tags", **_of(key), "tags": dict(tags)}


def text(trial: int | None, file: str, content: str) -> Event:
    return {"kind": "text", "trial": trial, "file": file, "text": content}


def file(path: Path) -> Event:
    """A local file that goes to the sweep's run, as it is when it is sent."""
    return {"kind": "file", "trial": None, "file": str(path)}


def ended(key: RunKey, status: str, tags: Mapping[str, Any], at: float | None = None) -> Event:
    """``status`` is MLflow's: FINISHED, FAILED or KILLED; ``at`` in seconds since the epoch, None for now."""
    event = {"kind": "end", **_of(key), "status": status, "tags": dict(tags), "time": _milliseconds(at)}
    return event if key is None else {"id": f"end/{key_word(key)}", **event}


def paused(key: RunKey) -> Event:
    """Nobody trains it now; it goes on when the sweep does."""
    return {"kind": "pause", **_of(key)}


def run_name(sweep: str, key: RunKey) -> str:
    """What MLflow shows first: ``digits-003``, or ``digits-003 seed 1001`` for a re-training of it."""
    if isinstance(key, tuple):
        return f"{run_name(sweep, key[0])} seed {key[1]}"
    return f"sweep {sweep}" if key is None else f"{sweep}-{key:03d}"


def run_key(event: Event) -> RunKey:
    """The run that an event is about."""
    trial, seed = event["trial"], event.get("seed")
    return trial if seed is None else (trial, seed)


def made() -> dict[str, Any]:
    """When a sweep begins, and on what."""
    return {"time": time.time(), "tags": provenance()}


def provenance() -> dict[str, str]:
    """Which code, on which versions and hardware."""
    tags = {f"version.{name}": version(name) for name in PACKAGES}
    tags["version.python"] = platform.python_version()
    tags["hardware"] = (
        f"{platform.machine()}, {os.cpu_count()} CPUs, {psutil.virtual_memory().total / 2**30:.0f} GiB, {_gpus()}"
    )
    for folder in (Path.cwd(), Path(__file__).parent):
        commit = _git(folder, "rev-parse", "HEAD")
        if commit:
            tags["mlflow.source.git.commit"] = tags["git.commit"] = commit  # MLflow's pages hide its own
            tags["git.dirty"] = str(bool(_git(folder, "status", "--porcelain", "--untracked-files=no")))
            break
    return tags


def _of(key: RunKey) -> Event:
    return {"trial": key[0], "seed": key[1]} if isinstance(key, tuple) else {"trial": key}


def _gpus() -> str:
    import torch

    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return ", ".join(names) or "no GPU"


def _git(folder: Path, *command: str) -> str | None:
    try:
        done = subprocess.run(["git", *command], cwd=folder, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _milliseconds(at: float | None) -> int:
    """Since the epoch, as MLflow counts; None is now."""
    return round((time.time() if at is None else at) * 1000)
