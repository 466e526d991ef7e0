"""A small classifier of scikit-learn's 8x8 digits, whose last hidden layer serves as features.

Trained once per machine from this file alone (a few seconds, one thread, fixed seed), then read from the cache. The
cache key is a hash of this file, of the training images and of torch's version: whatever could change the weights
makes a new one.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainers.metrics.kept import alone, fitted, kept

EPOCHS, BATCH, PEAK_LR = 40, 64, 4e-3


class DigitsCNN(nn.Module):
    """Features (n, 64 c) of images (n, c, h, w) in [-1, 1]; each channel is looked at as a digit of its own."""

    NAME = "digits-cnn"

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1), nn.GELU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.GELU(),
            nn.Flatten(), nn.Linear(64 * 16, 64), nn.GELU(),
        )  # fmt: skip
        self.head = nn.Linear(64, 10)
        self.center: Tensor
        self.scale: Tensor
        self.register_buffer("center", torch.zeros(64))
        self.register_buffer("scale", torch.ones(64))

    def forward(self, images: Tensor) -> Tensor:
        """Features with mean 0 and variance 1 over the digits it was trained on."""
        return ((self._hidden(images) - self.center) / self.scale).reshape(len(images), -1)

    def classify(self, features: Tensor) -> Tensor:
        """Classes (n,) of features: the digit, or with three channels the number that the three digits make."""
        hidden = features.to(self.scale.device).reshape(-1, 64) * self.scale + self.center
        digits = self.head(hidden).argmax(1).reshape(len(features), -1)
        powers = 10 ** torch.arange(digits.shape[1] - 1, -1, -1, device=digits.device)
        classes: Tensor = (digits * powers).sum(1).cpu()
        return classes

    def _hidden(self, images: Tensor) -> Tensor:
        h, w = images.shape[-2:]
        digits = images.reshape(-1, 1, h, w)
        if (h, w) != (8, 8):
            digits = F.interpolate(digits, (8, 8), mode="bilinear", antialias=True)
        hidden: Tensor = self.body(digits)
        return hidden


def load_digits_cnn(
    images: Tensor, labels: Tensor, first: bool, wait: Callable[[], None], network: type[DigitsCNN] = DigitsCNN
) -> DigitsCNN:
    """The ``network`` for the training digits (n, c, h, w) in [-1, 1] with labels (n,): from the cache, or trained.

    The ``first`` process of a gang trains and all others ``wait``; gangs that start together may both train, and
    write the same file.
    """
    name = f"{network.NAME}-{_key(images, labels, network)}"
    return kept(name, network, lambda: train_digits_cnn(images, labels, network), first, wait)


def train_digits_cnn(images: Tensor, labels: Tensor, network: type[DigitsCNN] = DigitsCNN) -> DigitsCNN:
    """Trains with a fixed seed in one thread: sums in more threads round differently from run to run."""
    return alone(lambda: _fit(network(), images, labels))


def _fit(net: DigitsCNN, images: Tensor, labels: Tensor) -> DigitsCNN:
    batches = (batch for _ in range(EPOCHS) for batch in torch.split(torch.randperm(len(images)), BATCH))
    losses = (
        F.cross_entropy(net.head(net._hidden(images[batch])), labels[batch], label_smoothing=0.1) for batch in batches
    )
    fitted(net, losses, EPOCHS * -(-len(images) // BATCH), PEAK_LR)
    with torch.no_grad():
        hidden = net._hidden(images)
        net.center.copy_(hidden.mean(0))
        net.scale.copy_(hidden.std(0).clamp(min=1e-3))
    return net.eval()


def _key(images: Tensor, labels: Tensor, network: type[DigitsCNN]) -> str:
    digest = hashlib.sha256(Path(__file__).read_bytes())
    digest.update(Path(inspect.getfile(network)).read_bytes())
    digest.update(torch.__version__.split("+")[0].encode())
    digest.update(images.numpy().tobytes())
    digest.update(labels.numpy().tobytes())
    return digest.hexdigest()[:16]
