"""Pieces that several networks share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "tanh": nn.Tanh}
SLOPE = 0.2  # of every leaky ReLU, as since DCGAN


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


@contextmanager
def at_rest(network: nn.Module) -> Iterator[nn.Module]:
    """``network`` in eval mode; afterwards each of its parts is in the mode it was in."""
    modes = [(module, module.training) for module in network.modules()]
    yield network.eval()
    for module, mode in modes:
        module.training = mode


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
