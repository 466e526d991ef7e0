"""The autoencoders among trainings: who plays, and what one step is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from trainers.check import data_problems, problems
from trainers.config import Config
from trainers.data import Dataset
from trainers.errors import refuse
from trainers.families.autoencode.step import Terms, Weights, adversarial_step, autoencoder_step
from trainers.losses import LOSSES
from trainers.models import build_discriminator
from trainers.models.autoencoder import Autoencoder, build_autoencoder
from trainers.players.critic import discriminator_step
from trainers.players.game import Game
from trainers.players.roster import Player, Roster
from trainers.randomness import stream
from trainers.reading.registry import lookup
from trainers.world import World

FITTED = 10_000
"""Codes, at most, that the prior of a plain autoencoder is fitted to."""
Signals = dict[str, Tensor]


class AutoencodeTraining(Game):
    """Encoder and decoder as one player, called generator; for a VAE-GAN a discriminator beside it."""

    losses = ("reconstruction", "kl", "generator", "discriminator")

    def __init__(self, config: Config, data: Dataset, world: World) -> None:
        found = problems(config, world.size, world.device.type == "cuda")
        refuse(list(dict.fromkeys(found + data_problems(config, len(data), data.space.classes, data.unlabelled))))
        super().__init__(config, world)
        self.loss = lookup(LOSSES, config.train.loss, "train.loss")
        self.examples, self.scale = data.train.to(world.device), data.space.scale
        self.order = data.order(config.train.batch_size, config.train.seed, config.train.balanced)
        self.network = build_autoencoder(config, data.space, config.train.seed).to(world.device)
        players = {"generator": Player(self.network, "generator_lr", averaged=True)}
        if config.autoencode.method == "vae-gan":
            self.critic = build_discriminator(config.model, data.space, config.train.seed).to(world.device)
            players["discriminator"] = Player(self.critic, "discriminator_lr")
        self.players = Roster(players, config, world)
        # As many fakes as real examples, every second a reconstruction: what cancels in a paired loss does so exactly.
        self._reconstructed = self._mine(torch.arange(config.train.batch_size) % 2 == 0)[:, None]
        chosen = torch.randperm(len(data), generator=stream("codes"))[:FITTED]
        self._fitted, self._to_fit = {"average": -1, "plain": -1}, chosen.sort().values

    @property
    def sampler(self) -> nn.Module:
        """The averaged autoencoder; a plain one's prior is fitted to what its codes are now."""
        return self._with_prior("average", super().sampler)

    @contextmanager
    def plain(self) -> Iterator[nn.Module | None]:
        """The autoencoder behind the average, with a prior of its own."""
        with super().plain() as network:
            yield network if network is None else self._with_prior("plain", network)

    def step(self) -> None:
        """Shows one global batch; for a VAE-GAN the discriminator moves first."""
        number = self.images // self.settings.batch_size
        watched = self._watched("reconstruction", number, since=1)
        before = {name: self.players.weights(name) for name in self.players.networks} if watched else {}
        real = self._shown(self.examples, self.order, number).floats()
        signals: Signals = {}
        if self.critic is not None:
            signals |= self._discriminator_step(self.critic, real, number, watched)
        self.images += self.settings.batch_size
        with self.players.precision():
            terms = self._generator_step(real, number)
        norm = self.players.update("generator", self.images, watched)
        if norm is not None:
            signals |= terms.told() | {"generator_gradient_norm": norm}
            self.tally.add(signals | self.players.movement(before))

    def _generator_step(self, real: Tensor, number: int) -> Terms:
        noise, weights = self._drawn(number, "code"), self._weights()
        if self.critic is None:
            return autoencoder_step(self.network, real, noise, weights, self.world)
        latents, features = self._drawn(number, "prior"), self.config.autoencode.reconstruction == "feature"
        return adversarial_step(
            self.network, self.critic, real, noise, latents, self.loss, weights, features, self.world
        )

    def _weights(self) -> Weights:
        """As of now: the divergence's weight may still be rising."""
        asked = self.config.autoencode
        warm = min(1.0, self.images / (asked.warmup * self.settings.images)) if asked.warmup else 1.0
        noise = None if asked.noise == "learned" else asked.noise
        return Weights(asked.beta * warm, 1.0 if asked.reconstruction == "feature" else noise, asked.gamma)

    def _discriminator_step(self, critic: nn.Module, real: Tensor, number: int, watched: bool) -> Signals:
        """Larsen 2016, algorithm 1: fakes are reconstructions and samples."""
        noise, latents = (self._drawn(number, what, "for discriminator") for what in ("code", "prior"))
        penalties = self._penalties(number)
        with self.players.precision():
            with torch.no_grad():
                codes = self.network.encode(real).drawn(noise)
                fake = self.network.decode(torch.where(self._reconstructed, codes, latents)).float()
            value, real_logits, fake_logits = discriminator_step(critic, real, fake, self.loss, *penalties)
        norm = self.players.update("discriminator", self.images, watched)
        if norm is None:
            return {}
        signals = {"discriminator": value, "discriminator_gradient_norm": norm}
        return signals | {"real_logit": real_logits.mean(), "fake_logit": fake_logits.mean()}

    def _penalties(self, number: int) -> tuple[float, float]:
        """R1's and R2's weights in this step."""
        factor = self._penalty_factor(number) * self.scale**2  # gradients in units of the data's spread
        return self.settings.r1_gamma * factor, self.settings.r2_gamma * factor

    def _drawn(self, number: int, *purpose: str) -> Tensor:
        """Standard normal (n, latent_dim), this rank's rows."""
        shape = (self.settings.batch_size, self.config.model.latent_dim)
        return self._mine(torch.randn(shape, generator=stream(self.settings.seed, number, *purpose)))

    def _with_prior(self, which: str, network: nn.Module) -> nn.Module:
        """Every rank does the same with the same examples, so that all have the same prior."""
        assert isinstance(network, Autoencoder)
        if not network.variational and self._fitted[which] != self.images:
            self._fitted[which] = self.images
            with torch.no_grad():
                parts = [self.examples[rows].floats() for rows in torch.split(self._to_fit, 512)]
                network.fit(torch.cat([network.encode(part).mean for part in parts]))
        return network
