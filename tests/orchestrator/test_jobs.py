"""Sweeps as Ray jobs: what is asked of a dashboard, told by one that only plays its part."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import ray

from orchestrator import commands, remote
from orchestrator.api import submit
from orchestrator.client.handle import Handle
from orchestrator.errors import UserError, WorkError
from orchestrator.execution import jobs
from orchestrator.execution.jobs import Cluster, Job, forwarded
from orchestrator.execution.listener import require_head
from orchestrator.paths import Home
from tests.orchestrator.small import sweep

TOKEN = "a" * 64
LAB = """
[profiles.lab]
ledger = "postgresql://sweeper:${LAB_PASSWORD}@db.lab/gansweep"
tracking = "https://mlflow.lab"
artifacts = "s3://lab/gansweep"
environment = ["AWS_ENDPOINT_URL"]
"""
RAYS_OWN = "INFO job_manager.py:581 -- Runtime env is setting up.\nRunning entrypoint for job x: python -m y\n"


class Dashboard(ThreadingHTTPServer):
    """Takes jobs and ends them as it is told to."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.jobs: dict[str, dict[str, Any]] = {}
        self.ends_as, self.prints = "SUCCEEDED", f"{RAYS_OWN}done\n"

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answers(BaseHTTPRequestHandler):
    server: Dashboard

    def do_GET(self) -> None:
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._say(401, "Unauthorized: Missing authentication token")
        elif self.path == "/api/version":
            self._say(200, {"version": "4", "ray_version": ray.__version__, "ray_commit": "", "session_name": "s"})
        elif self.path == "/api/jobs/":
            self._say(200, list(self.server.jobs.values()))
        elif self.path.endswith("/logs"):
            self._say(200, {"logs": self.server.prints})
        elif self.path.startswith("/api/packages/"):
            self._say(200, {})
        else:
            self._say(200, self.server.jobs[self.path.rsplit("/", 1)[-1]])

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = asked["submission_id"]
        kept = {key: asked[key] for key in ("entrypoint", "metadata", "runtime_env")}
        self.server.jobs[name] = {
            "type": "SUBMISSION",
            "submission_id": name,
            "job_id": None,
            "status": self.server.ends_as,
            "driver_exit_code": 2 if self.server.ends_as == "FAILED" else None,
            **kept,
        }
        self._say(200, {"job_id": name, "submission_id": name})

    def do_DELETE(self) -> None:
        del self.server.jobs[self.path.rsplit("/", 1)[-1]]
        self._say(200, {"deleted": True})

    def _say(self, status: int, body: Any) -> None:
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Silence."""


@pytest.fixture
def dashboard(monkeypatch: pytest.MonkeyPatch) -> Iterator[Dashboard]:
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    server = Dashboard()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_name_of_the_sweep_is_the_name_of_the_job(dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "LEAVING", 0)
    said: list[str] = []
    dashboard.ends_as = "RUNNING"
    cluster, job = Cluster(dashboard.address), Job("digits", ["submit", "x"], environment={"A": "1"})
    cluster.start(job, said.append)
    assert list(dashboard.jobs) == ["digits"] and said[0].endswith("sent no file; from the environment A")
    cluster.start(job, said.append)
    assert list(dashboard.jobs) == ["digits"] and said[1].endswith("already")
    with pytest.raises(UserError, match=r"the job name 'digits' is in use: .* is running with another file or command"):
        cluster.start(Job("digits", ["submit", "y"]), said.append)
    dashboard.jobs["digits"]["status"] = "FAILED"
    cluster.start(job, said.append)
    assert list(dashboard.jobs) == ["digits", "digits.2"]
    assert cluster.last("digits") == "digits.2"
    with pytest.raises(UserError, match=r"has no job of a sweep 'digit'"):
        cluster.logs("digit")


def test_a_driver_that_was_told_to_stop_is_given_a_moment_to_end(
    dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "POLL", 0.01)
    dashboard.ends_as = "RUNNING"
    cluster, said = Cluster(dashboard.address), list[str]()
    cluster.start(Job("digits", ["submit", "x"]), said.append)
    ends = threading.Timer(0.2, lambda: dashboard.jobs["digits"].update(status="SUCCEEDED"))
    ends.start()
    cluster.start(Job("digits", ["resume", "digits"]), said.append)
    ends.join()
    assert list(dashboard.jobs) == ["digits", "digits.2"]


def test_a_job_has_the_profile_of_who_sends_it(
    dashboard: Dashboard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (config := tmp_path / "lab.toml").write_text(LAB)
    monkeypatch.setenv("GANSWEEP_CONFIG", str(config))
    monkeypatch.setenv("LAB_PASSWORD", "s3cret")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://s3")
    said: list[str] = []
    remote.submit(sweep(), None, remote.JobOptions(dashboard.address, detach=True), "lab", said.append)
    (job,) = dashboard.jobs.values()
    assert (
        "GANSWEEP_CONFIG=config.toml python -m orchestrator submit sweep.yaml --address auto --profile lab"
        in (job["entrypoint"])
    )
    assert job["runtime_env"]["env_vars"] == {"AWS_ENDPOINT_URL": "http://s3"}
    assert "config.toml (" in said[0] and "s3cret" not in json.dumps(job)


def test_python_sends_a_job_where_its_handle_can_read_what_it_does(
    dashboard: Dashboard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (config := tmp_path / "lab.toml").write_text(LAB)
    monkeypatch.setenv("GANSWEEP_CONFIG", str(config))
    monkeypatch.setenv("GANSWEEP_PROFILE", "lab")
    monkeypatch.setenv("LAB_PASSWORD", "s3cret")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://s3")
    monkeypatch.setenv("BUCKET_OF_MINE", "faces")
    handle = submit(sweep(), address=dashboard.address, env=["BUCKET_OF_MINE"], home=tmp_path)
    (job,) = dashboard.jobs.values()
    assert handle.name == "small" and "--profile lab" in job["entrypoint"]
    assert job["runtime_env"]["env_vars"] == {"AWS_ENDPOINT_URL": "http://s3", "BUCKET_OF_MINE": "faces"}
    assert "job small" in capsys.readouterr().out
    handle.resume(trials=24, address=dashboard.address, set={"budget.hours": 9}, env=["BUCKET_OF_MINE"])
    resumed = dashboard.jobs["small.2"]
    assert "resume small --set budget.hours=9 --set search.trials=24 --address auto" in resumed["entrypoint"]
    assert resumed["runtime_env"]["env_vars"] == {"AWS_ENDPOINT_URL": "http://s3", "BUCKET_OF_MINE": "faces"}
    commands.used.clear()
    with pytest.raises(UserError, match="name a profile whose places this machine and the cluster both reach"):
        submit(sweep(), address=dashboard.address, profile="local")
    with pytest.raises(UserError, match="name a profile whose places this machine and the cluster both reach"):
        Handle("small", Home(tmp_path)).resume(address=dashboard.address)
    commands.used.clear()


def test_following_ends_with_the_job(dashboard: Dashboard) -> None:
    cluster, said = Cluster(dashboard.address), list[str]()
    cluster.start(Job("one", ["submit"]), lambda _: None)
    cluster.follow("one", said.append)
    assert said == ["done"]
    dashboard.ends_as = "FAILED"
    cluster.start(Job("two", ["submit"]), lambda _: None)
    with pytest.raises(WorkError, match=r"job two failed with exit status 2$"):
        cluster.follow("two", said.append)


def test_a_head_that_is_lost_while_its_job_is_followed_is_told(dashboard: Dashboard) -> None:
    dashboard.ends_as = "RUNNING"
    cluster = Cluster(dashboard.address)
    cluster.start(Job("one", ["submit"]), lambda _: None)

    def lose(_: str) -> None:
        dashboard.shutdown()
        dashboard.server_close()

    with pytest.raises(WorkError, match=rf"{dashboard.address} answers no more: .*gansweep resume one"):
        cluster.follow("one", lose)


def test_a_short_command_leaves_no_job_behind(dashboard: Dashboard) -> None:
    cluster = Cluster(dashboard.address)
    assert cluster.run(Job("digits", ["status", "digits"])) == "done"
    dashboard.ends_as, dashboard.prints = "FAILED", "gansweep: there is no sweep 'digits'"
    with pytest.raises(WorkError, match=r"^gansweep: there is no sweep 'digits'$"):
        cluster.run(Job("digits", ["status", "digits"]))
    assert dashboard.jobs == {}


def test_a_driver_that_was_killed_is_started_again_and_one_that_ended_is_not(
    dashboard: Dashboard, tmp_path: Path
) -> None:
    import subprocess

    Cluster(dashboard.address).start(Job("digits", ["submit"]), lambda _: None)
    line = dashboard.jobs["digits"]["entrypoint"].replace("sleep 3", "sleep 0")
    for status, lives in ((0, 1), (2, 1), (130, 1), (137, 5)):
        count = tmp_path / str(status)
        script = re.sub(r"python -m orchestrator .*?; status", f"(echo x >> {count}; exit {status}); status", line)
        assert subprocess.run(["sh", "-c", script], check=False, capture_output=True).returncode == status
        assert len(count.read_text().splitlines()) == lives


def test_who_is_not_let_in_is_told_where_the_token_is_looked_for(
    dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "b" * 64)
    with pytest.raises(
        UserError, match=r"the token that was found is not the cluster's.*RAY_AUTH_TOKEN, .*~/.ray/auth_t"
    ):
        Cluster(dashboard.address)
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UserError, match=r"it wants a token, and none was found"):
        Cluster(dashboard.address)
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text(TOKEN + "\n")
    Cluster(dashboard.address)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "gone"))
    with pytest.raises(UserError, match=r"RAY_AUTH_TOKEN_PATH names .*gone, and there is no such file"):
        Cluster(dashboard.address)


def test_a_head_that_is_not_there() -> None:
    with pytest.raises(
        UserError, match=r"no Ray dashboard answers at http://127.0.0.1:9: Connection refused.*ray\[default\]"
    ):
        Cluster("http://127.0.0.1:9")


@pytest.mark.parametrize(("address", "why"), [("127.0.0.1:9", "Connection refused"), ("head", "port is missing")])
def test_a_cluster_that_is_not_there_is_told_at_once(address: str, why: str) -> None:
    with pytest.raises(UserError, match=rf"no Ray cluster answers at {address}: .*{why}.*6379"):
        require_head(address)
    with pytest.raises(UserError, match=r"ray://head:10001: .* not behind Ray Client"):
        require_head("ray://head:10001")


def test_the_environment_is_forwarded_by_name_and_secrets_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://s3")
    monkeypatch.setenv("MY_DB", "postgresql://me:hidden@db/x")
    assert forwarded(["AWS_ENDPOINT_URL"]) == {"AWS_ENDPOINT_URL": "http://s3"}
    with pytest.raises(UserError) as told:
        forwarded(["AWS_SECRET_ACCESS_KEY", "MY_DB", "NOT_SET_ANYWHERE", "AWS_ENDPOINT_URL"])
    message = str(told.value)
    assert message.startswith("--env, or the profile's environment: AWS_SECRET_ACCESS_KEY, MY_DB: looks like a secret")
    assert "NOT_SET_ANYWHERE: not set here" in message and "hidden" not in message
