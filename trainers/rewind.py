"""After a collapse, back to the last healthy state, with calmer settings.

The clock does not go back: images are what was spent, so schedules, data and random numbers go on where they are, and a
training that goes wrong again in the same way meets other numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from trainers.config import Config, Train
from trainers.report import Report

RATES = 0.5
"""Factor on both learning rates per rewind."""
PENALTY = 2.0
"""Factor on every gradient penalty per rewind."""
LEAST_R1 = 0.1
"""R1 gamma of the first rewind where there was no penalty at all."""

Tensors = dict[str, dict[str, Tensor]]


@dataclass(frozen=True)
class Healthy:
    """A state to go back to: after ``images``, with its measures and what the verdict remembered then."""

    images: int
    tensors: Tensors
    monitor: dict[str, Any]
    metrics: dict[str, float]

    @classmethod
    def copied(cls, images: int, tensors: Tensors, monitor: dict[str, Any], metrics: dict[str, float]) -> Healthy:
        """One that stays as it is while the training goes on."""
        copies = {name: {key: value.clone() for key, value in group.items()} for name, group in tensors.items()}
        return cls(images, copies, monitor, metrics)

    def described(self) -> dict[str, Any]:
        """All but the tensors, JSON-able."""
        return {"images": self.images, "monitor": self.monitor, "metrics": self.metrics}


def calmer(config: Config, times: int) -> Train:
    """The settings of training after so many rewinds."""
    train = config.train
    if times == 0:
        return train
    stronger = {name: getattr(train, name) * PENALTY**times for name in ("r1_gamma", "r2_gamma", "gp_lambda")}
    if not any(stronger.values()) and config.model.discriminator_norm != "batch":
        stronger["r1_gamma"] = LEAST_R1 * PENALTY ** (times - 1)
    rates = {name: getattr(train, name) * RATES**times for name in ("generator_lr", "discriminator_lr")}
    return train.model_copy(update=stronger | rates)


def told(report: Report, healthy: Healthy, times: int, allowed: int) -> Report:
    """The report of a training that has just gone back: no longer collapsed, not yet above suspicion. Its measures are
    those of the state it saves.
    """
    health = report.health
    words = (
        f"{health.verdict}; back to the state after {healthy.images} images, learning rates x {RATES**times:g}, "
        f"penalties x {PENALTY**times:g} (rewind {times} of {allowed})"
    )
    signals = {**health.signals, "rewinds": times}
    health = replace(health, verdict="suspect", reasons=(*health.reasons, words), signals=signals)
    return replace(report, metrics=healthy.metrics, health=health, rewind=words)


def packed(healthy: Healthy) -> Tensors:
    """``healthy.tensors`` under names that stand beside those of the state it is kept with."""
    return {f"healthy.{name}": group for name, group in healthy.tensors.items()}


def unpacked(tensors: Mapping[str, dict[str, Tensor]]) -> Tensors:
    """What ``packed`` put in; empty where nothing was."""
    return {n.removeprefix("healthy."): group for n, group in tensors.items() if n.startswith("healthy.")}
