"""Both sides of a translation: whether it keeps the content, and whether it has the style, all of it.

A cycle loss measures neither: a translator can hide what it needs for the way back (Chu 2017), and where a domain has a
symmetry, exact solutions are wrong (Moriakov 2020, arXiv 2001.09061).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from trainers.metrics.features import FeatureError, blocks, distances, one


class Translated(NamedTuple):
    """Beside features of translations: classes (m,) of what they were made from, where known, and ``styles`` of them
    (m, s) and of real pictures (n, s).
    """

    labels: Tensor | None
    styles: Tensor
    real_styles: Tensor


def styles(pictures: Tensor) -> Tensor:
    """(n, 2 C): the colour of each picture's ground, which is the median of each channel, and of what stands out from
    it, which is the mean of its pixels weighted by their squared distance from the ground. How much stands out, and
    where, is content and does not enter.
    """
    pixels = pictures.flatten(2)
    ground = pixels.median(2).values
    weight = (pixels - ground[..., None]).square().sum(1, keepdim=True) + 1e-6
    return torch.cat((ground, (weight * pixels).sum(2) / weight.sum(2)), 1)


def spread(real: Tensor, fake: Tensor) -> float:
    """Root of the total variance of styles (m, s) over that of real ones (n, s): 1 where they vary alike, near 0 where
    all translations have one look. Raises FeatureError.
    """
    there = one(real, "real").var(0).sum()
    if not there > 0:
        raise FeatureError("all real pictures have one style")
    return float((one(fake, "fake").var(0).sum() / there).sqrt())


def sensitivity(real: Tensor, fake: Tensor) -> float:
    """Mean distance between the features of two translations over that between two real pictures': 0 where every input
    gives the same output. Raises FeatureError.
    """
    return _mean_distance(one(fake, "fake")) / _mean_distance(one(real, "real"))


def content(asked: Tensor, read: Tensor) -> dict[str, float]:
    """Share of translations in which the class of their input is read."""
    return {"content": float(torch.eq(asked.cpu(), read.cpu()).double().mean())}


def _mean_distance(x: Tensor) -> float:
    total = sum(float(distances(x[rows], x).sum()) for rows in blocks(x, len(x)))
    return total / (len(x) * (len(x) - 1))
