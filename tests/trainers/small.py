"""Trainings small enough for a test."""

from __future__ import annotations

from typing import Any

from trainers.config import Config
from trainers.families.gan.training import GanTraining
from trainers.loop import Run


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


def gan(run: Run) -> GanTraining:
    """The training of a run, to look behind the protocol."""
    assert isinstance(run.training, GanTraining)
    return run.training
