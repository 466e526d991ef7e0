"""DCGAN (Radford 2016) in the shape that Miyato 2018 (table 3) gave it, for images of 4 * 2^k pixels.

Channels double with every halving of the resolution, from ``width`` at full resolution to at most ``8 * width``.
"""

from __future__ import annotations

import math
from itertools import pairwise

from torch import Tensor, nn

from trainers.config import Model
from trainers.data.dataset import Space
from trainers.models.parts import normalise, spectral


class DcganGenerator(nn.Module):
    """latent -> 4x4 -> transposed convolutions, each doubling the resolution -> 3x3 convolution -> tanh."""

    def __init__(self, settings: Model, space: Space) -> None:
        super().__init__()
        channels = _channels(settings.width, space.shape[-1])[::-1]
        self.first = nn.Linear(settings.latent_dim, channels[0] * 16)
        layers: list[nn.Module] = [*normalise(settings.generator_norm, channels[0], dimensions=2), nn.ReLU()]
        for inputs, outputs in pairwise(channels):
            layers += [nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1)]
            layers += [*normalise(settings.generator_norm, outputs, dimensions=2), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels[-1], space.shape[0], 3, padding=1), nn.Tanh())
        self.apply(_initialise)

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """(n, latent_dim) -> (n, C, H, W) in [-1, 1]."""
        pictures: Tensor = self.layers(self.first(latents).view(len(latents), -1, 4, 4))
        return pictures


class DcganDiscriminator(nn.Module):
    """3x3 convolution at full resolution, then pairs (4x4 stride 2, 3x3) down to 4x4, then one linear logit."""

    def __init__(self, settings: Model, space: Space) -> None:
        super().__init__()
        norm = settings.discriminator_norm
        channels = _channels(settings.discriminator_width or settings.width, space.shape[-1])
        layers: list[nn.Module] = [
            spectral(norm, nn.Conv2d(space.shape[0], channels[0], 3, padding=1)),
            nn.LeakyReLU(0.2),
        ]
        for inputs, outputs in pairwise(channels):
            for convolution in (nn.Conv2d(inputs, outputs, 4, 2, 1), nn.Conv2d(outputs, outputs, 3, 1, 1)):
                layers += [spectral(norm, convolution), *normalise(norm, outputs, dimensions=2), nn.LeakyReLU(0.2)]
        self.features = nn.Sequential(*layers, nn.Flatten())
        self.logit = spectral(norm, nn.Linear(channels[-1] * 16, 1))
        self.apply(_initialise)

    def forward(self, examples: Tensor, labels: Tensor | None = None) -> Tensor:
        """(n, C, H, W) -> logits (n, 1)."""
        logits: Tensor = self.logit(self.features(examples))
        return logits


def _channels(width: int, resolution: int) -> list[int]:
    """Channels from full resolution down to 4x4."""
    stages = (resolution // 4).bit_length() - 1
    return [width * min(2**stage, 8) for stage in range(stages + 1)]


def _initialise(module: nn.Module) -> None:
    """He's initialisation: without batch norm, DCGAN's N(0, 0.02) starts with activations that vanish."""
    if isinstance(
        module, nn.ConvTranspose2d
    ):  # stride 2: a 4x4 kernel reaches an output pixel 2x2 times per input channel
        nn.init.normal_(module.weight, std=math.sqrt(2 / (module.in_channels * 4)))
    elif isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(module.weight, a=0.2)
