"""Published settings to start a search with, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.settings.dimension import Dimension

PRESETS: dict[str, dict[str, Any]] = {}
"""As dotted names; a search takes those that its space has."""


def _adam(lr: float, beta1: float, beta2: float, n_dis: int = 1) -> dict[str, Any]:
    rates = {"train.generator_lr": lr, "train.discriminator_lr": lr}
    return rates | {"train.beta1": beta1, "train.beta2": beta2, "train.n_dis": n_dis}


# Miyato et al., Spectral normalization for GANs, ICLR 2018, table 1.
PRESETS |= {
    "sngan-A": _adam(1e-4, 0.5, 0.9, 5),
    "sngan-B": _adam(1e-4, 0.5, 0.999),
    "sngan-C": _adam(2e-4, 0.5, 0.999),
    "sngan-D": _adam(1e-3, 0.5, 0.9, 5),
    "sngan-E": _adam(1e-3, 0.5, 0.999, 5),
    "sngan-F": _adam(1e-3, 0.9, 0.999, 5),
}
# Radford et al., Unsupervised representation learning with deep convolutional GANs, ICLR 2016, section 4.
PRESETS["dcgan"] = _adam(2e-4, 0.5, 0.999) | {"train.loss": "non_saturating", "train.batch_size": 128}
# Huang et al., The GAN is dead; long live the GAN!, NeurIPS 2024: the start of the schedules of its CIFAR-10 code.
PRESETS["r3gan"] = _adam(2e-4, 0.0, 0.99) | {
    **{"train.loss": "relativistic", "train.r1_gamma": 0.05, "train.r2_gamma": 0.05},
    **{"model.generator": "r3gan", "model.discriminator": "r3gan"},
}


def started(one: str | Mapping[str, Any], space: Mapping[str, Dimension]) -> dict[str, Any]:
    """Settings of a start, or those of a preset that ``space`` holds; the sampler adds what is missing."""
    if not isinstance(one, str):
        return dict(one)
    preset = PRESETS.get(one, {})
    return {name: value for name, value in preset.items() if name in space and space[name].holds(value)}
