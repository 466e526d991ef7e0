"""Makers of clips among trainings: who plays, and what one step is."""

from __future__ import annotations

import torch
from torch import Tensor

from trainers.check import data_problems, problems
from trainers.config import Config
from trainers.data import Dataset, Examples
from trainers.errors import refuse
from trainers.families.video.step import Critics, Seen, critics_step, generator_step
from trainers.losses import LOSSES, Loss
from trainers.models.clips import ClipGenerator, build_critics
from trainers.players.game import Game
from trainers.players.roster import Player, Roster
from trainers.randomness import stream
from trainers.reading.registry import lookup
from trainers.world import World


class ClipTraining(Game):
    """A generator of clips, and two critics that are one player."""

    losses = ("generator", "discriminator", "motion", "frame")

    def __init__(self, config: Config, data: Dataset, world: World) -> None:
        found = problems(config, world.size, world.device.type == "cuda") + data_problems(config, len(data), 0)
        if not data.space.is_clip:
            found.append(("data.name", f"{config.data.name!r} is no clips: its examples have shape {data.space.shape}"))
        refuse(list(dict.fromkeys(found)))
        super().__init__(config, world)
        self.loss: Loss = lookup(LOSSES, config.train.loss, "train.loss")
        self.examples, self.length = data.train.to(world.device), data.space.shape[0]
        self.order = data.order(config.train.batch_size, config.train.seed)
        self.generator = ClipGenerator(config, data.space, config.train.seed).to(world.device)
        critics = build_critics(config, data.space, config.train.seed).to(world.device)
        self.critics = Critics(critics["motion"], critics["frame"] if config.video.frame_weight else None)
        players = {  # several forwards per backward: gradients are averaged by hand
            "generator": Player(self.generator, "generator_lr", averaged=True),
            "discriminator": Player(critics, "discriminator_lr"),
        }
        self.players = Roster(players, config, world)

    def step(self) -> None:
        """Shows one global batch of clips: first the critics move, then the generator."""
        number, players, settings = self.images // self.settings.batch_size, self.players, self.settings
        watched = self._watched("generator_gradient_norm", number, since=1)
        before = {name: players.weights(name) for name in players.networks} if watched else {}
        shown, (rows, gaps) = self._shown(self.examples, self.order, number), self._chosen(number)
        alone = number % self.config.video.seen
        real = Seen(Examples(picked(shown.values, rows)).floats(), gaps, alone)
        factor = self._penalty_factor(number)
        with players.precision():
            with torch.no_grad():
                fake = Seen(self._made(number, "for discriminator", rows), gaps, alone)
            penalties = settings.r1_gamma * factor, settings.r2_gamma * factor
            signals = critics_step(self.critics, real, fake, self.loss, *penalties)
        norm = players.update("discriminator", self.images, watched)
        if norm is not None:
            signals["discriminator_gradient_norm"] = norm
        self.images += settings.batch_size
        with players.precision():
            fake = Seen(self._made(number, "for generator", rows), gaps, alone)
            moved = players.updaters["generator"].parameters
            signals |= generator_step(self.critics, real, fake, self.loss, self.config.video.frame_weight, moved)
        norm = players.update("generator", self.images, watched)
        if norm is not None:
            self.tally.add(signals | {"generator_gradient_norm": norm} | players.movement(before))

    def _chosen(self, number: int) -> tuple[Tensor, Tensor]:
        """Which frames of each of this rank's clips are seen (n, seen), and how far they are apart, as a share (n,)."""
        dice = torch.rand(self.settings.batch_size, 2, generator=stream(self.settings.seed, number, "frames"))
        rows = self._mine(chosen(dice, self.length, self.config.video.seen))
        return rows, (rows[:, 1] - rows[:, 0]) / self.length

    def _made(self, number: int, purpose: str, rows: Tensor) -> Tensor:
        """Those frames of new clips."""
        shape = self.settings.batch_size, self.config.model.latent_dim
        latents = self._mine(torch.randn(shape, generator=stream(self.settings.seed, number, purpose)))
        return self.generator.drawn(latents, rows)


def chosen(dice: Tensor, length: int, seen: int) -> Tensor:
    """Frames (n, seen) of clips of so many, evenly apart, every gap that has room as likely as any other, and then
    every first frame. ``dice`` (n, 2) are uniform in [0, 1).
    """
    gaps = 1 + (dice[:, 0] * ((length - 1) // (seen - 1))).long()
    first = (dice[:, 1] * (length - gaps * (seen - 1))).long()
    return first[:, None] + gaps[:, None] * torch.arange(seen)


def picked(clips: Tensor, rows: Tensor) -> Tensor:
    """Of each of n clips the frames with these numbers (n, seen)."""
    return clips[torch.arange(len(clips), device=clips.device)[:, None], rows]
