"""Can somebody who has the discriminator tell what it was trained on?

The white-box attack of Hayes et al., "LOGAN: Membership Inference Attacks Against Generative Models", arXiv 1705.07663:
whatever the discriminator takes for more real was in the training set. It is the attacker who knows most.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from trainers.data import Examples
from trainers.metrics.features import FeatureError
from trainers.models.parts import at_rest

if TYPE_CHECKING:
    from trainers.metrics.table import Comparison

MOST, AT_ONCE = 10_000, 256
"""Examples of either kind that are looked at; and together."""


def of_membership(c: Comparison) -> dict[str, float]:
    """``membership_auc``: 0.5 where training and held-out examples look alike to the discriminator, 1 where it knows
    each training example. ``membership_auc_low``: what it is at least, where 95 of 100 such attacks on a discriminator
    that knows nothing stay below (Mann-Whitney's variance): with few held-out examples an AUC is high by chance.
    """
    if c.critic is None or c.real.examples is None:
        raise FeatureError("needs a discriminator, and training and held-out data in memory")
    with at_rest(c.critic) as critic:
        train, held_out = (_logits(critic, one, conditional=c.asked is not None) for one in c.real.examples)
    found, (n, m) = auc(train, held_out), (len(train), len(held_out))
    return {"membership_auc": found, "membership_auc_low": found - 1.645 * math.sqrt((n + m + 1) / (12 * n * m))}


def auc(higher: Tensor, lower: Tensor) -> float:
    """Probability that one of ``higher`` (n,) is above one of ``lower`` (m,), ties counting half (Mann-Whitney)."""
    ordered = lower.sort().values
    below = torch.searchsorted(ordered, higher) + torch.searchsorted(ordered, higher, right=True)
    return float(below.double().mean() / 2 / len(lower))


@torch.no_grad()
def _logits(critic: nn.Module, examples: Examples, conditional: bool) -> Tensor:
    device = next(critic.parameters()).device
    parts = [examples[rows].to(device) for rows in torch.split(torch.arange(min(len(examples), MOST)), AT_ONCE)]
    made = [critic(part.floats(), part.labels if conditional else None) for part in parts]
    return torch.cat(made).flatten().float().cpu()
