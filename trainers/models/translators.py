"""The networks of CycleGAN (Zhu 2017, appendix 7.2), and of CUT: from picture to picture of one shape, and a critic of
patches.

Instance norm without weights of its own, and weights from N(0, 0.02), as there. Where instance norm follows there is no
bias: it would be subtracted again, and Adam would follow the noise in its gradient, which differs with the ranks.
"""

from __future__ import annotations

from itertools import islice, pairwise

from torch import Tensor, nn

from trainers.config import Model
from trainers.data.dataset import Space
from trainers.models.parts import SLOPE

LARGE = 64  # pixels from which pictures are halved twice, as in the paper; smaller ones would keep too little


class ResnetTranslator(nn.Module):
    """7x7 convolution, halvings, ``depth`` residual blocks, doublings, 7x7 convolution, tanh (Johnson 2016)."""

    def __init__(self, settings: Model, space: Space) -> None:
        super().__init__()
        channels, width = space.shape[0], settings.width
        widths = [width * 2**stage for stage in range(3 if space.shape[-1] >= LARGE else 2)]
        layers: list[nn.Module] = [
            *_around(nn.Conv2d(channels, width, 7, padding=3, padding_mode="reflect", bias=False))
        ]
        for inputs, outputs in pairwise(widths):
            layers += _around(nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False))
        layers += [Residual(widths[-1]) for _ in range(settings.depth)]
        for inputs, outputs in pairwise(widths[::-1]):
            doubling = nn.ConvTranspose2d(inputs, outputs, 3, stride=2, padding=1, output_padding=1, bias=False)
            layers += _around(doubling)
        last = nn.Conv2d(width, channels, 7, padding=3, padding_mode="reflect")
        self.layers = nn.Sequential(*layers, last, nn.Tanh())
        self.apply(_first_weights)
        first = 3 * len(widths)  # of the residual blocks
        blocks = sorted({first, first + settings.depth // 2})
        self._looked = [*range(3, first, 3), *blocks]
        self.seen_channels = [channels, *widths[1:], *(widths[-1] for _ in blocks)]
        """Of what ``seen`` returns."""

    def forward(self, pictures: Tensor, labels: Tensor | None = None) -> Tensor:
        """(n, C, H, W) in [-1, 1] -> the same."""
        translated: Tensor = self.layers(pictures)
        return translated

    def seen(self, pictures: Tensor) -> list[Tensor]:
        """Pictures as they are, after the convolution of each halving, and after the first and the middle residual
        block: where CUT compares them (Park 2020, appendix C.1). (n, channels, h, w) each.
        """
        x, found = pictures, [pictures]
        for number, layer in enumerate(islice(self.layers.children(), self._looked[-1] + 1)):
            x = layer(x)
            if number in self._looked:
                found.append(x)
        return found


class PatchDiscriminator(nn.Module):
    """A logit for each of many overlapping patches (Isola 2017): ``depth`` halvings, then two convolutions."""

    def __init__(self, settings: Model, space: Space) -> None:
        super().__init__()
        width = settings.discriminator_width or settings.width
        depth = settings.discriminator_depth or settings.depth
        widths = [width * min(2**stage, 8) for stage in range(depth + 1)]
        layers: list[nn.Module] = [nn.Conv2d(space.shape[0], width, 4, stride=2, padding=1), nn.LeakyReLU(SLOPE)]
        for stage, (inputs, outputs) in enumerate(pairwise(widths), 2):
            convolution = nn.Conv2d(inputs, outputs, 4, stride=2 if stage <= depth else 1, padding=1, bias=False)
            layers += [convolution, nn.InstanceNorm2d(outputs), nn.LeakyReLU(SLOPE)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 4, padding=1))
        self.apply(_first_weights)

    def forward(self, pictures: Tensor, labels: Tensor | None = None) -> Tensor:
        """(n, C, H, W) -> logits (n, patches)."""
        logits: Tensor = self.layers(pictures)
        return logits.flatten(1)


class Residual(nn.Module):
    """x + two 3x3 convolutions of it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        first, second = (nn.Conv2d(width, width, 3, padding=1, padding_mode="reflect", bias=False) for _ in range(2))
        self.layers = nn.Sequential(*_around(first), second, nn.InstanceNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        """(n, width, h, w) -> the same."""
        changed: Tensor = self.layers(x)
        return x + changed


def _around(convolution: nn.Conv2d | nn.ConvTranspose2d) -> list[nn.Module]:
    return [convolution, nn.InstanceNorm2d(convolution.out_channels), nn.ReLU()]


def _first_weights(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
