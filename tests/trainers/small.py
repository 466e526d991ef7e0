"""Trainings small enough for a test."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor

from trainers import launch
from trainers.config import Config
from trainers.families.gan.training import GanTraining
from trainers.family import Training
from trainers.loop import Run
from trainers.state import load

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


def left_alone_and_killed(
    config: Callable[..., Config], images: int, ranks: int, folder: Path
) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """The tensors of two trainings after ``images``: of one that nobody disturbs, and of one that is killed on its way
    and begun again.
    """
    asked, file = config(train={"images": images}), folder / "small.yaml"
    file.write_text(yaml.safe_dump(config().model_dump(mode="json")))
    killed_on_its_way(file, folder / "killed", ranks, random.Random(0).uniform(0.0, 0.2))
    for out in ("whole", "killed"):
        list(launch.run(asked, ranks, folder / out))
    return checkpointed(folder / "whole", images), checkpointed(folder / "killed", images)


def checkpointed(folder: Path, images: int) -> dict[str, bytes]:
    """The tensors of the checkpoint after ``images`` of the training in ``folder``, bit for bit."""
    groups = load(folder / "checkpoints" / str(images)).tensors
    return {f"{group}/{name}": t.numpy().tobytes() for group, named in groups.items() for name, t in named.items()}


def stepped(training: Training, images: int) -> dict[str, Tensor]:
    """A training's tensors but its optimisers', once it has shown so many ``images``, without the loop around it."""
    while training.images < images:
        training.step()
    groups = {name: group for name, group in training.tensors().items() if name != "optimisers"}
    return {f"{group}/{name}": t for group, named in groups.items() for name, t in named.items()}


def gan(run: Run) -> GanTraining:
    """The training of a run, to look behind the protocol."""
    assert isinstance(run.training, GanTraining)
    return run.training
