"""Pieces that several networks share."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from trainers.config import Model
from trainers.data.dataset import Space

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "tanh": nn.Tanh}
SLOPE = 0.2  # of every leaky ReLU, as since DCGAN


class ClassInput(nn.Module):
    """What a conditional generator starts from: the latent beside a learned embedding of the class (Mirza 2014).

    An unconditional one passes the latent on. Where no labels are given, each latent chooses a class by the hash of its
    bits, so that any user of a generator may leave them out.
    """

    def __init__(self, settings: Model, space: Space) -> None:
        super().__init__()
        self.classes = space.classes if settings.conditional else 0
        self.width = settings.latent_dim * (2 if self.classes else 1)
        self.embedding = nn.Embedding(self.classes, settings.latent_dim) if self.classes else None

    def forward(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        """(n, latent_dim) and (n,) -> (n, self.width)."""
        if self.embedding is None:
            return latents
        if labels is None:
            labels = latents.view(torch.int32).long().sum(1).remainder(self.classes)
        return torch.cat((latents, self.embedding(labels)), 1)


class ProjectionHead(nn.Module):
    """Features to one logit: ``linear(h) + embedding(y) . h`` (Miyato and Koyama 2018, eq. 4), or the first term
    alone.
    """

    def __init__(self, features: int, settings: Model, space: Space) -> None:
        super().__init__()
        self.linear = nn.Linear(features, 1)
        spectral(settings.discriminator_norm, self.linear)
        self.embedding: nn.Module | None = None
        if settings.conditional and space.classes:
            embedding = nn.Embedding(space.classes, features)
            if settings.discriminator_norm != "spectral":
                nn.init.zeros_(embedding.weight)  # all classes alike at first; a zero has no singular vector
            self.embedding = spectral(settings.discriminator_norm, embedding)

    def forward(self, features: Tensor, labels: Tensor | None) -> Tensor:
        """(n, features) and (n,) -> logits (n, 1)."""
        logits: Tensor = self.linear(features)
        if self.embedding is not None and labels is not None:
            logits = logits + (self.embedding(labels) * features).sum(1, keepdim=True)
        return logits


def channels_by_stage(width: int, resolution: int) -> list[int]:
    """Channels from full resolution down to 4x4: doubled with every halving, at most 8 * width."""
    stages = (resolution // 4).bit_length() - 1
    return [width * min(2**stage, 8) for stage in range(stages + 1)]


def activation(name: str) -> nn.Module:
    """The non-linearity of this name."""
    return nn.LeakyReLU(SLOPE) if name == "leaky_relu" else ACTIVATIONS[name]()


def normalise(name: str, channels: int, dimensions: int) -> list[nn.Module]:
    """The normalisation behind a linear (dimensions 1) or convolutional (dimensions 2) layer; none is an empty list."""
    if name != "batch":
        return []
    return [nn.BatchNorm1d(channels) if dimensions == 1 else nn.BatchNorm2d(channels)]


def has_batch_norm(network: nn.Module) -> bool:
    """Whether any part of it mixes the examples of a batch."""
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())


def spectral(name: str, layer: nn.Module) -> nn.Module:
    """``layer`` with its weight divided by its largest singular value where ``name`` asks for it (Miyato 2018)."""
    return spectral_norm(layer) if name == "spectral" else layer


def he(slope: float = SLOPE) -> Callable[[nn.Module], None]:
    """He's initialisation for ``module.apply``, for networks without batch norm: with DCGAN's N(0, 0.02) they
    vanish.
    """

    def initialise(module: nn.Module) -> None:
        if isinstance(module, nn.ConvTranspose2d):  # stride 2: each input channel reaches an output pixel 2x2 times
            nn.init.normal_(module.weight, std=(2 / (1 + slope**2) / (module.in_channels * 4)) ** 0.5)
        elif isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, a=slope)

    return initialise
