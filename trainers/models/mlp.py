"""Fully connected networks: the original GAN for images (Goodfellow 2014), and the small ones of the 2-D literature."""

from __future__ import annotations

import math
from itertools import pairwise

from torch import Tensor, nn

from trainers.config import Model
from trainers.data.dataset import Space
from trainers.models.parts import activation, normalise, spectral


class MlpGenerator(nn.Module):
    """latent -> width -> width * growth -> ... (``depth`` hidden layers) -> H x W x C, tanh for images, linear for
    points.

    With width 128, depth 4 and growth 2 this is 100-128-256-512-1024-HWC.
    """

    def __init__(self, settings: Model, space: Space) -> None:
        super().__init__()
        self.space = space
        widths = [settings.width * settings.growth**i for i in range(settings.depth)]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise([settings.latent_dim, *widths]):
            layers += [nn.Linear(inputs, outputs), *normalise(settings.generator_norm, outputs, dimensions=1)]
            layers += [activation(settings.activation)]
        layers += [nn.Linear(widths[-1], math.prod(space.shape))]
        self.layers = nn.Sequential(*layers)

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """(n, latent_dim) -> (n, *shape)."""
        flat: Tensor = self.layers(latents)
        return flat.tanh().view(-1, *self.space.shape) if self.space.is_image else flat * self.space.scale


class MlpDiscriminator(nn.Module):
    """The generator's mirror: H x W x C -> ... -> width -> one logit."""

    def __init__(self, settings: Model, space: Space) -> None:
        super().__init__()
        self.scale = space.scale
        width, depth = settings.discriminator_width or settings.width, settings.discriminator_depth or settings.depth
        widths = [width * settings.growth**i for i in reversed(range(depth))]
        layers: list[nn.Module] = [nn.Flatten()]
        for inputs, outputs in pairwise([math.prod(space.shape), *widths]):
            layers += [
                spectral(settings.discriminator_norm, nn.Linear(inputs, outputs)),
                activation(settings.activation),
            ]
        self.layers = nn.Sequential(*layers, spectral(settings.discriminator_norm, nn.Linear(widths[-1], 1)))

    def forward(self, examples: Tensor, labels: Tensor | None = None) -> Tensor:
        """(n, *shape) -> logits (n, 1)."""
        logits: Tensor = self.layers(examples / self.scale)
        return logits
