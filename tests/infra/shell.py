"""A reader's terminal: a folder, an empty home, and lines that are typed into it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.tracking.server import healthy

ROOT = Path(__file__).parents[2]
PATIENCE = 120.0
"""Seconds."""


class Shell:
    """Variables that a line sets are there for the next. A line that fails is an AssertionError with all it said."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._variables = folder, folder / "user/variables"
        self._variables.parent.mkdir()
        (folder / ".venv").symlink_to(sys.prefix)
        theirs = ("GANSWEEP_", "MLFLOW_", "AWS_", "RAY_")
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith(theirs)} | {
            "HOME": str(folder / "user"),
            "PATH": f"{sys.prefix}/bin{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "orchestrator/python"))),
        }

    def type(self, line: str) -> None:
        self._run("bash", "-c", f"{line}\nended=$?\nenv -0 > {self._variables}\nexit $ended")
        told = self._variables.read_text().split("\0")
        self.environment = dict(one.split("=", 1) for one in told if one)

    def python(self, text: str) -> None:
        self._run("python", "-c", text, MLFLOW_TRACKING_URI="sqlite:///gansweep-home/mlflow/mlflow.db")

    @contextmanager
    def lasting(self, line: str) -> Iterator[None]:
        """While a server runs that says where it answers, and that ends well with Ctrl-C."""
        file = self.folder / "user/told"
        with file.open("w") as told:
            words = ["bash", "-c", f"exec {line}"]
            server = subprocess.Popen(words, cwd=self.folder, env=self.environment, stdout=told, stderr=told)
            try:
                end = time.monotonic() + PATIENCE
                while not any(map(healthy, re.findall(r"https?://[\w.:]+", file.read_text()))):
                    assert server.poll() is None and time.monotonic() < end, f"{line}\n{file.read_text()}"
                    time.sleep(0.1)
                yield
                server.send_signal(signal.SIGINT)
                assert server.wait(PATIENCE) == 0, f"{line}\n{file.read_text()}"
            finally:
                server.kill()
                server.wait()

    def _run(self, *words: str, **variables: str) -> None:
        done = subprocess.run(
            words,
            cwd=self.folder,
            env=self.environment | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, f"{words[-1]}\n{done.stdout}"
