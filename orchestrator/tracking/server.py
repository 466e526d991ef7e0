"""The embedded MLflow server: one per home, on loopback, started by the first command that needs it and gone with that
command.

Run as a module it is the server's guardian: it ends the server when its own standard input closes, which happens
however the command that started it dies.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.errors import UserError, WorkError
from orchestrator.paths import Home

_ENVIRONMENT = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # its workers cost as much memory as the server
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
START_TIMEOUT = 120.0


class Server:
    """A server for ``home``: ``url`` is known at once, ``wait`` returns when it answers."""

    def __init__(self, url: str, process: subprocess.Popen[bytes] | None, log: Path) -> None:
        self.url, self._process, self._log = url, process, log

    def wait(self, timeout: float = START_TIMEOUT) -> None:
        deadline = time.monotonic() + timeout
        while not healthy(self.url):
            if self._process is not None and self._process.poll() is not None:
                raise WorkError(f"the MLflow server ended while starting; its log is {self._log}")
            if time.monotonic() > deadline:
                raise WorkError(
                    f"the MLflow server at {self.url} does not answer after {timeout:.0f} s; its log is {self._log}"
                )
            time.sleep(0.2)

    def stop(self) -> None:
        if self._process is not None and self._process.stdin:
            self._process.stdin.close()
            self._process.wait(timeout=20)


@contextmanager
def embedded(home: Home, port: int | None = None) -> Iterator[Server]:
    """The home's server: one that runs already (and keeps running), or one that lives as long as the ``with``.

    Raises UserError where ``port`` is given and taken. Does not wait until the server answers.
    """
    home.mlflow.mkdir(parents=True, exist_ok=True)
    note = home.mlflow / "server.json"
    running = _running(note)
    if running and port in (None, _port_of(running)):
        yield Server(running, None, home.mlflow / "server.log")
        return
    server = _start(home, _free_port(port))
    note.write_text(json.dumps({"url": server.url}))
    try:
        yield server
    finally:
        note.unlink(missing_ok=True)
        server.stop()


def healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _start(home: Home, port: int) -> Server:
    log = home.mlflow / "server.log"
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
        *("--backend-store-uri", home.mlflow_database, "--no-serve-artifacts"),
        *("--default-artifact-root", str(home.artifacts / "mlflow")),
    ]
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "orchestrator.tracking.server", *command],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env={**os.environ, **_ENVIRONMENT},
            start_new_session=True,  # Ctrl-C is for the sweep; the server goes when the sweep is done with it
        )
    return Server(f"http://127.0.0.1:{port}", process, log)


def _running(note: Path) -> str | None:
    try:
        url: str = json.loads(note.read_text())["url"]
    except (OSError, ValueError, KeyError):
        return None
    return url if healthy(url) else None


def _free_port(port: int | None) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port or 0))
        except OSError as error:
            raise UserError(f"port {port} is taken ({error.strerror}); choose another with --port") from None
        return int(probe.getsockname()[1])


def _port_of(url: str) -> int:
    return int(url.rsplit(":", 1)[1])


def _guard(command: list[str]) -> int:
    """Run ``command`` until standard input closes. It yields the processor to training: it only serves pages and small
    batches.
    """
    os.nice(19)
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    sys.stdin.buffer.read()
    os.killpg(server.pid, signal.SIGTERM)
    try:
        return server.wait(timeout=10)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        return server.wait()


if __name__ == "__main__":
    sys.exit(_guard(sys.argv[1:]))
