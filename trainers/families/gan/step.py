"""One step of each player: arguments in, gradients on the player's parameters, detached tensors out. No logging, no
settings.

Shapes: examples (n, *shape); logits (n, 1), or one per pack. Losses are means over this rank's n examples, and the
caller averages gradients over ranks. A view is what stands between an example and the discriminator: augmentation,
packing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from trainers.losses import Loss
from trainers.players.penalties import squared_gradient_norm, unit_gradient

Critic = Callable[[Tensor, Tensor | None], Tensor]
View = Callable[[Tensor], Tensor]


class Penalties(NamedTuple):
    """Weights of the gradient penalties due in this step; ``mix`` says where WGAN-GP looks, ``unit`` is the distance
    over which it wants the logit to change by one (see ``unit_gradient``).
    """

    r1_gamma: float = 0.0
    r2_gamma: float = 0.0
    gp_lambda: float = 0.0
    mix: Tensor | None = None
    unit: float = 1.0


class Mismatch(NamedTuple):
    """Wrong ``labels`` of the real examples, and their ``share`` of the discriminator's loss."""

    labels: Tensor
    share: float


class Judgement(NamedTuple):
    """What a discriminator step found, detached: the mean loss without penalties, and the logits."""

    loss: Tensor
    real_logits: Tensor
    fake_logits: Tensor

    def signals(self, norm: Tensor) -> dict[str, Tensor]:
        """What is watched of the discriminator, beside the ``norm`` of its gradient."""
        return {
            "discriminator": self.loss,
            "real_logit": self.real_logits.mean(),
            "fake_logit": self.fake_logits.mean(),
            "real_sign": self.real_logits.sign().mean(),
            "fake_sign": self.fake_logits.sign().mean(),
            "discriminator_gradient_norm": norm,
        }


def discriminator_step(
    discriminator: Critic, real: Tensor, fake: Tensor, labels: Tensor | None, loss: Loss
) -> Judgement:
    """Accumulates d loss / d discriminator on viewed examples.

    One forward for both halves, so that a DDP wrapper sees one forward per backward.
    """
    both = None if labels is None else torch.cat((labels, labels))
    real_logits, fake_logits = discriminator(torch.cat((real, fake)), both).float().chunk(2)
    value = loss.discriminator(real_logits, fake_logits).mean()
    torch.autograd.backward(value)
    return Judgement(value.detach(), real_logits.detach(), fake_logits.detach())


def penalised_discriminator_step(
    discriminator: Critic,
    real: Tensor,
    fake: Tensor,
    labels: Tensor | None,
    loss: Loss,
    penalties: Penalties,
    real_view: View,
    fake_view: View,
    mismatch: Mismatch | None = None,
) -> Judgement:
    """The same with gradient penalties, on the unwrapped discriminator; they are taken at the examples before the view.

    R1 and R2 weigh ``gamma / 2 * E |dD/dx|^2`` (Mescheder 2018, eq. 9), WGAN-GP weighs ``lambda * E (|dD/dx| - 1)^2``
    (Gulrajani 2017, eq. 3). A mismatch is told apart from a match as the generated from the real (GAN-CLS: Reed 2016,
    algorithm 1).
    """
    real, fake = real.detach().requires_grad_(), fake.detach().requires_grad_()
    real_logits = discriminator(real_view(real), labels).float()
    fake_logits = discriminator(fake_view(fake), labels).float()
    value = total = loss.discriminator(real_logits, fake_logits).mean()
    if mismatch:
        wrong_logits = discriminator(real_view(real.detach()), mismatch.labels).float()
        wrong = loss.discriminator(real_logits, wrong_logits).mean()
        total = (1 - mismatch.share) * value + mismatch.share * wrong
    if penalties.r1_gamma > 0:
        total = total + penalties.r1_gamma / 2 * squared_gradient_norm(real_logits, real).mean()
    if penalties.r2_gamma > 0:
        total = total + penalties.r2_gamma / 2 * squared_gradient_norm(fake_logits, fake).mean()
    if penalties.mix is not None:
        between = (penalties.mix * real + (1 - penalties.mix) * fake).detach()
        slopes = unit_gradient(lambda x: discriminator(real_view(x), labels), between, penalties.unit)
        total = total + penalties.gp_lambda * slopes.mean()
    torch.autograd.backward(total, inputs=_trained(discriminator) if isinstance(discriminator, nn.Module) else None)
    return Judgement(value.detach(), real_logits.detach(), fake_logits.detach())


def generator_step(
    generator: Critic,
    discriminator: nn.Module,
    latents: Tensor,
    real: Tensor,
    labels: Tensor | None,
    loss: Loss,
    view: View,
) -> Tensor:
    """Accumulates d loss / d generator and returns the loss; the discriminator is left without gradients.

    Only a paired loss looks at ``real``, which comes viewed.
    """
    with _frozen(discriminator):
        fake_logits = discriminator(view(generator(latents, labels)), labels).float()
        real_logits = discriminator(real, labels).float() if loss.paired else fake_logits
        value = loss.generator(real_logits, fake_logits).mean()
        torch.autograd.backward(value)
    return value.detach()


@contextmanager
def _frozen(player: nn.Module) -> Iterator[None]:
    """Backward makes no gradients for the player's own parameters; the signal passes through all the same."""
    trained = _trained(player)
    for parameter in trained:
        parameter.requires_grad_(False)
    yield
    for parameter in trained:
        parameter.requires_grad_(True)


def _trained(player: nn.Module) -> list[nn.Parameter]:
    """A network from outside may bring parts that are not to be trained."""
    return [parameter for parameter in player.parameters() if parameter.requires_grad]
