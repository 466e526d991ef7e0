"""One step of each side of a GAN of clips (MoCoGAN: Tulyakov 2018, eq. 6 and 7): networks and frames in, gradients on
the side that moves, detached tensors out.

Of every clip the critics see a few frames only, evenly apart: all of them at once, with the time between them (DIGAN:
Yu 2022, section 3.2), and one alone. Shapes: frames (n, seen, C, H, W) in [-1, 1], gaps (n,) as a share of a clip's
length. Losses are means over this rank's n clips, and the caller averages gradients over ranks.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from trainers.losses import Loss
from trainers.players.critic import discriminator_step


class Seen(NamedTuple):
    """Frames of clips, the time between them, and which of them is judged alone."""

    frames: Tensor
    gaps: Tensor
    alone: int

    @property
    def one(self) -> Tensor:
        """(n, C, H, W)."""
        return self.frames[:, self.alone]

    @property
    def together(self) -> Tensor:
        """(n, C * seen + 1, H, W): side by side along the channels, the last of which is the gap, in [-1, 1]."""
        gap = (2 * self.gaps - 1).view(-1, 1, 1, 1).expand(-1, 1, *self.frames.shape[-2:])
        return torch.cat((self.frames.flatten(1, 2), gap), 1)


class Critics(NamedTuple):
    """Of frames together, and of single ones unless their word weighs nothing."""

    motion: nn.Module
    frame: nn.Module | None


def critics_step(
    critics: Critics, real: Seen, fake: Seen, loss: Loss, r1_gamma: float, r2_gamma: float
) -> dict[str, Tensor]:
    """Accumulates each critic's gradient of ``loss`` under R1 and R2 on what it sees of real and of fake clips; returns
    ``discriminator``, the sum of losses without penalties, and the mean logits.
    """
    seen = [(critics.motion, real.together, fake.together)]
    if critics.frame is not None:
        seen.append((critics.frame, real.one, fake.one))
    told = [discriminator_step(critic, there, made, loss, r1_gamma, r2_gamma) for critic, there, made in seen]
    values, real_logits, fake_logits = (torch.stack([one.mean() for one in each]) for each in zip(*told, strict=True))
    return {"discriminator": values.sum(), "real_logit": real_logits.mean(), "fake_logit": fake_logits.mean()}


def generator_step(
    critics: Critics, real: Seen, fake: Seen, loss: Loss, frame_weight: float, moved: list[Tensor]
) -> dict[str, Tensor]:
    """Accumulates d (motion + frame_weight * frame) / d ``moved``, the generator's parameters, from which ``fake`` was
    made; returns the terms without their weights, and as ``generator`` their sum. Only a paired loss looks at ``real``.
    """
    terms = {"motion": _fooled(critics.motion, real.together, fake.together, loss)}
    total = terms["motion"]
    if critics.frame is not None:
        terms["frame"] = _fooled(critics.frame, real.one, fake.one, loss)
        total = total + frame_weight * terms["frame"]
    torch.autograd.backward(total, inputs=moved)
    return {"generator": total.detach(), **{name: term.detach() for name, term in terms.items()}}


def _fooled(critic: nn.Module, real: Tensor, fake: Tensor, loss: Loss) -> Tensor:
    fake_logits = critic(fake, None).float()
    with torch.no_grad():
        real_logits = critic(real, None).float() if loss.paired else fake_logits
    return loss.generator(real_logits, fake_logits).mean()
