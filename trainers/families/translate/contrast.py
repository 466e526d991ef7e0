"""One step of the translator of CUT (Park 2020, section 3): pictures in, gradients and named terms out.

There is one way, from A to B. By what the translator's own first layers see of it, a place of a translation is to be
told from all other places of the picture that it was made from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from trainers.families.translate.step import Network, fooled, moved_by
from trainers.losses import Loss

See = Callable[[Tensor], list[Tensor]]
"""Pictures (n, C, H, W) in; of each layer vectors of unit length at some places out, (n, places, width)."""


def translator_step(
    to_b: Network,
    see: See,
    critic: Network,
    a: Tensor,
    b: Tensor,
    loss: Loss,
    weights: Mapping[str, float],
    temperature: float,
    moved: Sequence[Tensor],
) -> tuple[Tensor, dict[str, Tensor]]:
    """Accumulates d (weighted sum of terms) / d ``moved``, the parameters of the translator and of what sees; returns
    the translations, detached, and the terms, each without its weight, and as ``generator`` their weighted sum.

    ``contrast``: L_PatchNCE of translations and what they were made from (eq. 4); ``identity``: the same of the
    target's own pictures, only where it weighs. Means over pictures, places and layers.
    """
    as_b = to_b(a)
    terms = {"adversarial": fooled(critic, b, as_b, loss), "contrast": contrast(see(as_b), see(a), temperature)}
    if weights["identity"] > 0:
        terms["identity"] = contrast(see(to_b(b)), see(b), temperature)
    return as_b.detach(), moved_by(terms, weights, moved)


def contrast(made: Sequence[Tensor], given: Sequence[Tensor], temperature: float) -> Tensor:
    """Cross-entropy of finding, for each place of what was made, the same place of what was given among all of that
    picture (eq. 3); what was given is not moved by it.
    """
    found = []
    for query, key in zip(made, given, strict=True):
        logits = query.float() @ key.detach().float().transpose(1, 2) / temperature
        places = torch.arange(logits.shape[-1], device=logits.device).expand(logits.shape[:-1])
        found.append(cross_entropy(logits.flatten(0, 1), places.flatten()))
    return torch.stack(found).mean()
