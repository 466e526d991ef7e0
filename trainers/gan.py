"""The GAN among trainings: what one step is. The loop around it knows nothing of latents, players or penalties."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from trainers.config import Config
from trainers.data import Dataset, Order
from trainers.losses import LOSSES
from trainers.players import Players
from trainers.randomness import normal, stream
from trainers.registry import lookup
from trainers.schedule import share
from trainers.step import Penalties, discriminator_step, generator_step, penalised_discriminator_step
from trainers.tally import Tally
from trainers.world import World

LOSS_NAMES = ("generator", "discriminator")


class GanTraining:
    """Players on a data set. ``images`` is its whole clock: step, epoch, schedules and every random number follow
    from it.
    """

    def __init__(self, config: Config, data: Dataset, world: World) -> None:
        self.config, self.world = config, world
        self.loss = lookup(LOSSES, config.train.loss, "train.loss")
        self.examples = data.train.to(world.device)
        self.order = Order(len(data), config.train.batch_size, config.train.seed)
        self.players = Players(config, data.space, world)
        settings = config.train
        self.penalised = max(settings.r1_gamma, settings.r2_gamma, settings.gp_lambda) > 0
        self.generator = world.wrap(self.players.generator)
        self.discriminator = self.players.discriminator if self.penalised else world.wrap(self.players.discriminator)
        self.tally = Tally()
        self.images = 0

    @property
    def sampler(self) -> nn.Module:
        """The network to judge and keep: the averaged generator, in eval mode."""
        return self.players.average

    def step(self) -> None:
        """Shows one global batch to the discriminator; every ``n_dis``-th time the generator moves too."""
        settings, number = self.config.train, self.images // self.config.train.batch_size
        real, labels = self._real(number)
        self._discriminator_step(real, labels, number)
        self.images += settings.batch_size
        if (number + 1) % settings.n_dis == 0:
            latents = self._latents(number, "generator step")
            value = generator_step(self.generator, self.players.discriminator, latents, real, labels, self.loss)
            norm = self.players.generator_update(self.images)
            self.tally.mean(generator=value, generator_gradient_norm=norm)
            self.tally.count(nonfinite=~norm.isfinite())

    def means(self) -> tuple[dict[str, float], dict[str, float]]:
        """Losses and signals since the last call, averaged over steps and ranks."""
        values = self.tally.read(self.world)
        losses = {name: values.pop(name) for name in LOSS_NAMES if name in values}
        return losses, values

    def parameters(self) -> Iterator[Tensor]:
        """What must be equal on all ranks."""
        for module in (self.players.generator, self.players.discriminator, self.players.average):
            yield from module.parameters()

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """All state, to be loaded with ``images``."""
        return self.players.tensors()

    def load(self, tensors: dict[str, dict[str, Tensor]], images: int) -> None:
        """Continues from the state of ``tensors`` and the clock ``images``."""
        self.players.load(tensors)
        self.images = images

    def _discriminator_step(self, real: Tensor, labels: Tensor | None, number: int) -> None:
        with torch.no_grad():
            fake = self.players.generator(self._latents(number, "discriminator step"), labels)
        penalties = self._penalties(number)
        if penalties is None:
            result = discriminator_step(self.discriminator, real, fake, labels, self.loss)
        else:
            mix = self._mix(number, real) if penalties.gp_lambda > 0 else None
            result = penalised_discriminator_step(self.discriminator, real, fake, labels, self.loss, penalties, mix)
        norm = self.players.discriminator_update(self.images)
        self.tally.mean(
            discriminator=result.loss,
            real_sign=result.real_logits.sign().mean(),
            fake_sign=result.fake_logits.sign().mean(),
            discriminator_gradient_norm=norm,
        )
        self.tally.count(nonfinite=~norm.isfinite())

    def _real(self, number: int) -> tuple[Tensor, Tensor | None]:
        rows = self.order.rows(number, self.world).to(self.world.device)
        batch = self.examples[rows]
        return batch.floats(), batch.labels

    def _latents(self, number: int, purpose: str) -> Tensor:
        shape = (self.config.train.batch_size, self.config.model.latent_dim)
        latents = normal(shape, self.config.train.seed, number, purpose)
        return latents[self.world.part(self.config.train.batch_size)].to(self.world.device)

    def _mix(self, number: int, real: Tensor) -> Tensor:
        generator = stream(self.config.train.seed, number, "mix")
        mix = torch.rand(self.config.train.batch_size, generator=generator)[
            self.world.part(self.config.train.batch_size)
        ]
        return mix.to(self.world.device).view(-1, *[1] * (real.ndim - 1))

    def _penalties(self, number: int) -> Penalties | None:
        settings = self.config.train
        if not self.penalised or number % settings.penalty_interval:
            return None
        factor = settings.penalty_interval * share(
            settings.penalty_schedule, settings.penalty_final, self.images / settings.images
        )
        return Penalties(settings.r1_gamma * factor, settings.r2_gamma * factor, settings.gp_lambda * factor)
