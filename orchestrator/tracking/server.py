"""The embedded MLflow server: one per home, on loopback, started by the first command that needs it and gone with the
last.

Two locks say who is there, and the kernel drops them however their holder dies: every command that uses the server
shares one, and the server's guardian (this module, run) holds the other, on the note with its address, which is true
only while it is held. The guardian ends the server when nobody shares the first.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import psutil

from orchestrator.errors import UserError, WorkError
from orchestrator.paths import Home

_ENVIRONMENT = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # its workers cost as much memory as the server
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
START_TIMEOUT = 120.0


class Server:
    """A server for a home: ``url`` is known at once, ``wait`` returns when it answers."""

    def __init__(self, url: str, guardian: int, log: Path) -> None:
        self.url, self.guardian, self._log = url, guardian, log

    def wait(self, timeout: float = START_TIMEOUT) -> None:
        deadline = time.monotonic() + timeout
        while not healthy(self.url):
            if not _lives(self.guardian):
                raise WorkError(f"the MLflow server ended while starting; its log is {self._log}")
            if time.monotonic() > deadline:
                raise WorkError(
                    f"the MLflow server at {self.url} does not answer after {timeout:.0f} s; its log is {self._log}"
                )
            time.sleep(0.2)


@contextmanager
def embedded(home: Home, port: int | None = None) -> Iterator[Server]:
    """The home's server, or its server on ``port``: one that runs already, or a new one. It lives until the last
    ``with`` ends. Raises UserError where the port is taken. Does not wait until the server answers.
    """
    home.mlflow.mkdir(parents=True, exist_ok=True)
    name = f"server-{port}" if port else "server"
    users, note = home.mlflow / f"{name}.users", home.mlflow / f"{name}.json"
    log = home.mlflow / "server.log"
    with users.open("a") as using:
        fcntl.flock(using, fcntl.LOCK_SH)  # waits while a guardian ends its server
        with note.open("a+") as said:
            if _alone(said):
                said.truncate(0)
                server = _start(home, _free_port(port), users, said, log)
            else:
                server = _running(note, log)
        wait = True
        try:
            yield server
        except KeyboardInterrupt:
            wait = False  # who wants to go at once may: the guardian ends a server that nobody uses
            raise
        finally:
            if wait and _alone(using):  # who comes now waits
                _end(note, server.guardian)


def healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _start(home: Home, port: int, users: Path, note: IO[str], log: Path) -> Server:
    """A guardian and its server, and their ``note``, whose lock the guardian inherits."""
    command = [
        *(sys.executable, "-m", "orchestrator.tracking.database", str(home.mlflow_file), "server"),
        *("--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
        *("--backend-store-uri", home.mlflow_database, "--no-serve-artifacts"),
        *("--default-artifact-root", home.mlflow_artifacts),
    ]
    with log.open("ab") as output:
        guardian = subprocess.Popen(
            [sys.executable, "-m", "orchestrator.tracking.server", str(users), *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **_ENVIRONMENT},
            pass_fds=[note.fileno()],
            start_new_session=True,  # Ctrl-C is for the sweep; the server goes when nobody needs it
        )
    server = Server(f"http://127.0.0.1:{port}", guardian.pid, log)
    json.dump({"url": server.url, "guardian": server.guardian}, note)
    note.flush()
    return server


def _running(note: Path, log: Path, timeout: float = 10.0) -> Server:
    """The server that ``note`` tells of, which another command may be writing in this moment."""
    deadline = time.monotonic() + timeout
    while not (text := note.read_text()):
        if time.monotonic() > deadline:
            raise WorkError(f"{note} is held by a process that does not say where its MLflow server is; end it")
        time.sleep(0.01)
    known = json.loads(text)
    return Server(known["url"], known["guardian"], log)


def _end(note: Path, guardian: int) -> None:
    """Returns when the server is gone."""
    with note.open("a") as held:
        if not _alone(held):
            os.kill(guardian, signal.SIGTERM)
            fcntl.flock(held, fcntl.LOCK_EX)


def _alone(file: IO[str]) -> bool:
    """Whether nobody else has locked ``file``; then it is ours until it is closed."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lives(process: int) -> bool:
    try:
        return bool(psutil.Process(process).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _free_port(port: int | None) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port or 0))
        except OSError as error:
            raise UserError(f"port {port} is taken ({error.strerror}); choose another with --port") from None
        return int(probe.getsockname()[1])


def _guard(users: Path, command: list[str]) -> int:
    """Run ``command`` until nobody uses it. It yields the processor to training, since it only serves pages and small
    batches; not by all 19, by which a machine with other work starved it for minutes.
    """
    os.nice(10)
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    with users.open("a") as using:
        while server.poll() is None and not _alone(using) and not ended.wait(0.5):
            pass
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        try:
            return server.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            return server.wait()


if __name__ == "__main__":
    sys.exit(_guard(Path(sys.argv[1]), sys.argv[2:]))
