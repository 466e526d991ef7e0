"""Adversarial losses on logits, per example.

Each entry is (discriminator loss, generator loss), both functions of ``(real_logits, fake_logits)`` with shape (n,) or
(n, 1). With D = sigmoid(logit): -log D = softplus(-logit) and -log(1 - D) = softplus(logit), which is finite for every
finite logit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor
from torch.nn.functional import relu, softplus

PerExample = Callable[[Tensor, Tensor], Tensor]


class Loss(NamedTuple):
    """What each player minimises; ``paired`` losses compare the i-th real with the i-th fake."""

    discriminator: PerExample
    generator: PerExample
    paired: bool = False


def cross_entropy(real: Tensor, fake: Tensor) -> Tensor:
    """-log D(x) - log(1 - D(G(z))) (Goodfellow 2014, eq. 1)."""
    return softplus(-real) + softplus(fake)


LOSSES: dict[str, Loss] = {
    # Goodfellow 2014, eq. 1: the generator minimises log(1 - D(G(z))).
    "minimax": Loss(cross_entropy, lambda real, fake: -softplus(fake)),
    # Goodfellow 2014, section 3: the generator minimises -log D(G(z)).
    "non_saturating": Loss(cross_entropy, lambda real, fake: softplus(-fake)),
    # Mao 2017, eq. 9 (a = 0, b = c = 1).
    "least_squares": Loss(lambda real, fake: ((real - 1) ** 2 + fake**2) / 2, lambda real, fake: (fake - 1) ** 2 / 2),
    # Lim and Ye 2017; Miyato 2018, eq. 16 and 17.
    "hinge": Loss(lambda real, fake: relu(1 - real) + relu(1 + fake), lambda real, fake: -fake),
    # Arjovsky 2017, eq. 3.
    "wasserstein": Loss(lambda real, fake: fake - real, lambda real, fake: -fake),
    # Jolicoeur-Martineau 2018 (RpGAN); Huang 2024 (R3GAN), eq. 2.
    "relativistic": Loss(
        lambda real, fake: softplus(fake - real), lambda real, fake: softplus(real - fake), paired=True
    ),
}
