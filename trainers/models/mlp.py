"""Fully connected networks: the original GAN for images (Goodfellow 2014), and the small ones of the 2-D literature."""

from __future__ import annotations

import math
from itertools import pairwise

from torch import Tensor, nn

from trainers.config import Model
from trainers.data.dataset import Space
from trainers.models.conditions import Beside, ConditionInput, ProjectionHead
from trainers.models.parts import activation, normalise, spectral


class MlpGenerator(nn.Module):
    """latent -> width -> width * growth -> ... (``depth`` hidden layers) -> H x W x C, tanh for images.

    With width 128, depth 4 and growth 2 this is 100-128-256-512-1024-HWC. For points the last layer is linear.
    """

    def __init__(self, settings: Model, space: Space) -> None:
        super().__init__()
        self.space = space
        self.input = ConditionInput(settings, space)
        widths = [settings.width * settings.growth**i for i in range(settings.depth)]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise([self.input.width, *widths]):
            layers += [nn.Linear(inputs, outputs), *normalise(settings.generator_norm, outputs, dimensions=1)]
            layers += [activation(settings.activation)]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], math.prod(space.shape)))

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """(n, latent_dim) -> (n, *shape)."""
        flat: Tensor = self.layers(self.input(latents, labels))
        return flat.tanh().view(-1, *self.space.shape) if self.space.is_image else flat * self.space.scale


class MlpDiscriminator(nn.Module):
    """The generator's mirror: H x W x C -> ... -> width -> one logit."""

    def __init__(self, settings: Model, space: Space) -> None:
        super().__init__()
        self.scale = space.scale
        width, depth = settings.discriminator_width or settings.width, settings.discriminator_depth or settings.depth
        widths = [width * settings.growth**i for i in reversed(range(depth))]
        self.beside = Beside(settings, space)
        layers: list[nn.Module] = [nn.Flatten()]
        for inputs, outputs in pairwise([math.prod((self.beside.channels, *space.shape[1:])), *widths]):
            layers += [spectral(settings.discriminator_norm, nn.Linear(inputs, outputs))]
            layers += [*normalise(settings.discriminator_norm, outputs, dimensions=1), activation(settings.activation)]
        self.layers = nn.Sequential(*layers)
        self.head = ProjectionHead(widths[-1], settings, space)

    def forward(self, examples: Tensor, labels: Tensor | None = None) -> Tensor:
        """(n, *shape) -> logits (n, 1)."""
        logits: Tensor = self.head(self.layers(self.beside(examples / self.scale, labels)), labels)
        return logits


class MaxoutDiscriminator(nn.Module):
    """Protocol P's discriminator (Lin 2018, PacGAN): ``depth`` layers of ``width`` maxima over ``pieces`` linear units.

    First weights are N(0, 0.02), as released with the paper.
    """

    def __init__(self, settings: Model, space: Space) -> None:
        super().__init__()
        self.scale, self.pieces = space.scale, settings.pieces
        width, depth = settings.discriminator_width or settings.width, settings.discriminator_depth or settings.depth
        self.beside = Beside(settings, space)
        sizes = [math.prod((self.beside.channels, *space.shape[1:])), *[width] * depth]
        self.hidden = nn.ModuleList(nn.Linear(i, o * settings.pieces) for i, o in pairwise(sizes))
        self.head = ProjectionHead(width, settings, space)
        for linear in self.modules():
            if isinstance(linear, nn.Linear):
                nn.init.normal_(linear.weight, std=0.02)
                nn.init.zeros_(linear.bias)

    def forward(self, examples: Tensor, labels: Tensor | None = None) -> Tensor:
        """(n, *shape) -> logits (n, 1)."""
        features = self.beside(examples / self.scale, labels).flatten(1)
        for linear in self.hidden:
            features = linear(features).unflatten(1, (-1, self.pieces)).amax(2)
        logits: Tensor = self.head(features, labels)
        return logits
