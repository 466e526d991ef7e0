"""Writers among trainings: who plays, and what one step is."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainers.check import data_problems, problems
from trainers.config import Config
from trainers.data import Dataset
from trainers.errors import refuse
from trainers.families.text.step import generator_step, likelihood_step
from trainers.losses import LOSSES, Loss
from trainers.models import build_text_discriminator, build_text_generator
from trainers.models.sequences import gumbel
from trainers.players.critic import discriminator_step
from trainers.players.game import Game
from trainers.players.roster import Player, Roster
from trainers.randomness import stream
from trainers.reading.registry import lookup
from trainers.world import World

Signals = dict[str, Tensor]


class TextTraining(Game):
    """A generator of text, and unless it learns by likelihood a discriminator."""

    losses = ("generator", "discriminator", "nll")

    def __init__(self, config: Config, data: Dataset, world: World) -> None:
        found = problems(config, world.size, world.device.type == "cuda") + data_problems(config, len(data), 0)
        if not data.space.alphabet:
            found.append(("data.name", f"{config.data.name!r} is no text: its space has no alphabet"))
        refuse(list(dict.fromkeys(found)))
        super().__init__(config, world)
        self.loss: Loss = lookup(LOSSES, config.train.loss, "train.loss")
        self.examples = data.train.to(world.device)
        self.order = data.order(config.train.batch_size, config.train.seed)
        self.writer = build_text_generator(config.model, data.space, config.train.seed).to(world.device)
        players = {"generator": Player(self.writer, "generator_lr", averaged=True)}
        if config.text.method == "gan":
            self.critic = build_text_discriminator(config.model, data.space, config.train.seed).to(world.device)
            players["discriminator"] = Player(self.critic, "discriminator_lr")
        self.players = Roster(players, config, world)

    def step(self) -> None:
        """Shows one global batch; where there is a discriminator, it moves first."""
        number = self.images // self.settings.batch_size
        watched = self._watched("generator_gradient_norm", number, since=1)
        before = {name: self.players.weights(name) for name in self.players.networks} if watched else {}
        real = self.writer.alphabet.one_hot(self._shown(self.examples, self.order, number).values)
        signals: Signals = {}
        if self.critic is not None:
            signals |= self._discriminator_step(self.critic, real, number, watched)
        self.images += self.settings.batch_size
        signals |= self._generator_step(real, number)
        norm = self.players.update("generator", self.images, watched)
        if norm is not None:
            self.tally.add(signals | {"generator_gradient_norm": norm} | self.players.movement(before))

    def _discriminator_step(self, critic: nn.Module, real: Tensor, number: int, watched: bool) -> Signals:
        factor, tau = self._penalty_factor(number), self.config.text.tau
        with self.players.precision():
            with torch.no_grad():
                fake = self.writer.written(*self._drawn(number, "for discriminator"), tau)
            weights = self.settings.r1_gamma * factor, self.settings.r2_gamma * factor
            value, real_logits, fake_logits = discriminator_step(critic, real, fake, self.loss, *weights)
        norm = self.players.update("discriminator", self.images, watched)
        if norm is None:
            return {}
        signals = {"discriminator": value, "discriminator_gradient_norm": norm}
        return signals | {"real_logit": real_logits.mean(), "fake_logit": fake_logits.mean()}

    def _generator_step(self, real: Tensor, number: int) -> Signals:
        latents, noise = self._drawn(number, "for generator")
        with self.players.precision():
            if self.critic is None:
                return {"nll": likelihood_step(self.writer, latents, real)}
            tau = self.config.text.tau
            return {"generator": generator_step(self.writer, self.critic, latents, noise, tau, real, self.loss)}

    def _drawn(self, number: int, purpose: str) -> tuple[Tensor, Tensor]:
        """This rank's latents and Gumbel noise."""
        batch, seed, alphabet = self.settings.batch_size, self.settings.seed, self.writer.alphabet
        latents = torch.randn(batch, self.config.model.latent_dim, generator=stream(seed, number, purpose))
        noise = gumbel((batch, alphabet.length, alphabet.size), stream(seed, number, "gumbel", purpose))
        return self._mine(latents), self._mine(noise)
