"""A sweep sent to a real Ray head as a job, from a "laptop" that shares nothing with it but address and token."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.orchestrator import heads
from tests.orchestrator.sweeps import TINY

NET = """
import math
from sizes import WIDTH
from torch import nn

class Net(nn.Module):
    def __init__(self, settings, space):
        super().__init__()
        self.shape = space.shape
        layers = nn.Linear(settings.latent_dim, WIDTH), nn.ReLU(), nn.Linear(WIDTH, math.prod(space.shape))
        self.body = nn.Sequential(*layers)

    def forward(self, latents, labels=None):
        return self.body(latents).view(-1, *self.shape)
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(580)]


class Laptop:
    """An empty home, a sweep file with a network of its own beside it, and the token in a file."""

    def __init__(self, folder: Path, head: heads.Head) -> None:
        self.folder, self.address, self.gcs, self.token = folder, *head
        folder.mkdir()
        text = TINY.replace("generator: mlp", "generator: ./mynet.py:Net").replace("trials: 5", "trials: 2")
        (folder / "sweep.yaml").write_text(text)
        (folder / "mynet.py").write_text(NET)
        (folder / "sizes.py").write_text("WIDTH = 24\n")

    def run(self, *words: str, address: str = "") -> subprocess.CompletedProcess[str]:
        known = {**os.environ, "HOME": str(self.folder), "RAY_AUTH_TOKEN_PATH": str(self.token)}
        known |= {"PYTHONPATH": str(Path.cwd()), "GREETING": "hello"}
        known |= {"RAY_AUTH_MODE": "token", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # as the head, on loopback
        return subprocess.run(
            [sys.executable, "-m", "orchestrator", *words, "--address", address or self.address],
            cwd=self.folder,
            env=known,
            capture_output=True,
            text=True,
            check=False,
            timeout=500,
        )


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    folder = tmp_path_factory.mktemp("cluster")
    with heads.head(folder) as head:
        yield Laptop(folder / "laptop", head)


def test_a_sweep_with_own_code_is_sent_followed_asked_about_and_resumed(laptop: Laptop) -> None:
    sent = laptop.run("submit", "sweep.yaml", "--env", "GREETING")
    assert sent.returncode == 0, sent.stdout + sent.stderr
    assert "job tiny on http" in sent.stdout and "from the environment GREETING" in sent.stdout
    assert "promote" in sent.stdout  # the driver's last words came through

    asked = laptop.run("status", "tiny", "--json")
    document = json.loads(asked.stdout)
    assert document["state"] == "finished" and len(document["trials"]) == 2
    assert not (laptop.folder / "gansweep-home").exists()

    more = laptop.run("resume", "tiny", "--trials", "3", "--detach")
    assert more.returncode == 0 and "job tiny.2 on" in more.stdout
    assert laptop.run("logs", "tiny", "--follow").returncode == 0
    assert laptop.run("logs", "tiny", "--trial", "0", "--rank", "1").stdout.startswith("==> trial 0, rank 1\n")
    assert len(json.loads(laptop.run("status", "tiny", "--json").stdout)["trials"]) == 3
    assert "is not running" in laptop.run("stop", "tiny").stdout


def test_a_wrong_token_and_a_missing_module_are_one_message_each(laptop: Laptop, tmp_path: Path) -> None:
    wrong = tmp_path / "token"
    wrong.write_text("0" * 64)
    other = Laptop(tmp_path / "other", heads.Head(laptop.address, laptop.gcs, wrong))
    refused = other.run("status", "tiny")
    assert refused.returncode == 2 and "is not the cluster's" in refused.stderr
    refused = other.run("submit", "sweep.yaml", address=laptop.gcs)
    assert refused.returncode == 2 and f"the Ray cluster at {laptop.gcs} does not take this token" in refused.stderr
    (laptop.folder / "sizes.py").write_text("import not_installed_there\nWIDTH = 24\n")
    broken = laptop.run("submit", "sweep.yaml", "--name", "broken")
    assert broken.returncode == 1, broken.stderr
    (line,) = [line for line in broken.stdout.splitlines() if "can't be imported" in line]
    assert "No module named 'not_installed_there'" in line and "sizes.py, line 1" in line
