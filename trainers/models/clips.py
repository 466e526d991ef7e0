"""From latents to clips: a content that stays, a motion that a recurrent cell unrolls, and any generator of pictures.

After MoCoGAN (Tulyakov 2018, arXiv 1707.04993, section 3), but without noise in every step: a clip is a function of its
latents, as every example is, and what moves by a law must not jitter. DIGAN (Yu 2022, arXiv 2202.10571) does the same.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainers.config import Config
from trainers.data.dataset import Space
from trainers.models import build_discriminator, build_generator
from trainers.randomness import key


class ClipGenerator(nn.Module):
    """The last ``video.motion_dim`` latents are the motion's: a GRU starts from them, is told them at every frame, and
    says of each frame so many numbers. By these, as ``video.motion`` has it, each frame is drawn anew beside the
    content (``codes``: MoCoGAN), or one picture of the content is shifted (``shift``: Jaderberg 2015), or ``both``.
    """

    def __init__(self, config: Config, space: Space, seed: int = 0) -> None:
        super().__init__()
        self.length, video = space.shape[0], config.video
        self.motion_dim = video.motion_dim
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(key(seed, "motion"))
            self.start = nn.Linear(self.motion_dim, video.width)
            self.cell = nn.GRUCell(self.motion_dim, video.width)
            self.codes = nn.Linear(video.width, self.motion_dim) if video.motion != "shift" else None
            self.shift = nn.Linear(video.width, 2) if video.motion != "codes" else None
        latent_dim = config.model.latent_dim - (self.motion_dim if video.motion == "shift" else 0)
        self.picture = build_generator(config.model.model_copy(update={"latent_dim": latent_dim}), space.frame, seed)

    def forward(self, latents: Tensor, labels: Tensor | None = None, frames: int | None = None) -> Tensor:
        """(n, latent_dim) -> (n, frames, C, H, W) in [-1, 1]; as many frames as in training where they aren't given."""
        content, motion = latents.tensor_split((-self.motion_dim,), 1)
        return self._pictures(content, self._states(motion, frames or self.length))

    def drawn(self, latents: Tensor, rows: Tensor) -> Tensor:
        """(n, latent_dim) -> the frames with the numbers ``rows`` (n, seen) of each clip, (n, seen, C, H, W)."""
        content, motion = latents.tensor_split((-self.motion_dim,), 1)
        states = self._states(motion, self.length)
        return self._pictures(content, states[torch.arange(len(rows), device=rows.device)[:, None], rows])

    def _pictures(self, content: Tensor, states: Tensor) -> Tensor:
        """(n, d) and (n, seen, width) -> (n, seen, C, H, W)."""
        n, seen, _ = states.shape
        pictures: Tensor
        if self.codes is None:
            pictures = self.picture(content, None)[:, None].expand(-1, seen, -1, -1, -1).flatten(0, 1)
        else:
            codes = torch.cat((content[:, None].expand(-1, seen, -1), self.codes(states)), 2)
            pictures = self.picture(codes.flatten(0, 1), None)
        if self.shift is not None:
            pictures = shifted(pictures, self.shift(states).flatten(0, 1))
        return pictures.view(n, seen, *pictures.shape[1:])

    def _states(self, motion: Tensor, frames: int) -> Tensor:
        """(n, motion_dim) -> (n, frames, width)."""
        state, states = self.start(motion).tanh(), []
        for _ in range(frames):
            state = self.cell(motion, state)
            states.append(state)
        return torch.stack(states, 1)


def shifted(pictures: Tensor, by: Tensor) -> Tensor:
    """Pictures (n, C, H, W) shifted by (n, 2), in halves of their sides; what comes in at a side repeats that side."""
    maps = torch.cat((torch.eye(2, device=by.device).expand(len(by), -1, -1), by[:, :, None]), 2)
    grid = F.affine_grid(maps, list(pictures.shape), align_corners=False)
    return F.grid_sample(pictures, grid, padding_mode="border", align_corners=False)


def build_critics(config: Config, space: Space, seed: int = 0) -> nn.ModuleDict:
    """``motion``, of ``video.seen`` frames and the time between them, side by side along the channels; and ``frame``,
    of single ones, where its word weighs anything.
    """
    channels, height, width = space.frame.shape
    seen = {"motion": replace(space.frame, shape=(channels * config.video.seen + 1, height, width))}
    if config.video.frame_weight:
        seen["frame"] = space.frame
    return nn.ModuleDict({name: build_discriminator(config.model, of, key(seed, name)) for name, of in seen.items()})
