"""Pieces that several networks share."""

from __future__ import annotations

from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "tanh": nn.Tanh}


def activation(name: str) -> nn.Module:
    """The non-linearity of this name; a leaky one has slope 0.2, as since DCGAN."""
    return nn.LeakyReLU(0.2) if name == "leaky_relu" else ACTIVATIONS[name]()


def normalise(name: str, channels: int, dimensions: int) -> list[nn.Module]:
    """The normalisation layers behind a linear (dimensions 1) or convolutional (dimensions 2) layer; none is an
    empty list.
    """
    if name != "batch":
        return []
    return [nn.BatchNorm1d(channels) if dimensions == 1 else nn.BatchNorm2d(channels)]


def spectral(name: str, layer: nn.Module) -> nn.Module:
    """``layer`` with its weight divided by its largest singular value where ``name`` asks for it (Miyato 2018)."""
    return spectral_norm(layer) if name == "spectral" else layer
