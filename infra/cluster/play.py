"""A sweep on the cluster as its user sees it: submit, watch the output, disturb, wait, verify."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from infra.cluster.cluster import Cluster

SWEEP = """
name: {name}
data: {{name: ring}}
model: {{generator: mlp, discriminator: mlp, latent_dim: 8, width: 32, depth: 2}}
train: {{images: {images}, batch_size: 64, beta1: 0.0}}
evaluate: {{every_images: 4_096, samples: 256, metrics: [fid]}}
health: {{stop: never}}
search:
  trials: {trials}
  sampler: random
  storage: $LEDGER
  space:
    train.generator_lr: {{float: [5.0e-4, 3.0e-3], log: true}}
    train.r1_gamma: {{float: [0.01, 0.1], log: true}}
objective: {{minimize: fid}}
confirm: {{top: 0}}
resources: {{workers_per_trial: 2}}      # on nodes of one CPU: always two nodes
tracking: {{uri: "${{MLFLOW_TRACKING_URI}}"}}
artifacts: {{url: "${{ARTIFACTS}}"}}
"""

RANK = re.compile(rb"ray::(\w*Trainable|Rank)")


class Play:
    """A sweep of ``trials`` trials, which all train to the end, so that a disturbed one can be compared with a calm
    one bit by bit.
    """

    def __init__(self, cluster: Cluster, name: str, trials: int = 2, images: int = 32_768, at: str = "driver") -> None:
        self.cluster, self.name = cluster, name
        self._text = SWEEP.format(name=name, trials=trials, images=images)
        self._log = f"{name}.log"
        self.at = at

    def submit(self) -> None:
        (self.cluster[self.at].folder / "home" / f"{self.name}.yaml").write_text(self._text)
        self._drive("submit", f"{self.name}.yaml")

    def take_over(self, at: str) -> None:
        """Go on from another machine, whose home is empty: all it needs is the sweep file."""
        self.at = at
        self.submit()

    def wait_for_report(self, images: int, seconds: float = 240) -> None:
        """Until some trial has told of so many images."""
        wanted = f"{images:,} images"
        deadline = time.monotonic() + seconds
        while wanted not in self.output():
            if self._driver.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"sweep {self.name} never came to {wanted}:\n{self.output()[-3000:]}")
            time.sleep(0.2)

    def finish(self, seconds: float = 420) -> int:
        """Wait for its driver's end; returns the exit status."""
        return self._driver.wait(timeout=seconds)

    def output(self) -> str:
        return (self.cluster[self.at].folder / self._log).read_text(errors="replace")

    def verify(self) -> dict[str, Any]:
        """What ``infra.cluster.verify`` says, asked from the machine that drove it last."""
        asked = self.cluster[self.at].run(sys.executable, "-m", "infra.cluster.verify", self.name)
        document: dict[str, Any] = json.loads(asked)
        return document

    def _drive(self, *arguments: str) -> None:
        machine = self.cluster[self.at]
        (machine.folder / self._log).unlink(missing_ok=True)
        gansweep = (sys.executable, "-m", "orchestrator", *arguments, "--address", self.cluster.address)
        self._driver: subprocess.Popen[bytes] = machine.spawn(*gansweep, log=self._log)


def training_on(cluster: Cluster) -> list[str]:
    """Names of the nodes on which a rank trains at this moment."""
    return [name for name in cluster.running() if any(map(_is_rank, cluster[name].processes()))]


def left_behind(cluster: Cluster) -> set[str]:
    """Ranks that still live, and temporary folders of trainings and of embedded Rays, on machines that are up."""
    left = {f"{name}: a rank lives" for name in training_on(cluster)}
    for name in cluster.running():
        temporary = cluster[name].folder / "tmp"
        left |= {f"{name}: {path.name}" for pattern in ("gansweep-*", "gs-*") for path in temporary.glob(pattern)}
    return left


def _is_rank(pid: int) -> bool:
    try:
        return bool(RANK.match(Path(f"/proc/{pid}/cmdline").read_bytes()))
    except OSError:
        return False
