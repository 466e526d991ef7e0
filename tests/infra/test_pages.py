"""The pages on S3, PostgreSQL, MLflow servers and Ray jobs, followed to the letter with real servers: their sweep files
are written, their commands typed, and what comes of it is where the page says.

    pytest -m slow tests/infra/test_pages.py
"""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from mlflow.tracking import MlflowClient

from infra.docs.__main__ import PAGES
from orchestrator.search.database import storage
from orchestrator.spec import load
from orchestrator.tracking.server import healthy
from tests import postgres as postgresql
from tests.benchmarks.reach import draw
from tests.conftest import S3
from tests.infra.test_docs import FENCE
from tests.orchestrator import heads
from tests.orchestrator.test_python import SHORT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # each starts a server and runs a sweep


class Reader:
    """Follows pages in a folder with pictures; ``here`` is what this machine has in place of a page's names."""

    def __init__(self, folder: Path, here: Mapping[str, str]) -> None:
        self.folder, self.here = folder, dict(here)
        self.values: dict[str, Any] = {**SHORT, "name": "faces", "search": {**SHORT["search"], "trials": 2}}
        programs = [str(Path(sys.executable).parent), *map(str, postgresql.BINARIES), os.environ["PATH"]]
        self.environment = {**os.environ, "PATH": os.pathsep.join(programs), "PYTHONPATH": str(Path.cwd())}
        draw(folder / "faces", 100, 8)

    @contextmanager
    def followed(self, page: str) -> Iterator[list[str]]:
        """What was typed, while the servers that the page starts still run."""
        typed: list[str] = []
        with ExitStack() as servers:
            for fence in FENCE.finditer((PAGES / f"how-to/{page}.md").read_text()):
                text = self._ours(fence[3])
                if fence[2] == "yaml":
                    self.write(yaml.safe_load(text))
                for line in re.sub(r"\s+#.*", "", text).splitlines() if fence[2] == "console" else ():
                    typed.append(line)
                    if line.startswith("mlflow server"):
                        servers.enter_context(self.running(line))
                    elif not line.startswith("pip install"):
                        self.type(line)
            yield typed

    def section(self, page: str, title: str, language: str) -> list[str]:
        """Its lines of that language, as they are on this machine; without a title, those before the first."""
        start = rf"^## {title}\n" if title else r"\A"
        (text,) = re.findall(rf"{start}(.*?)(?=^## |\Z)", (PAGES / f"how-to/{page}.md").read_text(), re.M | re.S)
        return [
            line for fence in FENCE.finditer(text) if fence[2] == language for line in self._ours(fence[3]).splitlines()
        ]

    def type(self, line: str) -> None:
        if line.startswith("export "):
            self.environment |= dict(word.split("=", 1) for word in shlex.split(line)[1:])
            return
        done = self.answer(line)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"

    def answer(self, line: str) -> subprocess.CompletedProcess[str]:
        line = re.sub("^gansweep", f"{shlex.quote(sys.executable)} -m orchestrator", line)
        words = {"shell": True, "cwd": self.folder, "env": self.environment, "capture_output": True, "text": True}
        done: subprocess.CompletedProcess[str] = subprocess.run(line, check=False, **words)  # type: ignore[call-overload]
        return done

    def write(self, part: dict[str, Any]) -> None:
        """``part`` in the sweep file, small; pictures are measured by what needs no training first."""
        if "data" in part:
            part = {"data": {**part["data"], "resolution": 8}, "evaluate": {"extractor": "random-conv"}}
        for group, given in part.items():
            self.values[group] = given if group == "data" else {**self.values.get(group, {}), **given}
        (self.folder / "faces.yaml").write_text(yaml.safe_dump(self.values))

    @contextmanager
    def running(self, line: str) -> Iterator[None]:
        """A server, once it answers."""
        words, port = shlex.split(line), line.split("--port ")[1].split()[0]
        with subprocess.Popen(words, cwd=self.folder, env=self.environment, start_new_session=True) as server:
            try:
                while not healthy(f"http://127.0.0.1:{port}"):
                    assert server.poll() is None, f"it ended: {line}"
                    time.sleep(0.2)
                yield
            finally:
                if server.poll() is None:
                    os.killpg(server.pid, signal.SIGTERM)

    def _ours(self, text: str) -> str:
        for theirs, ours in self.here.items():
            text = text.replace(theirs, ours)
        return text


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def test_s3(s3: S3, tmp_path: Path) -> None:
    known = s3.server.env()
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    here = {f"{name}=…": f"{name}={known[name]}" for name in names}
    here |= {"https://s3.example.com": s3.endpoint, "s3://bucket": s3.url}
    reader = Reader(tmp_path, here)
    with reader.followed("s3") as typed:
        assert "gansweep submit faces.yaml" in typed
        listed = boto3.Session().client("s3").list_objects_v2(Bucket=s3.bucket)["Contents"]
        keys = [entry["Key"] for entry in listed]
        assert [key for key in keys if key.startswith("gansweep/") and key.endswith("generator.safetensors")]
        assert [key for key in keys if key.startswith("faces/") and key.endswith(".parquet")]
        reader.type("gansweep train faces.yaml")


def test_postgresql(postgres_server: postgresql.Server, tmp_path: Path) -> None:
    reader = Reader(tmp_path, {"db.example.com": f"127.0.0.1:{postgres_server.port}"})
    place = {"PGHOST": "127.0.0.1", "PGPORT": str(postgres_server.port), "PGUSER": "gansweep"}
    reader.environment |= {**place, "LEDGER_PASSWORD": "secret"}
    with reader.followed("postgresql") as typed:
        assert "createdb gansweep" in typed
        reader.type("gansweep submit faces.yaml")
    url = f"postgresql://gansweep@127.0.0.1:{postgres_server.port}/gansweep"
    assert [study.study_name for study in storage(url).get_all_studies()] == ["faces"]


def test_mlflow_server(s3: S3, postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    here = {
        "SECRET_KEY=…": "SECRET_KEY=0123456789abcdef0123456789abcdef",
        "--host 0.0.0.0 --port 5000": f"--host 127.0.0.1 --port {port} --workers 1",  # four need many cores
        "postgresql://mlflow:…@db.example.com/mlflow": postgres,
        "s3://bucket": s3.url,
        "--allowed-hosts ": f"--allowed-hosts 127.0.0.1:{port},",
        '"https://mlflow.example.com"': f"http://127.0.0.1:{port}",
        "USERNAME=ada": "USERNAME=admin",
        "PASSWORD=…": "PASSWORD=a-password-of-16",
    }
    reader = Reader(tmp_path, here)
    reader.environment |= {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # of other uses, and heavy
    with reader.followed("mlflow-server") as typed:
        assert "gansweep submit faces.yaml" in typed
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "a-password-of-16")
        client = MlflowClient(f"http://127.0.0.1:{port}")
        experiment = client.get_experiment_by_name("faces")
        assert experiment is not None and experiment.artifact_location.startswith("mlflow-artifacts:")
        trials = [run for run in client.search_runs([experiment.experiment_id]) if "gansweep.trial" in run.data.tags]
        assert len(trials) == 2 and load(tmp_path / "faces.yaml").search.trials == 2
        assert [run.data.metrics["fid"] for run in trials]
        assert searched(port, "mlflow.example.com") == 200, "as the pages ask, behind a proxy"
        assert searched(port, "evil.example.com") == 403


@pytest.mark.timeout(1800)  # five jobs, one after the other
def test_ray_jobs(s3: S3, postgres: str, tmp_path: Path) -> None:
    """The page's profile, then its jobs, each sent when the one before has ended, as its name is that of the sweep."""
    with ExitStack() as servers:
        port = free_port()
        reader = Reader(tmp_path, {"postgresql://gansweep:${LAB_PASSWORD}@db.lab/gansweep": postgres})
        reader.here |= {
            "https://mlflow.lab": f"http://127.0.0.1:{port}",
            "s3://lab": s3.url,
            "worker = 1": "worker = 0",
        }
        line = f"mlflow server --host 127.0.0.1 --port {port} --workers 1 --backend-store-uri sqlite:///{tmp_path}/mlflow.db"
        servers.enter_context(reader.running(f"{line} --artifacts-destination {s3.url}/mlflow"))
        (tmp_path / "head").mkdir()
        head = servers.enter_context(heads.head(tmp_path / "head"))
        reader.here |= {"http://ray-head:8265": head.address, "ray-head.lab:6379": head.gcs}
        reader.here |= {"ray-head:6379": head.gcs, "--address auto": f"--address {head.gcs}"}  # others run here, too
        reader.environment["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # as for the head, which is on loopback only
        (tmp_path / "config.toml").write_text("\n".join(reader.section("cluster", "Profiles", "toml")))
        reader.write({"data": {"name": "images", "path": str(tmp_path / "faces")}})
        reader.environment["GANSWEEP_CONFIG"] = str(tmp_path / "config.toml")
        reader.environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(head.token)}

        lines = reader.section("cluster", "As a Ray job", "console")
        assert sum("--detach" in line for line in lines) == 3
        for number, line in enumerate(re.sub(r"\s+#.*", "", line) for line in lines):
            if "--detach" in line and number:
                reader.type(f"gansweep logs faces --address {head.address} --follow")
            reader.type(line)
            if "--detach" in line:
                under = "--profile lab" if "--profile" in line else f"--address {head.address}"
                while reader.answer(f"gansweep status faces {under}").returncode:
                    time.sleep(1)  # until the job's driver has begun
        reader.type(f"gansweep logs faces --address {head.address} --follow")

        code = f"import gansweep; print(gansweep.load('faces', profile='lab').resume(3, address='{head.address}').name)"
        reader.type(f"{sys.executable} -c {shlex.quote(code)}")
        reader.type(f"gansweep logs faces --address {head.address} --follow")
        document = json.loads(reader.answer("gansweep status faces --profile lab --json").stdout)
        assert len(document["trials"]) == 3 and document["state"] == "finished"

        for line in (*reader.section("cluster", "Profiles", "console"), *reader.section("cluster", "", "console")):
            forced = " --force --reason 'trained for a moment'" if "promote" in line else ""
            reader.type(re.sub(r"\s+#.*", "", line) + forced)


def searched(port: str, name: str) -> int:
    """What MLflow says to its own pages, opened under this name."""
    known = base64.b64encode(b"admin:a-password-of-16").decode()
    headers = {"Host": name, "Origin": f"https://{name}", "Authorization": f"Basic {known}"}
    address = f"http://127.0.0.1:{port}/ajax-api/2.0/mlflow/experiments/search"
    asked = urllib.request.Request(address, b'{"max_results": 1}', {**headers, "Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(asked, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
