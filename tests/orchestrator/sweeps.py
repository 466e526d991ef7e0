"""Small real sweeps, run as a user runs them: the command in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

TINY = """
name: tiny
data: {name: ring}
model: {generator: mlp, discriminator: mlp, latent_dim: 8, width: 32, depth: 2}
train: {images: 4_096, batch_size: 64, beta1: 0.0, generator_lr: 1.0e-3, discriminator_lr: 1.0e-3}
evaluate: {every_images: 1_024, samples: 128, metrics: [fid]}
health: {stop: never}
search:
  trials: 5
  space:
    train.generator_lr: {float: [5.0e-4, 3.0e-3], log: true}
    train.r1_gamma: {float: [0.01, 0.1], log: true}
objective: {minimize: fid}
rungs: {first_images: 1_024, reduction: 2}
confirm: {top: 1, seeds: 1}
resources: {workers_per_trial: 2}
"""

LOAD = """
import json, sys, mlflow, numpy as np, pandas as pd
assert "trainers" not in sys.modules
model = mlflow.pyfunc.load_model(sys.argv[1])
made = model.predict(pd.DataFrame({"seed": np.arange(5, dtype=np.int64), **json.loads(sys.argv[3])}))
np.save(sys.argv[2], made)
"""


class User:
    """Someone with a sweep file and a home of their own."""

    def __init__(self, folder: Path, text: str = TINY) -> None:
        self.home, self.file = folder / "home", folder / "sweep.yaml"
        self.file.write_text(text)

    def run(self, *arguments: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._command(arguments),
            capture_output=True,
            text=True,
            timeout=timeout,
            env=self._environment(),
            check=False,
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self._command(arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self._environment(),
        )

    def status(self, name: str = "tiny") -> dict[str, Any]:
        done = self.run("status", name, "--json")
        assert done.returncode == 0, done.stderr
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    def predict(self, uri: str, **columns: Any) -> np.ndarray:
        """What a registered model makes of seeds 0 to 4, in a process that knows nothing of gansweep and no pickle."""
        out = self.home.parent / "predicted.npy"
        environment = {**os.environ, "MLFLOW_TRACKING_URI": self.mlflow, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
        command = [sys.executable, "-c", LOAD, uri, str(out), json.dumps(columns)]
        subprocess.run(command, check=True, env=environment, cwd=out.parent, capture_output=True)
        made: np.ndarray = np.load(out)
        return made

    @property
    def mlflow(self) -> str:
        return f"sqlite:///{self.home}/mlflow/mlflow.db"

    def _command(self, arguments: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-m", "orchestrator", *arguments]

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "GANSWEEP_HOME": str(self.home)}
