"""The GAN among trainings: what one step is. The loop around it knows nothing of latents, players or penalties."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trainers.augment import ADA_INTERVAL, NOISE, adjusted, augment
from trainers.check import data_problems, problems
from trainers.compiled import CompiledStep, Numbers, Signals
from trainers.config import Config, Train
from trainers.data import Dataset
from trainers.errors import refuse
from trainers.losses import LOSSES, Loss
from trainers.players import Players
from trainers.randomness import key, stream
from trainers.registry import lookup
from trainers.schedule import share
from trainers.step import Penalties, discriminator_step, generator_step, penalised_discriminator_step
from trainers.tally import BROKEN, Tally
from trainers.world import World, sent

# Losses and signals are looked at every so many steps, and in the first after a report: looking at every step of a
# small network costs a twentieth of it. A prime, so that lazy penalties do not always fall between.
WATCHED_STEPS = 47
LOSS_NAMES = ("generator", "discriminator")


@dataclass(frozen=True)
class View:
    """What the discriminator sees of examples: augmented with fixed noise, then packed along the channels."""

    packing: int = 1
    policies: tuple[str, ...] = ()
    noise: Tensor | None = None
    probability: Tensor | None = None

    def __call__(self, examples: Tensor) -> Tensor:
        """(n, C, ...) -> (n / packing, C * packing, ...)."""
        if self.noise is not None:
            examples = augment(examples, self.policies, self.noise, self.probability)
        if self.packing == 1:
            return examples
        return examples.reshape(len(examples) // self.packing, -1, *examples.shape[2:])


class GanTraining:
    """Players on a data set. ``images`` is its clock: step, epoch, schedules and every random number follow from it."""

    def __init__(self, config: Config, data: Dataset, world: World) -> None:
        found = problems(config, world.size, world.device.type == "cuda")
        refuse(list(dict.fromkeys(found + data_problems(config, len(data), data.space.classes, data.unlabelled))))
        self.config, self.settings, self.world = config, config.train, world
        self.loss: Loss = lookup(LOSSES, config.train.loss, "train.loss")
        self.examples = data.train.to(world.device)
        self.order = data.order(config.train.batch_size, config.train.seed)
        self.players = Players(config, data.space, world)
        self.compiled = None
        if self.settings.compile:
            self.compiled = CompiledStep(self.players, self.loss, View(self.settings.packing), world)
        self.scale = data.space.scale
        self.tally = Tally()
        self.images = 0

    @property
    def sampler(self) -> nn.Module:
        """The network to judge and keep: the averaged generator, in eval mode."""
        return self.players.average

    @contextmanager
    def plain(self) -> Iterator[nn.Module | None]:
        """The generator behind the average, in eval mode; None where there is no average that may differ from it."""
        if not self.settings.ema_half_life:
            yield None
            return
        modes = [(module, module.training) for module in self.players.generator.modules()]
        yield self.players.generator.eval()
        for module, mode in modes:
            module.training = mode

    def step(self) -> None:
        """Shows one global batch to the discriminator; every ``n_dis``-th time the generator moves too."""
        number = self.images // self.settings.batch_size
        if self.players.from_outside:  # it may draw from torch's own generator, as dropout does
            torch.manual_seed(key(self.settings.seed, number, self.world.rank))
        real, labels = self._real(number)
        both = (number + 1) % self.settings.n_dis == 0
        watched = {"discriminator": self._watched("discriminator", number, since=1)}
        watched["generator"] = both and self._watched("generator", number, since=self.settings.n_dis)
        before = {name: self.players.weights(name) for name, looked in watched.items() if looked}
        if self.compiled:
            signals = self._compiled_step(self.compiled, real, labels, number, both)
        else:
            signals = self._discriminator_step(real, labels, number, watched["discriminator"])
        self.images += self.settings.batch_size
        if both and not self.compiled:
            signals |= self._generator_step(real, labels, number, watched["generator"])
        if before:
            self.tally.add(signals | self.players.movement(before))

    def retune(self, settings: Train) -> None:
        """Goes on with other settings of training, the same networks and data."""
        self.settings = settings
        self.players.config = self.players.config.model_copy(update={"train": settings})

    def means(self) -> tuple[dict[str, float], dict[str, float]]:
        """Losses and signals since the last call, averaged over steps and ranks.

        A value that is not finite stays in Adam's moments and so in the weights: if no look fell on it, these tell.
        """
        values = self.tally.read(self.world)
        self.players.ada_signs = self.world.mean(self.players.ada_signs)  # a checkpoint keeps those of one rank
        if not torch.stack(torch._foreach_norm(tuple(self.parameters()), torch.inf)).isfinite().all():
            values[BROKEN] = max(values.get(BROKEN, 0.0), 1.0)
        losses = {name: values.pop(name) for name in LOSS_NAMES if name in values}
        return losses, values

    def packed_means(self) -> tuple[dict[str, Tensor], list[tuple[tuple[str, ...], int]]]:
        """What ``means`` will be made of, to be kept with ``tensors`` between two calls. Called on every rank."""
        return self.tally.packed(self.world)

    def resume_means(self, tensors: dict[str, Tensor], steps: list[tuple[list[str], int]]) -> None:
        """Takes what ``packed_means`` gave."""
        self.tally.unpack(tensors, steps, self.world)

    def broken(self) -> bool:
        """Whether a loss or gradient was not finite since the last ``means``, on any rank."""
        return self.world.any(self.tally.broken())

    def parameters(self) -> Iterator[Tensor]:
        """The weights of both players and of the average."""
        for network in (self.players.generator, self.players.discriminator, self.players.average):
            yield from network.parameters()

    def sizes(self) -> dict[str, int]:
        """How many values of each network are trained."""
        return {name: sum(p.numel() for p in one.parameters) for name, one in self.players.updaters.items()}

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """All state, to be loaded with ``images``."""
        return self.players.tensors()

    def load(self, tensors: dict[str, dict[str, Tensor]], images: int) -> None:
        """Continues from the state of ``tensors`` and the clock ``images``."""
        self.players.load(tensors)
        self.images = images

    def _watched(self, player: str, number: int, since: int) -> bool:
        """Whether this move of a player, ``since`` steps after its last one, is looked at."""
        return number // WATCHED_STEPS != (number - since) // WATCHED_STEPS or player not in self.tally

    def _compiled_step(
        self, run: CompiledStep, real: Tensor, labels: Tensor | None, number: int, both: bool
    ) -> Signals:
        more_latents = self._latents(number, "for generator") if both else None
        penalties, after = self._penalties(number, real), self.images + self.settings.batch_size
        rates = self.players.rates(self.images)[1], self.players.rates(after)[0]
        numbers = Numbers(penalties.r1_gamma, penalties.r2_gamma, *rates, 1 - self.players.keep(after))
        with self.players.precision():
            return run(real, labels, (self._latents(number, "for discriminator"), more_latents), numbers)

    def _discriminator_step(self, real: Tensor, labels: Tensor | None, number: int, watched: bool) -> Signals:
        with torch.no_grad(), self.players.precision():
            fake = self.players.generator(self._latents(number, "for discriminator"), labels).float()
        views = self._view(number, "real"), self._view(number, "fake")
        with self.players.precision():
            if self.players.in_two_forwards:
                critic, penalties = self.players.discriminator, self._penalties(number, real)
                judgement = penalised_discriminator_step(critic, real, fake, labels, self.loss, penalties, *views)
            else:
                critic = self.players.wrapped_discriminator
                judgement = discriminator_step(critic, views[0](real), views[1](fake), labels, self.loss)
        norm = self.players.discriminator_update(self.images, watched)
        if self.settings.ada_target is not None:
            self._adjust(number, judgement.real_logits, self.settings.ada_target)
        if norm is None:
            return {}
        ada = {} if self.settings.ada_target is None else {"ada_probability": self.players.ada}
        return judgement.signals(norm) | ada

    def _generator_step(self, real: Tensor, labels: Tensor | None, number: int, watched: bool) -> Signals:
        latents, view = self._latents(number, "for generator"), self._view(number, "generator")
        real = self._view(number, "real again")(real) if self.loss.paired else real
        generator, critic = self.players.wrapped_generator, self.players.discriminator
        with self.players.precision():
            value = generator_step(generator, critic, latents, real, labels, self.loss, view)
        norm = self.players.generator_update(self.images, watched)
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
        with self.world.pulse.waiting():
            batch = self.examples[self.order.rows(number, self.world)]
        if self.order.blocks:  # read from afar while this step computes
            self.examples.expect(self.order.rows(number + 1, self.world))
        return batch.floats(), batch.labels if self.config.model.conditional else None

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
        settings = self.settings
        if number % settings.penalty_interval:
            return Penalties()
        progress = self.images / settings.images
        factor = settings.penalty_interval * share(settings.penalty_schedule, settings.penalty_final, progress)
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

    def _mine(self, rows: Tensor) -> Tensor:
        """This rank's share of a global batch, on its device."""
        return sent(rows[self.world.part(len(rows))], self.world.device)
