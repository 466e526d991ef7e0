"""A step of a discriminator that sees each example by itself: what several families share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainers.losses import Loss
from trainers.players.penalties import squared_gradient_norm


def discriminator_step(
    discriminator: nn.Module, real: Tensor, fake: Tensor, loss: Loss, r1_gamma: float, r2_gamma: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Accumulates the gradient of ``loss`` under ``gamma / 2 E |dD/dx|^2`` at real and at fake examples (Mescheder
    2018, eq. 9), with shape (n, *shape) each; returns, detached, the loss without penalties, and real and fake logits.
    """
    real, fake = real.detach().requires_grad_(), fake.detach().requires_grad_()
    real_logits, fake_logits = discriminator(real, None).float(), discriminator(fake, None).float()
    value = total = loss.discriminator(real_logits, fake_logits).mean()
    if r1_gamma > 0:
        total = total + r1_gamma / 2 * squared_gradient_norm(real_logits, real).mean()
    if r2_gamma > 0:
        total = total + r2_gamma / 2 * squared_gradient_norm(fake_logits, fake).mean()
    torch.autograd.backward(total, inputs=list(discriminator.parameters()))
    return value.detach(), real_logits.detach(), fake_logits.detach()
