"""R3GAN's networks (Huang 2024, section 3 and appendix): grouped residual blocks, no normalisation, for 4 * 2^k pixels.

Each residual branch is 1x1 -> grouped 3x3 -> 1x1 with biased leaky ReLUs between. Its last layer starts at zero and the
others are scaled by (number of blocks)^(-1/4), so that the variance at the start does not grow with depth (Zhang 2019,
Fixup).
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, leaky_relu

from trainers.config import Model
from trainers.data.dataset import Space
from trainers.models.conditions import Beside, ConditionInput, ProjectionHead
from trainers.models.parts import SLOPE, channels_by_stage

GAIN = (2 / (1 + SLOPE**2)) ** 0.5
EXPANSION = 2  # the inner width of a block, over its outer one
GROUP_WIDTH = 16  # channels per group of the 3x3 convolution, at least


class R3ganGenerator(nn.Module):
    """A learned 4x4 basis weighted by the latent, then per stage: resample, ``depth`` blocks; 1x1 to colours, no
    tanh.
    """

    def __init__(self, settings: Model, space: Space) -> None:
        super().__init__()
        channels = channels_by_stage(settings.width, space.shape[-1])[::-1]
        count = settings.depth * len(channels)
        self.input = ConditionInput(settings, space)
        self.basis = nn.Parameter(torch.randn(channels[0], 4, 4))
        self.weigh = _scaled(nn.Linear(self.input.width, channels[0], bias=False), 1.0)
        stages: list[nn.Module] = [Block(channels[0], count) for _ in range(settings.depth)]
        for inputs, outputs in pairwise(channels):
            stages += [Resample(inputs, outputs, up=True), *[Block(outputs, count) for _ in range(settings.depth)]]
        self.stages = nn.Sequential(*stages)
        self.colours = _scaled(nn.Conv2d(channels[-1], space.shape[0], 1, bias=False), 1.0)

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """(n, latent_dim) -> (n, C, H, W), about [-1, 1]."""
        start = self.basis * self.weigh(self.input(latents, labels))[:, :, None, None]
        pictures: Tensor = self.colours(self.stages(start))
        return pictures


class R3ganDiscriminator(nn.Module):
    """The mirror: colours to channels, per stage ``depth`` blocks and a resampling, at 4x4 a depthwise basis, one
    logit.
    """

    def __init__(self, settings: Model, space: Space) -> None:
        super().__init__()
        depth = settings.discriminator_depth or settings.depth
        channels = channels_by_stage(settings.discriminator_width or settings.width, space.shape[-1])
        count = depth * len(channels)
        self.beside = Beside(settings, space)
        self.colours = _scaled(nn.Conv2d(self.beside.channels, channels[0], 1, bias=False), 1.0)
        stages: list[nn.Module] = [Block(channels[0], count) for _ in range(depth)]
        for inputs, outputs in pairwise(channels):
            stages += [Resample(inputs, outputs, up=False), *[Block(outputs, count) for _ in range(depth)]]
        basis = _scaled(nn.Conv2d(channels[-1], channels[-1], 4, groups=channels[-1], bias=False), 1.0)
        self.stages = nn.Sequential(*stages, basis, nn.Flatten())
        self.head = ProjectionHead(channels[-1], settings, space)

    def forward(self, examples: Tensor, labels: Tensor | None = None) -> Tensor:
        """(n, C, H, W) -> logits (n, 1)."""
        logits: Tensor = self.head(self.stages(self.colours(self.beside(examples, labels))), labels)
        return logits


class Block(nn.Module):
    """x + 1x1(act(grouped 3x3(act(1x1(x))))), the last convolution zero at the start."""

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        inner = channels * EXPANSION
        gain = GAIN * blocks**-0.25  # L^(-1 / (2m - 2)) with m = 3 layers in the branch
        self.widen = _scaled(nn.Conv2d(channels, inner, 1, bias=False), gain)
        groups = next(g for g in range(max(inner // GROUP_WIDTH, 1), 0, -1) if inner % g == 0)
        self.mix = _scaled(nn.Conv2d(inner, inner, 3, padding=1, groups=groups, bias=False), gain)
        self.narrow = _scaled(nn.Conv2d(inner, channels, 1, bias=False), 0.0)
        self.biases = nn.ParameterList([torch.zeros(inner, 1, 1), torch.zeros(inner, 1, 1)])

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, h, w) -> the same shape."""
        inner = leaky_relu(self.widen(x) + self.biases[0], SLOPE)
        inner = leaky_relu(self.mix(inner) + self.biases[1], SLOPE)
        branch: Tensor = self.narrow(inner)
        return x + branch


class Resample(nn.Module):
    """Bilinear doubling or halving of the resolution and a 1x1 change of channels, on whichever side has fewer
    pixels.
    """

    def __init__(self, inputs: int, outputs: int, up: bool) -> None:
        super().__init__()
        self.up = up
        self.change = _scaled(nn.Conv2d(inputs, outputs, 1, bias=False), 1.0) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, h, w) -> (n, outputs, 2h, 2w) or (n, outputs, h / 2, w / 2)."""
        if self.up:
            return interpolate(self.change(x), scale_factor=2, mode="bilinear", align_corners=False)
        smaller: Tensor = self.change(avg_pool2d(x, 2))
        return smaller


def _scaled(layer: nn.Conv2d | nn.Linear, gain: float) -> nn.Conv2d | nn.Linear:
    fan_in = layer.weight[0].numel()
    nn.init.normal_(layer.weight, std=gain / fan_in**0.5)
    return layer
