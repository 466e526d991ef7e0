"""A sweep on the cluster as its user sees it: submit, watch the output, disturb, wait, verify."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from typing import Any

from infra.cluster.cluster import Cluster
from infra.cluster.machines import command_line

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
  space:
    train.generator_lr: {{float: [5.0e-4, 3.0e-3], log: true}}
    train.r1_gamma: {{float: [0.01, 0.1], log: true}}
objective: {{minimize: fid}}
confirm: {{top: 0}}
resources: {{workers_per_trial: 2, hang_seconds: {hang_seconds}}}      # on nodes of one CPU: always two nodes
"""

PROFILE = """\
[profiles.lab]
ledger = "${{LEDGER}}"
tracking = "${{MLFLOW_TRACKING_URI}}"
artifacts = "${{ARTIFACTS}}"
address = "{address}"
"""

HANG_SECONDS = 20
UNDER_PROFILE = ("env", "GANSWEEP_PROFILE=lab")

RANK = re.compile(rb"ray::(\w*Trainable|Rank)")


class Play:
    """A sweep of ``trials`` trials, which all train to the end, so that a disturbed one can be compared with a calm
    one bit by bit.
    """

    def __init__(self, cluster: Cluster, name: str, trials: int = 2, images: int = 32_768, at: str = "driver") -> None:
        self.cluster, self.name = cluster, name
        self._text = SWEEP.format(name=name, trials=trials, images=images, hang_seconds=HANG_SECONDS)
        self._log = f"{name}.log"
        self.at = at

    def submit(self, *options: str) -> None:
        """On the machine of its driver; from the laptop, as a job."""
        (self.cluster[self.at].folder / "home" / f"{self.name}.yaml").write_text(self._text)
        self._drive("submit", f"{self.name}.yaml", *options)

    def take_over(self, at: str) -> None:
        """Go on from another machine: all that its home holds is a profile."""
        self.at = at
        self._drive("resume", self.name)

    def ask(self, *words: str) -> str:
        """What a command answers on the machine that submitted it last."""
        return self.cluster[self.at].run(*self._gansweep(*words))

    def train(self, trial: dict[str, Any]) -> tuple[str, ...]:
        """The command that trains a trial, as ``status`` has it, on the laptop alone, which prints a report a line."""
        file = self.cluster["laptop"].folder / "home" / f"{self.name}.yaml"
        file.write_text(self._text)
        changes = [word for name, value in trial["params"].items() for word in ("--set", f"{name}={value!r}")]
        own = ("--out", f"{self.name}-{trial['id']}", "--json")
        return (sys.executable, "-m", "orchestrator", "train", file.name, *changes, *own)

    def reports(self) -> int:
        """How many were told so far."""
        return self.output().count(" images ")

    def status(self) -> dict[str, Any]:
        """As ``gansweep status --json`` has it."""
        document: dict[str, Any] = json.loads(self.ask("status", self.name, "--json"))
        return document

    def has_begun(self) -> bool:
        """Whether the ledger has a report of it."""
        known = json.loads(self.ask("list", "--json"))
        return any(sweep["name"] == self.name and any(t["images"] for t in sweep["trials"]) for sweep in known)

    def wait_for_report(self, images: int) -> None:
        """Until some trial has told of so many images."""
        self.wait_for(f"{images:,} images")

    def wait_for(self, wanted: str, seconds: float = 240) -> None:
        """Until the driver has printed this."""
        deadline = time.monotonic() + seconds
        while wanted not in self.output():
            if self.driver.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"sweep {self.name} never said '{wanted}':\n{self.output()[-3000:]}")
            time.sleep(0.2)

    def finish(self, seconds: float = 420) -> int:
        """Wait for its driver's end; returns the exit status."""
        return self.driver.wait(timeout=seconds)

    def processes(self) -> list[int]:
        """Of its driver, by ids as the host counts them."""
        return [pid for pid in self.cluster[self.at].processes() if b"orchestrator" in command_line(pid)]

    def output(self, at: str | None = None) -> str:
        """What its driver printed, or the one that was on machine ``at``."""
        return (self.cluster[at or self.at].folder / self._log).read_text(errors="replace")

    def verify(self) -> dict[str, Any]:
        """What ``infra.cluster.verify`` says, asked from the machine that drove it last."""
        asked = self.cluster[self.at].run(*UNDER_PROFILE, sys.executable, "-m", "infra.cluster.verify", self.name)
        document: dict[str, Any] = json.loads(asked)
        return document

    def _drive(self, *arguments: str) -> None:
        machine = self.cluster[self.at]
        (machine.folder / self._log).unlink(missing_ok=True)
        self.driver: subprocess.Popen[bytes] = machine.spawn(*self._gansweep(*arguments), log=self._log)

    def _gansweep(self, *words: str) -> tuple[str, ...]:
        config = self.cluster[self.at].folder / "home/.config/gansweep/config.toml"
        config.parent.mkdir(parents=True, exist_ok=True)
        address = self.cluster.dashboard if self.at == "laptop" else self.cluster.address
        config.write_text(PROFILE.format(address=address))
        return (*UNDER_PROFILE, sys.executable, "-m", "orchestrator", *words)


def curve(reports: str) -> list[list[float]]:
    """``[[images, fid], …]`` of what ``gansweep train --json`` printed."""
    told = [json.loads(line) for line in reports.splitlines() if line.startswith("{")]
    return [[report["images"], report["metrics"]["fid"]] for report in told]


def training_on(cluster: Cluster) -> list[str]:
    """Names of the nodes on which a rank trains at this moment."""
    return [name for name in cluster.running() if ranks_on(cluster, name)]


def ranks_on(cluster: Cluster, name: str) -> list[int]:
    """Process ids, as the host counts them, of a node's ranks."""
    return list(filter(_is_rank, cluster[name].processes()))


def left_behind(cluster: Cluster) -> set[str]:
    """Ranks that still live, and temporary folders of trainings, embedded Rays and torch, on machines that are up."""
    left = {f"{name}: a rank lives" for name in training_on(cluster)}
    for name in cluster.running():
        temporary, ours = cluster[name].folder / "tmp", ("gansweep-*", "gs-*", "torch*")
        left |= {f"{name}: {path.name}" for pattern in ours for path in temporary.glob(pattern)}
    return left


def _is_rank(pid: int) -> bool:
    return any(RANK.match(word) for word in command_line(pid)[:1])
