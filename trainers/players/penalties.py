"""Gradient penalties on the discriminator.

All need double backward, so they see the unwrapped module (``World.wrap`` says why).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def squared_gradient_norm(logits: Tensor, inputs: Tensor) -> Tensor:
    """|d logit / d input|^2 per logit: R1 where the inputs are real (Mescheder 2018, eq. 9), R2 where they are
    generated.

    The sum over the batch has the gradients of the single logits as its rows, since no logit sees another one's input.
    A logit over a pack of m examples owns m consecutive rows.
    """
    (gradients,) = torch.autograd.grad(logits.sum(), inputs, create_graph=True)
    return gradients.reshape(len(logits), -1).square().sum(1)


def unit_gradient(critic: Callable[[Tensor], Tensor], between: Tensor, unit: float = 1.0) -> Tensor:
    """(unit |d logit / d x| - 1)^2 per logit at points x between real and generated ones (WGAN-GP, Gulrajani 2017, eq.
    3). Where the gradient is zero, so is the penalty's own: the norm has no slope there.
    """
    between = between.requires_grad_()
    logits = critic(between)
    (gradients,) = torch.autograd.grad(logits.sum(), between, create_graph=True)
    norms = torch.linalg.vector_norm(gradients.reshape(len(logits), -1), dim=1)
    distances: Tensor = (unit * norms - 1).square()
    return distances
