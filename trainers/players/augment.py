"""What is done to images on their way into the discriminator, differentiably, to real and generated ones alike.

DiffAugment (Zhao 2020) does it to every image; ADA (Karras 2020) to a share p of them that a controller holds where the
discriminator is neither sure nor lost. All randomness comes in as ``noise``: uniform numbers, one row per image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

NOISE = 16  # uniform numbers per image: four for each of the policies, the last of them its gate
ADA_IMAGES = 500_000  # images in which p can go from 0 to 1 (Karras 2020, section 3.2)
ADA_INTERVAL = 4  # steps between adjustments of p


@dataclass(frozen=True)
class View:
    """What the discriminator sees of examples: augmented with fixed noise, then packed along the channels."""

    packing: int = 1
    policies: tuple[str, ...] = ()
    noise: Tensor | None = None
    probability: Tensor | None = None

    def __call__(self, examples: Tensor) -> Tensor:
        """(n, C, ...) -> (n / packing, C * packing, ...)."""
        if self.noise is not None:
            examples = augment(examples, self.policies, self.noise, self.probability)
        if self.packing == 1:
            return examples
        return examples.reshape(len(examples) // self.packing, -1, *examples.shape[2:])


def augment(images: Tensor, policies: Sequence[str], noise: Tensor, probability: Tensor | None = None) -> Tensor:
    """Each policy in turn on (n, C, H, W) images; with a ``probability``, on each image by its own chance.

    ``noise`` is uniform in [0, 1), shape (n, NOISE).
    """
    for index, name in enumerate(policies):
        numbers = noise[:, 4 * index : 4 * index + 4]
        changed = POLICIES[name](images, numbers)
        if probability is None:
            images = changed
        else:
            images = torch.where((numbers[:, 3] < probability).view(-1, 1, 1, 1), changed, images)
    return images


def adjusted(probability: Tensor, real_sign: Tensor, target: float, batch_size: int) -> Tensor:
    """ADA's next p: one step up where r_t = E sign D(real) is above ``target`` (overfitting), one down where below."""
    step = batch_size * ADA_INTERVAL / ADA_IMAGES
    return (probability + torch.sign(real_sign - target) * step).clamp(0, 1)


def _color(images: Tensor, numbers: Tensor) -> Tensor:
    """Brightness +-0.5, saturation x [0, 2), contrast x [0.5, 1.5)."""
    brightness, saturation, contrast = (numbers[:, i].view(-1, 1, 1, 1) for i in range(3))
    images = images + (brightness - 0.5)
    grey = images.mean(1, keepdim=True)
    images = (images - grey) * (saturation * 2) + grey
    mean = images.mean((1, 2, 3), keepdim=True)
    return (images - mean) * (contrast + 0.5) + mean


def _translation(images: Tensor, numbers: Tensor) -> Tensor:
    """A shift by up to an eighth of each side, zeros moving in."""
    height, width = images.shape[2:]
    reach_y, reach_x = int(height / 8 + 0.5), int(width / 8 + 0.5)
    shift_y = (numbers[:, 0] * (2 * reach_y + 1)).floor().long() - reach_y
    shift_x = (numbers[:, 1] * (2 * reach_x + 1)).floor().long() - reach_x
    padded = torch.nn.functional.pad(images, (reach_x, reach_x, reach_y, reach_y))
    rows = (torch.arange(height, device=images.device) + (shift_y + reach_y)[:, None])[:, None, :, None]
    columns = (torch.arange(width, device=images.device) + (shift_x + reach_x)[:, None])[:, None, None, :]
    down = padded.gather(2, rows.expand(-1, images.shape[1], -1, padded.shape[3]))
    return down.gather(3, columns.expand(-1, images.shape[1], height, -1))


def _cutout(images: Tensor, numbers: Tensor) -> Tensor:
    """A rectangle of half the height and width, centred anywhere in the image, set to zero."""
    height, width = images.shape[2:]
    top = (numbers[:, 0] * (height + 1)).floor() - height // 4
    left = (numbers[:, 1] * (width + 1)).floor() - width // 4
    y = torch.arange(height, device=images.device) - top[:, None]
    x = torch.arange(width, device=images.device) - left[:, None]
    rows, columns = (y >= 0) & (y < height // 2), (x >= 0) & (x < width // 2)
    return images * ~(rows[:, :, None] & columns[:, None, :])[:, None]


def _flip(images: Tensor, numbers: Tensor) -> Tensor:
    """Left and right exchanged, for half of the images."""
    return torch.where((numbers[:, 0] < 0.5).view(-1, 1, 1, 1), images.flip(3), images)


POLICIES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "color": _color,
    "translation": _translation,
    "cutout": _cutout,
    "flip": _flip,
}
