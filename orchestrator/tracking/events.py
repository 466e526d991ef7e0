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
from typing import Any, get_args

import psutil

from orchestrator.tracking.spool import Event
from trainers.report import Verdict

PACKAGES = ("gansweep", "torch", "ray", "optuna", "mlflow", "pyarrow", "boto3")


def started(trial: int | None, params: Mapping[str, Any], tags: Mapping[str, Any], dataset: Mapping[str, str]) -> Event:
    """A run begins: of a trial, or of the sweep itself (None). ``dataset`` has name, digest, source (JSON) and profile
    (JSON).
    """
    return {
        "kind": "start",
        "trial": trial,
        "params": dict(params),
        "tags": dict(tags),
        "dataset": dict(dataset),
        "time": _now(),
    }


def reported(trial: int, report: Mapping[str, Any]) -> Event:
    """One report of a training; step = images."""
    metrics = {f"loss/{name}": value for name, value in report["losses"].items()}
    metrics |= report["metrics"]
    metrics |= {f"health/{name}": value for name, value in report["health"]["signals"].items()}
    metrics["health/verdict"] = get_args(Verdict).index(report["health"]["verdict"])  # 0 healthy ... 3 diverged
    metrics["images_per_second"] = report["images_per_second"]
    return {
        "kind": "report",
        "id": f"report/{trial}/{report['images']}",
        "trial": trial,
        "images": report["images"],
        "metrics": metrics,
        "samples": report["samples"],
        "time": round(report["timestamp"] * 1000),
    }


def confirmed(trial: int, number: int, metric: str, score: float) -> Event:
    """The score of a trial re-trained on its ``number``-th fresh seed (step = number)."""
    metrics = {f"confirm/{metric}": score}
    event = {"kind": "report", "trial": trial, "images": number, "metrics": metrics, "samples": None, "time": _now()}
    return {"id": f"confirm/{trial}/{number}", **event}


def tagged(trial: int | None, tags: Mapping[str, Any]) -> Event:
    return {"kind": "tags", "trial": trial, "tags": dict(tags)}


def text(trial: int | None, file: str, content: str) -> Event:
    return {"kind": "text", "trial": trial, "file": file, "text": content}


def ended(trial: int | None, status: str, tags: Mapping[str, Any]) -> Event:
    """``status`` is MLflow's: FINISHED, FAILED or KILLED."""
    event = {"kind": "end", "trial": trial, "status": status, "tags": dict(tags), "time": _now()}
    return event if trial is None else {"id": f"end/{trial}", **event}


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
            tags["mlflow.source.git.commit"] = commit
            tags["git.dirty"] = str(bool(_git(folder, "status", "--porcelain", "--untracked-files=no")))
            break
    return tags


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


def _now() -> int:
    """Milliseconds since the epoch, as MLflow counts."""
    return round(time.time() * 1000)
