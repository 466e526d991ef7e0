"""One step of each player: arguments in, gradients on the player's parameters, detached tensors out. No logging, no
settings.

Shapes: examples (n, *shape); logits (n, 1); losses are means over this rank's n examples, and the caller averages over
ranks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from trainers.losses import Loss
from trainers.penalties import squared_gradient_norm, unit_gradient

Critic = Callable[[Tensor, Tensor | None], Tensor]


class Penalties(NamedTuple):
    """Weights of the gradient penalties due in this step; all zero means none."""

    r1_gamma: float = 0.0
    r2_gamma: float = 0.0
    gp_lambda: float = 0.0


class DiscriminatorStep(NamedTuple):
    """Means over this rank's examples, detached: the loss without penalties, and the logits."""

    loss: Tensor
    real_logits: Tensor
    fake_logits: Tensor


def discriminator_step(
    discriminator: Critic, real: Tensor, fake: Tensor, labels: Tensor | None, loss: Loss
) -> DiscriminatorStep:
    """Accumulates d loss / d discriminator. One forward on both halves, so that a DDP wrapper sees one forward per
    backward.
    """
    both = None if labels is None else torch.cat((labels, labels))
    real_logits, fake_logits = discriminator(torch.cat((real, fake)), both).chunk(2)
    value = loss.discriminator(real_logits, fake_logits).mean()
    torch.autograd.backward(value)
    return DiscriminatorStep(value.detach(), real_logits.detach(), fake_logits.detach())


def penalised_discriminator_step(
    discriminator: Critic,
    real: Tensor,
    fake: Tensor,
    labels: Tensor | None,
    loss: Loss,
    penalties: Penalties,
    mix: Tensor | None = None,
) -> DiscriminatorStep:
    """The same with gradient penalties, on the unwrapped discriminator.

    R1 and R2 weigh ``gamma / 2 * E |dD/dx|^2`` (Mescheder 2018, eq. 9), WGAN-GP weighs ``lambda * E (|dD/dx| - 1)^2``
    (Gulrajani 2017, eq. 3) at ``mix * real + (1 - mix) * fake``.
    """
    real, fake = real.detach().requires_grad_(), fake.detach().requires_grad_()
    real_logits, fake_logits = discriminator(real, labels), discriminator(fake, labels)
    value = total = loss.discriminator(real_logits, fake_logits).mean()
    if penalties.r1_gamma > 0:
        total = total + penalties.r1_gamma / 2 * squared_gradient_norm(real_logits, real).mean()
    if penalties.r2_gamma > 0:
        total = total + penalties.r2_gamma / 2 * squared_gradient_norm(fake_logits, fake).mean()
    if penalties.gp_lambda > 0 and mix is not None:
        critic = unit_gradient(lambda x: discriminator(x, labels), real.detach(), fake.detach(), mix)
        total = total + penalties.gp_lambda * critic.mean()
    torch.autograd.backward(total)
    return DiscriminatorStep(value.detach(), real_logits.detach(), fake_logits.detach())


def generator_step(
    generator: nn.Module, discriminator: nn.Module, latents: Tensor, real: Tensor, labels: Tensor | None, loss: Loss
) -> Tensor:
    """Accumulates d loss / d generator and returns the loss; the discriminator is left without gradients.

    Only a paired loss looks at ``real``.
    """
    discriminator.requires_grad_(False)
    fake_logits = discriminator(generator(latents, labels), labels)
    real_logits = discriminator(real, labels).detach() if loss.paired else fake_logits
    value = loss.generator(real_logits, fake_logits).mean()
    torch.autograd.backward(value)
    discriminator.requires_grad_(True)
    return value.detach()
