"""One step of each side of CycleGAN (Zhu 2017, section 3): networks and pictures in, gradients and named terms out.

A is the source, B the target; ``a`` and ``b`` are pictures (n, C, H, W) in [-1, 1] that belong to each other in no way.
All terms are means over pictures and pixels (or patches), summed over the two directions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import l1_loss

from trainers.losses import Loss
from trainers.players.penalties import squared_gradient_norm

Network = Callable[[Tensor], Tensor]


class Translated(NamedTuple):
    """What the translators made in this step, detached; the terms of their loss, each without its weight, and as
    ``generator`` their weighted sum.
    """

    as_b: Tensor
    as_a: Tensor
    terms: dict[str, Tensor]


class Pair(NamedTuple):
    """Two networks of one role: the translators to B and back to A, or the critics of B and of A."""

    b: Network
    a: Network


def translators_step(
    to: Pair, critics: Pair, a: Tensor, b: Tensor, loss: Loss, weights: Mapping[str, float], moved: Sequence[Tensor]
) -> Translated:
    """Accumulates d (weighted sum of terms) / d ``moved``, the translators' parameters.

    ``adversarial``: the loss of generated logits (eq. 1; the paper trains on squares, section 4). ``cycle``:
    |F(G(a)) - a| + |G(F(b)) - b| (eq. 2). ``identity``: |G(b) - b| + |F(a) - a| (section 5.2), only where it weighs.
    """
    as_b, as_a = to.b(a), to.a(b)
    terms = {
        "adversarial": fooled(critics.b, b, as_b, loss) + fooled(critics.a, a, as_a, loss),
        "cycle": l1_loss(to.a(as_b), a) + l1_loss(to.b(as_a), b),
    }
    if weights["identity"] > 0:
        terms["identity"] = l1_loss(to.b(b), b) + l1_loss(to.a(a), a)
    return Translated(as_b.detach(), as_a.detach(), moved_by(terms, weights, moved))


def moved_by(terms: dict[str, Tensor], weights: Mapping[str, float], moved: Sequence[Tensor]) -> dict[str, Tensor]:
    """Accumulates the gradients of the weighted sum of ``terms``; returns them and, as ``generator``, their sum."""
    whole = torch.stack([weights[name] * term for name, term in terms.items()]).sum()
    torch.autograd.backward(whole, inputs=moved)
    return {name: term.detach() for name, term in (terms | {"generator": whole}).items()}


def critic_step(critic: Network, real: Tensor, fake: Tensor, loss: Loss, r1_gamma: float = 0.0) -> dict[str, Tensor]:
    """Accumulates d loss / d critic on real pictures and (pooled) translations, with R1 at the real ones where
    ``r1_gamma`` weighs it; returns the loss without it, and the mean logits.
    """
    real = real.detach().requires_grad_(r1_gamma > 0)
    real_logits, fake_logits = critic(real).float(), critic(fake).float()
    value = whole = loss.discriminator(real_logits, fake_logits).mean()
    if r1_gamma > 0:
        whole = whole + r1_gamma / 2 * squared_gradient_norm(real_logits.mean(1, keepdim=True), real).mean()
    torch.autograd.backward(whole)
    return {
        "discriminator": value.detach(),
        "real_logit": real_logits.detach().mean(),
        "fake_logit": fake_logits.detach().mean(),
    }


def pooled(pool: Tensor, made: Tensor, size: int, dice: Tensor) -> tuple[Tensor, Tensor]:
    """What a critic sees of the translations ``made`` (n, …), and the ``pool`` (at most ``size``, …) after them
    (Shrivastava 2017, section 2.3).

    While there is room a translation goes in and is seen too. Then, with probability 1/2 each, it is seen and
    forgotten, or takes the place of an earlier one that is seen instead. ``dice`` (n, 2) are uniform in [0, 1).
    """
    if size == 0:
        return made, pool
    held, seen = list(range(len(pool))), []
    for row, (coin, place) in enumerate(dice.tolist(), len(pool)):
        if len(held) < size:
            held.append(row)
            seen.append(row)
        elif coin < 0.5:
            seen.append(row)
        else:
            chosen = int(place * len(held))
            seen.append(held[chosen])
            held[chosen] = row
    everything = torch.cat((pool, made))
    return everything[seen], everything[held]


def fooled(critic: Network, real: Tensor, fake: Tensor, loss: Loss) -> Tensor:
    """The loss of a translator that the critic is to take ``fake`` for real; only a paired loss looks at ``real``."""
    fake_logits = critic(fake).float()
    return loss.generator(critic(real).float() if loss.paired else fake_logits, fake_logits).mean()
