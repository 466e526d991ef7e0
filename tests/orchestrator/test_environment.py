"""Where a user may be: behind a proxy, in a container, in a folder with an odd name, under a long path."""

from __future__ import annotations

import os
import pwd
import tempfile
import urllib.request
from pathlib import Path

import pytest
import requests
from mlflow.tracking import MlflowClient

from orchestrator import environment
from orchestrator.errors import UserError
from orchestrator.execution.cluster import LONGEST_PARENT, socket_folder
from orchestrator.paths import Home
from orchestrator.tracking.server import embedded

PROXY = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy yet; what is set by ``mend`` is taken back."""
    for name in ("NO_PROXY", "no_proxy", "LOGNAME", *environment.PROXIES, *map(str.upper, environment.PROXIES)):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"])
def test_loopback_is_spared_and_nothing_else(monkeypatch: pytest.MonkeyPatch, variable: str):
    monkeypatch.setenv(variable, PROXY)
    monkeypatch.setenv("no_proxy", "intranet.example")
    environment.mend()
    environment.mend()
    assert os.environ["NO_PROXY"] == os.environ["no_proxy"] == "intranet.example,127.0.0.1,localhost,::1"
    scheme = "https" if "https" in variable.lower() else "http"
    for host in ("127.0.0.1:5000", "localhost:5000", "[::1]:5000", "intranet.example"):
        assert not requests.utils.get_environ_proxies(f"{scheme}://{host}/x"), host
        assert urllib.request.proxy_bypass(host.rstrip("]").lstrip("[").removesuffix("]:5000")) or host[0] == "["
    assert requests.utils.select_proxy(
        f"{scheme}://data.example/x", requests.utils.get_environ_proxies(f"{scheme}://data.example/x")
    )


def test_who_has_no_proxy_and_who_has_none_for_anything_keep_what_they_have(monkeypatch: pytest.MonkeyPatch):
    environment.mend()
    assert "NO_PROXY" not in os.environ
    monkeypatch.setenv("HTTP_PROXY", PROXY)
    monkeypatch.setenv("NO_PROXY", "*")
    environment.mend()
    assert os.environ["NO_PROXY"] == os.environ["no_proxy"] == "*"


def test_a_user_without_home_and_name_gets_a_private_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def nobody(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    environment.mend()
    assert Path.home() == tmp_path / f"gansweep-{os.getuid()}" and Path.home().stat().st_mode & 0o777 == 0o700
    assert os.environ["LOGNAME"] == str(os.getuid())


ODD = ("feature%2Fx", "run #1", "a?b", "ünï ☃", "a&b=c", "it's", "x+y", "a;b", "100%", "a:b@c", 'q"q')


@pytest.mark.parametrize("name", ["plain", *ODD])
def test_a_home_of_any_name_is_recorded_in_itself(tmp_path: Path, name: str, database: bytes):
    home = Home.open(tmp_path / name)
    home.mlflow.mkdir()
    (home.mlflow / "mlflow.db").write_bytes(database)
    client = MlflowClient(home.mlflow_database)
    experiment = client.create_experiment("x", artifact_location=f"{home.mlflow_artifacts}/x")
    run = client.create_run(experiment).info.run_id
    client.log_text(run, "said", "said.txt")
    assert [file.path for file in client.list_artifacts(run)] == ["said.txt"]
    (file,) = tmp_path.rglob("said.txt")
    assert file.is_relative_to(home.artifacts / "mlflow" / "x")
    assert [folder.name for folder in tmp_path.iterdir()] == [name], "and nothing is made beside it"


def test_the_server_of_such_a_home_keeps_its_database_there(tmp_path: Path):
    home = Home.open(tmp_path / "".join(ODD))
    with embedded(home) as server:
        server.wait()
        MlflowClient(server.url).create_experiment("x")
    assert MlflowClient(home.mlflow_database).get_experiment_by_name("x") is not None
    assert len(list(tmp_path.rglob("mlflow.db"))) == 1


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An empty MLflow database: making it costs seconds."""
    home = Home.open(tmp_path_factory.mktemp("home"))
    MlflowClient(home.mlflow_database).search_experiments()
    return (home.mlflow / "mlflow.db").read_bytes()


def test_sockets_have_a_short_private_folder_that_goes_with_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    long = tmp_path / ("x" * 70)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    with socket_folder() as folder:
        assert len(str(folder.parent)) <= LONGEST_PARENT and folder.stat().st_mode & 0o077 == 0
        (folder / "session").mkdir()
    assert not folder.exists() and not list(long.iterdir())


def test_the_folder_that_the_user_names_for_ray_comes_first(monkeypatch: pytest.MonkeyPatch):
    with tempfile.TemporaryDirectory(prefix="r", dir="/tmp") as named:
        monkeypatch.setenv("RAY_TMPDIR", named)
        with socket_folder() as folder:
            assert str(folder.parent) == named


def test_where_no_folder_is_short_enough_one_sentence_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(UserError, match="RAY_TMPDIR"), socket_folder():
        pass
