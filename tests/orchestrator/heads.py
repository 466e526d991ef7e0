"""A real Ray head on loopback, which takes jobs of whoever has its token."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from orchestrator.execution.jobs import Cluster

PORTS = ("port", "dashboard-port")
AGENTS = ("dashboard-agent-listen-port", "dashboard-agent-grpc-port", "metrics-export-port", "ray-client-server-port")


class Head(NamedTuple):
    """``address`` is its dashboard's, ``gcs`` where drivers join, ``token`` a file."""

    address: str
    gcs: str
    token: Path


@contextmanager
def head(folder: Path, environment: Mapping[str, str] | None = None) -> Iterator[Head]:
    """With two CPUs, the home of its jobs in ``folder``, and ``environment`` beside ours. It answers."""
    token = folder / "token"
    token.touch(mode=0o600)
    token.write_text(secrets.token_hex(32))
    known = {
        **os.environ,
        **(environment or {}),
        "HOME": str(folder),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(Path.cwd()),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # loopback only: as in execution/environment.py
        "RAY_raylet_start_wait_time_s": "180",
    }
    ports = dict(zip((*PORTS, *AGENTS), _free_ports(len(PORTS) + len(AGENTS)), strict=True))
    with tempfile.TemporaryDirectory(prefix="gs-", dir="/tmp", ignore_cleanup_errors=True) as temporary:
        line = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", "--num-cpus=2"]
        line += ["--node-ip-address=127.0.0.1", "--dashboard-host=127.0.0.1", "--include-dashboard=true"]
        line += [f"--temp-dir={temporary}", *(f"--{name}={port}" for name, port in ports.items())]
        process = subprocess.Popen(line, env=known, start_new_session=True, stdout=subprocess.DEVNULL)
        try:
            started = Head(f"http://127.0.0.1:{ports['dashboard-port']}", f"127.0.0.1:{ports['port']}", token)
            _wait_for(started)
            yield started
        finally:
            _end(process)


def _wait_for(head: Head) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_TOKEN_PATH", str(head.token))
        for _ in range(240):
            try:
                Cluster(head.address)
                return
            except Exception:
                time.sleep(1)
    pytest.fail("the head's dashboard never answered")


def _free_ports(count: int) -> list[int]:
    opened = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in opened]
    for one in opened:
        one.close()
    return ports


def _end(head: subprocess.Popen[bytes]) -> None:
    """The head and all that it started, by their ids."""
    with_children = [psutil.Process(head.pid), *psutil.Process(head.pid).children(recursive=True)]
    head.send_signal(signal.SIGTERM)
    psutil.wait_procs(with_children, timeout=15)
    for process in with_children:
        if process.is_running():
            process.kill()
    head.wait()
