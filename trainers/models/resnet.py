"""The residual networks of SNGAN (Miyato 2018, tables 4 to 6), with or without normalisation, for 4 * 2^k pixels."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, relu

from trainers.config import Model
from trainers.data.dataset import Space
from trainers.models.conditions import Beside, ConditionInput, ProjectionHead
from trainers.models.parts import channels_by_stage, he, normalise, spectral


class ResnetGenerator(nn.Module):
    """latent -> 4x4 -> one up-sampling residual block per doubling -> 3x3 convolution -> tanh."""

    def __init__(self, settings: Model, space: Space) -> None:
        super().__init__()
        channels = channels_by_stage(settings.width, space.shape[-1])[::-1]
        self.input = ConditionInput(settings, space)
        self.first = nn.Linear(self.input.width, channels[0] * 16)
        self.blocks = nn.Sequential(*[UpBlock(i, o, settings.generator_norm) for i, o in pairwise(channels)])
        last = nn.Conv2d(channels[-1], space.shape[0], 3, padding=1)
        self.last = nn.Sequential(*normalise(settings.generator_norm, channels[-1], 2), nn.ReLU(), last, nn.Tanh())
        self.apply(he(slope=0))
        if settings.generator_norm == "none":
            _start_as_shortcuts(self)

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """(n, latent_dim) -> (n, C, H, W) in [-1, 1]."""
        start = self.first(self.input(latents, labels)).view(len(latents), -1, 4, 4)
        pictures: Tensor = self.last(self.blocks(start))
        return pictures


class ResnetDiscriminator(nn.Module):
    """One down-sampling residual block per halving, one more at 4x4, sum over the places, one logit."""

    def __init__(self, settings: Model, space: Space) -> None:
        super().__init__()
        norm = settings.discriminator_norm
        channels = channels_by_stage(settings.discriminator_width or settings.width, space.shape[-1])
        self.beside = Beside(settings, space)
        sizes = list(pairwise([self.beside.channels, *channels[1:]]))
        blocks = [DownBlock(i, o, norm, halve=True, first=number == 0) for number, (i, o) in enumerate(sizes)]
        self.blocks = nn.Sequential(*blocks, DownBlock(channels[-1], channels[-1], norm, halve=False, first=False))
        self.head = ProjectionHead(channels[-1], settings, space)
        if norm != "spectral":
            self.apply(he(slope=0))
            nn.init.normal_(self.head.linear.weight, std=1 / (16 * channels[-1] ** 0.5))  # it sums over 4x4 places
        if norm == "none":
            _start_as_shortcuts(self)

    def forward(self, examples: Tensor, labels: Tensor | None = None) -> Tensor:
        """(n, C, H, W) -> logits (n, 1)."""
        logits: Tensor = self.head(relu(self.blocks(self.beside(examples, labels))).sum((2, 3)), labels)
        return logits


class UpBlock(nn.Module):
    """x -> upsampled(x) + conv(relu(norm(conv(upsampled(relu(norm(x)))))))."""

    def __init__(self, inputs: int, outputs: int, norm: str) -> None:
        super().__init__()
        self.before = nn.Sequential(*normalise(norm, inputs, dimensions=2), nn.ReLU())
        middle = [*normalise(norm, outputs, dimensions=2), nn.ReLU()]
        self.last = nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.after = nn.Sequential(nn.Conv2d(inputs, outputs, 3, 1, 1), *middle, self.last)
        self.shortcut = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, h, w) -> (n, outputs, 2h, 2w)."""
        residual: Tensor = self.after(interpolate(self.before(x), scale_factor=2))
        return residual + interpolate(self.shortcut(x), scale_factor=2)  # 1x1 before upsampling: a quarter of the work


class DownBlock(nn.Module):
    """x -> halved(shortcut(x)) + halved(conv(relu(conv(relu(x))))); the first block does not rectify the pixels."""

    def __init__(self, inputs: int, outputs: int, norm: str, halve: bool, first: bool) -> None:
        super().__init__()
        self.halve = halve
        self.last = nn.Conv2d(outputs, outputs, 3, 1, 1)
        convolutions = [nn.Conv2d(inputs, outputs, 3, 1, 1), self.last]
        one, two = [[spectral(norm, c), *normalise(norm, outputs, dimensions=2)] for c in convolutions]
        self.residual = nn.Sequential(*([] if first else [nn.ReLU()]), *one, nn.ReLU(), *two)
        self.shortcut = spectral(norm, nn.Conv2d(inputs, outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, h, w) -> (n, outputs, h, w), each side halved where the block halves."""
        if not self.halve:
            return self.shortcut(x) + self.residual(x)  # type: ignore[no-any-return]
        return self.shortcut(avg_pool2d(x, 2)) + avg_pool2d(self.residual(x), 2)  # type: ignore[no-any-return]


def _start_as_shortcuts(network: nn.Module) -> None:
    """Without normalisation the variance would double with every block; residual branches that start at zero keep
    it.
    """
    for block in network.modules():
        if isinstance(block, UpBlock | DownBlock):
            nn.init.zeros_(block.last.weight)
