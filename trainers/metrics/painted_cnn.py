"""A small classifier of painted digits: whether a translation has kept its content, and features of the painted domain.

Trained like ``digits_cnn``, on fresh paintings of all training digits: colours that no translator has seen.
"""

from __future__ import annotations

from torch import Tensor, nn

from trainers.data.dataset import Examples
from trainers.data.digits import split_digits
from trainers.data.painted import LOOKS, paint
from trainers.metrics.digits_cnn import DigitsCNN


class PaintedCNN(DigitsCNN):
    """Features (n, 64) of images (n, 3, 16, 16) in [-1, 1]."""

    NAME = "painted-cnn"

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 24, 3, stride=2, padding=1), nn.GELU(),
            nn.Conv2d(24, 48, 3, padding=1), nn.GELU(),
            nn.Conv2d(48, 64, 3, stride=2, padding=1), nn.GELU(),
            nn.Flatten(), nn.Linear(64 * 16, 64), nn.GELU(),
        )  # fmt: skip

    def _hidden(self, images: Tensor) -> Tensor:
        hidden: Tensor = self.body(images)
        return hidden


def fresh(name: str) -> Examples:
    """Every training digit in fresh colours, float32 in [-1, 1]."""
    digits, _ = split_digits()
    painted = paint(digits, LOOKS[name], name, "to read")
    return Examples(painted.floats(), painted.labels)
