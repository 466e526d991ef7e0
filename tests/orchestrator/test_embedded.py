"""The embedded MLflow server: one per home, shared, and gone with the last command that uses it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient

from orchestrator.errors import UserError, WorkError
from orchestrator.paths import Home
from orchestrator.tracking import server as module
from orchestrator.tracking.server import Server, embedded, healthy

USER = """
import sys, time
from pathlib import Path
from orchestrator.paths import Home
from orchestrator.tracking.server import embedded
with embedded(Home(Path(sys.argv[1]))) as server:
    print(server.url, flush=True)
    time.sleep(600)
"""


def until_gone(server: Server) -> None:
    deadline = time.monotonic() + 30
    while healthy(server.url) or module._lives(server.guardian):
        assert time.monotonic() < deadline, "the server outlives its users"
        time.sleep(0.1)


def test_commands_share_it_and_the_last_ends_it(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with embedded(home) as first:
        other = subprocess.Popen([sys.executable, "-c", USER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert other.stdout is not None
        assert other.stdout.readline().strip() == first.url
        first.wait()
    assert healthy(first.url), "the other command still uses it"
    other.kill()  # a death tells nobody anything
    other.wait()
    other.stdout.close()
    until_gone(first)
    with embedded(home) as second:
        second.wait()
    assert not healthy(second.url), "it is gone before the command is"


def test_who_is_interrupted_does_not_wait_for_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_end", lambda *_: pytest.fail("it waits"))
    with pytest.raises(KeyboardInterrupt), embedded(Home(tmp_path)) as server:
        raise KeyboardInterrupt
    until_gone(server)


def test_killed_while_its_tables_are_made_it_starts_again(tmp_path: Path) -> None:
    home = Home(tmp_path)
    beside = home.mlflow_file.with_suffix(".new")
    with embedded(home) as server:
        while not (beside.exists() and beside.stat().st_size):
            time.sleep(0.01)
        for process in psutil.Process(server.guardian).children(recursive=True):
            process.kill()
        with pytest.raises(WorkError, match="ended while starting"):
            server.wait()
    assert beside.exists() and not home.mlflow_file.exists(), "half made"
    with embedded(home) as server:
        server.wait()
        MlflowClient(server.url).create_experiment("x")
    assert not beside.exists()


def test_an_address_is_believed_only_while_its_guardian_lives(tmp_path: Path) -> None:
    """After a crash, another home's server may answer there."""
    mine, other = Home(tmp_path / "mine"), Home(tmp_path / "other")
    with embedded(other) as stranger:
        stranger.wait()
        mine.mlflow.mkdir(parents=True)
        (mine.mlflow / "server.json").write_text(json.dumps({"url": stranger.url, "guardian": stranger.guardian}))
        with embedded(mine) as server:
            assert server.url != stranger.url
        assert healthy(stranger.url), "and not ended either"


def test_a_server_that_ends_while_starting_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Home, "mlflow_database", "nonsense://")
    with (
        embedded(Home(tmp_path)) as server,
        pytest.raises(WorkError, match=r"ended while starting; its log is .*server\.log"),
    ):
        server.wait()


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port} is taken"), embedded(Home(tmp_path), port):
            pass
