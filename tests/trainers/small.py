"""Trainings small enough for a test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from trainers.config import Config
from trainers.families.gan.training import GanTraining
from trainers.loop import Run

ROOT = Path(__file__).parents[2]


def config(**groups: Any) -> Config:
    """A tiny MLP on digits, a few steps long, judged by little; groups of values lie over it."""
    base: dict[str, dict[str, Any]] = {
        "data": {"name": "digits"},
        "model": {"generator": "mlp", "discriminator": "mlp", "latent_dim": 8, "width": 16, "depth": 2},
        "train": {"images": 320, "batch_size": 16, "generator_lr": 1e-3, "discriminator_lr": 1e-3},
        "evaluate": {"every_images": 160, "samples": 64, "metrics": ("fid",), "extractor": "raw"},
        "health": {"stop": "never"},
    }
    return Config.model_validate({name: {**base[name], **groups.get(name, {})} for name in base})


def killed_on_its_way(file: Path, out: Path, ranks: int, seconds: float) -> None:
    """``python -m trainers`` on ``file``, with more to train than it has time for, ended so long after it has begun."""
    words = [sys.executable, "-m", "trainers", str(file), "--out", str(out), "--ranks", str(ranks)]
    words += ["--set", "train.images=96000"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(words, cwd=ROOT, env=environment, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()  # it has begun
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    process.stdout.close()


def gan(run: Run) -> GanTraining:
    """The training of a run, to look behind the protocol."""
    assert isinstance(run.training, GanTraining)
    return run.training
