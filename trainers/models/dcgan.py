"""DCGAN (Radford 2016) in the shape that Miyato 2018 (table 3) gave it, for images of 4 * 2^k pixels.

Channels double with every halving of the resolution, from ``width`` at full resolution to at most ``8 * width``.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from trainers.config import Model
from trainers.data.dataset import Space
from trainers.models.conditions import Beside, ConditionInput, ProjectionHead
from trainers.models.parts import SLOPE, channels_by_stage, he, normalise, spectral


class DcganGenerator(nn.Module):
    """latent -> 4x4 -> transposed convolutions, each doubling the resolution -> 3x3 convolution -> tanh."""

    def __init__(self, settings: Model, space: Space) -> None:
        super().__init__()
        norm = settings.generator_norm
        channels = channels_by_stage(settings.width, space.shape[-1])[::-1]
        self.input = ConditionInput(settings, space)
        self.first = nn.Linear(self.input.width, channels[0] * 16)
        layers: list[nn.Module] = [*normalise(norm, channels[0], dimensions=2), nn.ReLU()]
        for inputs, outputs in pairwise(channels):
            layers += [nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1)]
            layers += [*normalise(norm, outputs, dimensions=2), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels[-1], space.shape[0], 3, padding=1), nn.Tanh())
        self.apply(he(slope=0))

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """(n, latent_dim) -> (n, C, H, W) in [-1, 1]."""
        start = self.first(self.input(latents, labels)).view(len(latents), -1, 4, 4)
        pictures: Tensor = self.layers(start)
        return pictures


class DcganDiscriminator(nn.Module):
    """3x3 convolution at full resolution, then pairs (4x4 stride 2, 3x3) down to 4x4, then one logit."""

    def __init__(self, settings: Model, space: Space) -> None:
        super().__init__()
        norm = settings.discriminator_norm
        channels = channels_by_stage(settings.discriminator_width or settings.width, space.shape[-1])
        self.beside = Beside(settings, space)
        layers: list[nn.Module] = [spectral(norm, nn.Conv2d(self.beside.channels, channels[0], 3, padding=1))]
        layers += [nn.LeakyReLU(SLOPE)]
        for inputs, outputs in pairwise(channels):
            for convolution in (nn.Conv2d(inputs, outputs, 4, 2, 1), nn.Conv2d(outputs, outputs, 3, 1, 1)):
                layers += [spectral(norm, convolution), *normalise(norm, outputs, dimensions=2), nn.LeakyReLU(SLOPE)]
        self.features = nn.Sequential(*layers, nn.Flatten())
        self.head = ProjectionHead(channels[-1] * 16, settings, space)
        if norm != "spectral":
            self.apply(he())

    def forward(self, examples: Tensor, labels: Tensor | None = None) -> Tensor:
        """(n, C, H, W) -> logits (n, 1)."""
        logits: Tensor = self.head(self.features(self.beside(examples, labels)), labels)
        return logits
