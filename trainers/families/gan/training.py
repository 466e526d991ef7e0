"""The GAN among trainings: what one step is. The loop around it knows nothing of latents, players or penalties."""

from __future__ import annotations

import torch
from torch import Tensor

from trainers.check import data_problems, problems
from trainers.config import Config
from trainers.data import Dataset
from trainers.data.conditions import mismatched
from trainers.errors import refuse
from trainers.families.gan.compiled import CompiledStep, Numbers, Signals
from trainers.families.gan.players import Players, from_outside, in_two_forwards
from trainers.families.gan.step import (
    Mismatch,
    Penalties,
    discriminator_step,
    generator_step,
    penalised_discriminator_step,
)
from trainers.losses import LOSSES, Loss
from trainers.players.augment import ADA_INTERVAL, NOISE, View, adjusted
from trainers.players.game import Game
from trainers.randomness import key, stream
from trainers.reading.registry import lookup
from trainers.world import World


class GanTraining(Game):
    """Generator and discriminator on a data set."""

    interval = ADA_INTERVAL  # signs are summed by each rank alone in between
    players: Players

    def __init__(self, config: Config, data: Dataset, world: World) -> None:
        found = problems(config, world.size, world.device.type == "cuda")
        found += data_problems(config, len(data), len(data.space.conditions), data.unlabelled, data.unmet)
        refuse(list(dict.fromkeys(found)))
        super().__init__(config, world)
        self.loss: Loss = lookup(LOSSES, config.train.loss, "train.loss")
        self.examples = data.train.to(world.device)
        self.order = data.order(config.train.batch_size, config.train.seed, config.train.balanced)
        self.players = Players(config, data.space, world)
        self.critic = self.players.discriminator
        self.from_outside, self.in_two_forwards = from_outside(config), in_two_forwards(config)
        self.compiled = None
        if self.settings.compile:
            self.compiled = CompiledStep(self.players, self.loss, View(self.settings.packing), world)
        self.scale, self.conditions = data.space.scale, data.space.conditions

    def step(self) -> None:
        """Shows one global batch to the discriminator; every ``n_dis``-th time the generator moves too."""
        number = self.images // self.settings.batch_size
        if self.from_outside:  # it may draw from torch's own generator, as dropout does
            torch.manual_seed(key(self.settings.seed, number, self.world.rank))
        real, given = self._real(number)
        labels = self._told(given, number)
        both = (number + 1) % self.settings.n_dis == 0
        watched = {"discriminator": self._watched("discriminator", number, since=1)}
        watched["generator"] = both and self._watched("generator", number, since=self.settings.n_dis)
        before = {name: self.players.weights(name) for name, looked in watched.items() if looked}
        if self.compiled:
            signals = self._compiled_step(self.compiled, real, labels, number, both)
        else:
            signals = self._discriminator_step(
                real, labels, self._mismatch(given, number), number, watched["discriminator"]
            )
        self.images += self.settings.batch_size
        if both and not self.compiled:
            signals |= self._generator_step(real, labels, number, watched["generator"])
        if before:
            self.tally.add(signals | self.players.movement(before))

    def means(self) -> tuple[dict[str, float], dict[str, float]]:
        """Losses and signals since the last call, averaged over steps and ranks."""
        found = super().means()
        self.players.ada_signs = self.world.mean(self.players.ada_signs)  # a checkpoint keeps those of one rank
        return found

    def _compiled_step(
        self, run: CompiledStep, real: Tensor, labels: Tensor | None, number: int, both: bool
    ) -> Signals:
        more_latents = self._latents(number, "for generator") if both else None
        penalties, after = self._penalties(number, real), self.images + self.settings.batch_size
        rates = self.players.rate("discriminator", self.images), self.players.rate("generator", after)
        numbers = Numbers(penalties.r1_gamma, penalties.r2_gamma, *rates, 1 - self.players.keep(after))
        with self.players.precision():
            return run(real, labels, (self._latents(number, "for discriminator"), more_latents), numbers)

    def _discriminator_step(
        self, real: Tensor, labels: Tensor | None, mismatch: Mismatch | None, number: int, watched: bool
    ) -> Signals:
        with torch.no_grad(), self.players.precision():
            fake = self.players.generator(self._latents(number, "for discriminator"), labels).float()
        views = self._view(number, "real"), self._view(number, "fake")
        with self.players.precision():
            if self.in_two_forwards:
                critic, penalties = self.players.discriminator, self._penalties(number, real)
                judgement = penalised_discriminator_step(
                    critic, real, fake, labels, self.loss, penalties, *views, mismatch
                )
            else:
                critic = self.players.wrapped["discriminator"]
                judgement = discriminator_step(critic, views[0](real), views[1](fake), labels, self.loss)
        norm = self.players.update("discriminator", self.images, watched)
        if self.settings.ada_target is not None:
            self._adjust(number, judgement.real_logits, self.settings.ada_target)
        if norm is None:
            return {}
        ada = {} if self.settings.ada_target is None else {"ada_probability": self.players.ada}
        return judgement.signals(norm) | ada

    def _generator_step(self, real: Tensor, labels: Tensor | None, number: int, watched: bool) -> Signals:
        latents, view = self._latents(number, "for generator"), self._view(number, "generator")
        real = self._view(number, "real again")(real) if self.loss.paired else real
        generator, critic = self.players.wrapped["generator"], self.players.discriminator
        with self.players.precision():
            value = generator_step(generator, critic, latents, real, labels, self.loss, view)
        norm = self.players.update("generator", self.images, watched)
        return {} if norm is None else {"generator": value, "generator_gradient_norm": norm}

    def _adjust(self, number: int, real_logits: Tensor, target: float) -> None:
        """Every ADA_INTERVAL steps, by the signs of all examples since the last time."""
        players = self.players
        players.ada_signs = players.ada_signs + real_logits.sign().mean()
        if (number + 1) % ADA_INTERVAL == 0:
            sign = self.world.mean(players.ada_signs / ADA_INTERVAL)
            players.ada = adjusted(players.ada, sign, target, self.settings.batch_size)
            players.ada_signs = torch.zeros_like(players.ada_signs)

    def _real(self, number: int) -> tuple[Tensor, Tensor | None]:
        batch = self._shown(self.examples, self.order, number)
        return batch.floats(), batch.labels if self.config.model.conditional else None

    def _told(self, labels: Tensor | None, number: int) -> Tensor | None:
        """Labels, of which some are withheld from both players."""
        drop = self.config.model.label_drop
        if not drop or labels is None:
            return labels
        chances = torch.rand(self.settings.batch_size, generator=stream(self.settings.seed, number, "label drop"))
        withheld = self._mine(chances) < drop
        return (
            labels.masked_fill(withheld, -1) if labels.ndim == 1 else labels.masked_fill(withheld[:, None], torch.nan)
        )

    def _mismatch(self, labels: Tensor | None, number: int) -> Mismatch | None:
        share = self.settings.mismatched
        if not share or labels is None:
            return None
        chances = torch.rand(self.settings.batch_size, 2, generator=stream(self.settings.seed, number, "mismatch"))
        return Mismatch(mismatched(labels, self.conditions, self._mine(chances)), share)

    def _latents(self, number: int, purpose: str) -> Tensor:
        shape = (self.settings.batch_size, self.config.model.latent_dim)
        return self._mine(torch.randn(shape, generator=stream(self.settings.seed, number, purpose)))

    def _view(self, number: int, purpose: str) -> View:
        if not self.settings.augment:
            return View(self.settings.packing)
        noise = torch.rand(
            self.settings.batch_size, NOISE, generator=stream(self.settings.seed, number, "view", purpose)
        )
        probability = self.players.ada if self.settings.ada_target is not None else None
        return View(self.settings.packing, self.settings.augment, self._mine(noise), probability)

    def _penalties(self, number: int, real: Tensor) -> Penalties:
        settings, factor = self.settings, self._penalty_factor(number)
        if not factor:
            return Penalties()
        # Gradients are taken in units of the data's spread: one weight means the same on any 2-D set.
        squared = factor * self.scale**2
        mix = self._mix(number, real) if settings.gp_lambda > 0 else None
        return Penalties(
            settings.r1_gamma * squared, settings.r2_gamma * squared, settings.gp_lambda * factor, mix, self.scale
        )

    def _mix(self, number: int, real: Tensor) -> Tensor:
        """The share of the real example, uniform; one for all examples of a pack, which the critic takes for one
        input.
        """
        packs = self.settings.batch_size // self.settings.packing
        mix = torch.rand(packs, generator=stream(self.settings.seed, number, "mix"))
        return self._mine(mix.repeat_interleave(self.settings.packing)).view(-1, *[1] * (real.ndim - 1))
