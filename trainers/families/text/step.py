"""One step of the generator: arguments in, gradients on its parameters, detached tensors out. The discriminator's is
``trainers.players.critic.discriminator_step``, on one-hot text.

Shapes: text is one-hot (n, length, size), latents (n, latent_dim), Gumbel noise (n, length, size). Losses are means
over this rank's n texts, and the caller averages gradients over ranks.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainers.losses import Loss
from trainers.models.sequences import LstmGenerator


def generator_step(
    generator: LstmGenerator,
    discriminator: nn.Module,
    latents: Tensor,
    noise: Tensor,
    tau: float,
    real: Tensor,
    loss: Loss,
) -> Tensor:
    """Accumulates d loss / d generator through the characters that were drawn, each with the gradient of the Gumbel
    softmax at temperature ``tau`` (Jang 2017, section 2.2), and returns the loss; the discriminator is left without
    gradients. Only a paired loss looks at ``real``.
    """
    fake_logits = discriminator(generator.written(latents, noise, tau)).float()
    with torch.no_grad():
        real_logits = discriminator(real).float() if loss.paired else fake_logits
    value = loss.generator(real_logits, fake_logits).mean()
    torch.autograd.backward(value, inputs=list(generator.parameters()))
    return value.detach()


def likelihood_step(generator: LstmGenerator, latents: Tensor, real: Tensor) -> Tensor:
    """Accumulates the gradient of ``-E log p(real)``, each character given those before it (teacher forcing), and
    returns it in nats per text.
    """
    value = -generator.likelihood(latents, real).mean()
    torch.autograd.backward(value)
    return value.detach()
