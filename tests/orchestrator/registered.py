"""A checkpoint in a model registry, without a sweep around it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from orchestrator.registry import models

TOLD = ("sweep", "trial", "run_id", "checkpoint", "verdict", "objective", "data.fingerprint")


def registered(checkpoint: Path, model: str, folder: Path) -> tuple[str, dict[str, Any]]:
    """The generator of ``checkpoint`` as the champion of ``model``, in a registry in ``folder``: its address, and what
    ``promote`` returns.
    """
    uri = f"sqlite:///{folder}/mlflow.db"
    client = MlflowClient(uri)
    run = client.create_run(client.create_experiment(model, f"{folder}/artifacts")).info.run_id
    (folder / "sweep.yaml").write_text("name: x")
    evidence = models.Evidence(checkpoint, folder / "sweep.yaml", None, {f"gansweep.{name}": "x" for name in TOLD})
    return uri, models.promote(uri, model, "champion", run, evidence, assure=lambda: None)


def run_card(uri: str, model: str, monkeypatch: pytest.MonkeyPatch, **given: Any) -> dict[str, Any]:
    """What the code of the model's card leaves behind."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    (code,) = re.findall(r"```python\n(.*?)```", MlflowClient(uri).get_registered_model(model).description, re.S)
    exec(compile(code, "card", "exec"), given)
    return given
