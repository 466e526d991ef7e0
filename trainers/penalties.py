"""Gradient penalties on the discriminator. All need double backward, so they see the unwrapped module
(``World.wrap`` says why).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def squared_gradient_norm(logits: Tensor, inputs: Tensor) -> Tensor:
    """|d logit / d input|^2 of each example, shape (n,): R1 where the inputs are real (Mescheder 2018, eq. 9), R2 where
    fake.

    The sum over the batch has the gradients of the single examples as its rows, since no logit sees another example's
    input.
    """
    (gradients,) = torch.autograd.grad(logits.sum(), inputs, create_graph=True)
    return gradients.square().flatten(1).sum(1)


def unit_gradient(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
    """(|d logit / d x| - 1)^2 at points x between real and fake, shape (n,) (WGAN-GP, Gulrajani 2017, eq. 3).

    ``mix`` in [0, 1] has shape (n, 1, ...): the share of the real example.
    """
    between = (mix * real + (1 - mix) * fake).requires_grad_()
    return (squared_gradient_norm(critic(between), between).sqrt() - 1).square()
