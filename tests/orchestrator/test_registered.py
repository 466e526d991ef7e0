"""A registered generator, used as its model card and the pages say."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.tracking import fluent

from orchestrator.errors import UserError
from orchestrator.generators.generator import Generator
from orchestrator.registry.drawing import load
from tests.orchestrator.registered import registered, run_card
from tests.orchestrator.test_serving import trained
from tests.trainers.small import config


def test_the_code_on_the_card_of_a_generator_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = trained(config(train={"images": 160}, model={"conditional": True}), tmp_path / "digits")
    uri, _ = registered(checkpoint, "digits", tmp_path)
    examples = run_card(uri, "digits", monkeypatch)["examples"]
    assert np.array_equal(examples, Generator.load(checkpoint).sample(seeds=range(3), label=[0, 1, 2]))


def test_a_notebook_with_a_run_and_an_experiment_of_its_own_keeps_them(tmp_path: Path) -> None:
    checkpoint = trained(config(train={"images": 160}), tmp_path / "digits")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    try:
        own = mlflow.set_experiment("my own")
        with mlflow.start_run() as run:
            uri, made = registered(checkpoint, "digits", tmp_path)
            assert mlflow.active_run() == run
        client = MlflowClient(uri)
        version: Any = client.get_model_version(made["model"], str(made["version"]))
        logged = client.get_logged_model(version.source.removeprefix("models:/"))
        assert logged.source_run_id == version.run_id != run.info.run_id
        assert logged.experiment_id == client.get_run(version.run_id).info.experiment_id != own.experiment_id
    finally:
        mlflow.set_tracking_uri("")
        fluent._active_experiment_id = None  # nothing public forgets it
        for name in ("MLFLOW_EXPERIMENT_ID", "MLFLOW_TRACKING_URI"):
            os.environ.pop(name, None)


@contextmanager
def mlflow_serves(uri: str, model: str, path: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    words = [sys.executable, "-m", "mlflow", "models", "serve", "-m", model, "--env-manager", "local", "--port", port]
    environment = {**os.environ, "MLFLOW_TRACKING_URI": uri, "PATH": path}
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True) as server:
        try:
            yield server, f"http://127.0.0.1:{port}"
        finally:
            if server.poll() is None:
                os.killpg(server.pid, 15)


@pytest.mark.slow  # MLflow takes 10 to 30 seconds to start
def test_mlflow_serves_it_where_the_programs_of_the_environment_are_on_the_path(tmp_path: Path) -> None:
    checkpoint = trained(config(train={"images": 160}, model={"conditional": True}), tmp_path / "digits")
    uri, made = registered(checkpoint, "digits", tmp_path)
    programs, system = str(Path(sys.executable).parent), "/usr/bin:/bin"
    with mlflow_serves(uri, made["uri"], f"{programs}:{system}") as (server, address):
        while server.poll() is None and not _answers(address):
            time.sleep(0.5)
        table = {"dataframe_records": [{"seed": 3, "label": 4}, {"seed": 7, "label": 0}]}
        headers = {"Content-Type": "application/json"}
        asked = urllib.request.Request(f"{address}/invocations", json.dumps(table).encode(), headers)
        with urllib.request.urlopen(asked, timeout=30) as answer:
            drawn = np.array(json.load(answer)["predictions"], np.uint8)
    assert np.array_equal(drawn, Generator.load(checkpoint).sample(seeds=[3, 7], label=[4, 0]))
    with mlflow_serves(uri, made["uri"], system) as (server, _):
        assert server.stderr is not None and "uvicorn: not found" in server.stderr.read() and server.wait(60)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/ping", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_an_empty_registry_says_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"no models:/x@y; it is empty: register a generator with gansweep promote NAME"
    ):
        load(f"sqlite:///{tmp_path}/mlflow.db", "models:/x@y")
