"""Networks by name.

A generator is called as ``generator(latents (n, latent_dim), labels (n,) or None) -> examples (n, *shape)``, a
discriminator as ``discriminator(examples, labels) -> logits (n, 1)``. Both are built as ``Name(settings.model,
space)``; so is your own, named by a dotted path ``package.module:Class``.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from trainers.config import Model
from trainers.data.dataset import Space
from trainers.models.dcgan import DcganDiscriminator, DcganGenerator
from trainers.models.mlp import MaxoutDiscriminator, MlpDiscriminator, MlpGenerator
from trainers.models.r3gan import R3ganDiscriminator, R3ganGenerator
from trainers.models.resnet import ResnetDiscriminator, ResnetGenerator
from trainers.randomness import key
from trainers.registry import lookup

Builder = Callable[[Model, Space], nn.Module]

GENERATORS: dict[str, Builder] = {
    "mlp": MlpGenerator,
    "dcgan": DcganGenerator,
    "resnet": ResnetGenerator,
    "r3gan": R3ganGenerator,
}
DISCRIMINATORS: dict[str, Builder] = {
    "mlp": MlpDiscriminator,
    "maxout": MaxoutDiscriminator,
    "dcgan": DcganDiscriminator,
    "resnet": ResnetDiscriminator,
    "r3gan": R3ganDiscriminator,
}


def build_generator(settings: Model, space: Space, seed: int = 0) -> nn.Module:
    """The generator of these settings, its first weights drawn from ``seed``."""
    return _build(lookup(GENERATORS, settings.generator, "model.generator"), settings, space, key(seed, "generator"))


def build_discriminator(settings: Model, space: Space, seed: int = 0) -> nn.Module:
    """The discriminator of these settings, its first weights drawn from ``seed``."""
    builder = lookup(DISCRIMINATORS, settings.discriminator, "model.discriminator")
    return _build(builder, settings, space, key(seed, "discriminator"))


def parameter_count(module: nn.Module) -> int:
    """The number of trained values."""
    return sum(p.numel() for p in module.parameters())


def _build(builder: Builder, settings: Model, space: Space, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):  # torch's initialisers know only the global generator
        torch.manual_seed(seed)
        return builder(settings, space)
