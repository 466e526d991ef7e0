"""Kernel distance: Binkowski et al., "Demystifying MMD GANs", arXiv 1801.01401, section 4 (KID)."""

from __future__ import annotations

from torch import Tensor

from trainers.metrics.features import Features, blocks, pair


def kernel_distance(real: Features, fake: Features) -> float:
    """Unbiased squared MMD of two feature arrays (n, d), (m, d) under the kernel ``(x.y / d + 1)^3``.

    Around zero (also slightly below) for equal distributions, whatever the sample counts. Uses every pair once, which
    is the value that averaging over random subsets approaches. Raises FeatureError.
    """
    x, y = pair(real, fake)
    n, m = len(x), len(y)
    within_x = (_kernel_sum(x, x) - float(_kernel(x.square().sum(1), x.shape[1]).sum())) / (n * (n - 1))
    within_y = (_kernel_sum(y, y) - float(_kernel(y.square().sum(1), y.shape[1]).sum())) / (m * (m - 1))
    return within_x + within_y - 2 * _kernel_sum(x, y) / (n * m)


def _kernel_sum(x: Tensor, y: Tensor) -> float:
    return sum(float(_kernel(x[rows] @ y.T, x.shape[1]).sum()) for rows in blocks(x, len(y)))


def _kernel(products: Tensor, d: int) -> Tensor:
    return (products / d + 1) ** 3
