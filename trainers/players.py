"""The two players of a GAN with their optimisers and the averaged generator: everything that a training step
changes.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

from trainers import ema
from trainers.config import Config, Train
from trainers.data import Space
from trainers.errors import UnusableSettingError
from trainers.models import build_discriminator, build_generator, probe
from trainers.models.parts import has_batch_norm
from trainers.schedule import half_life, share
from trainers.world import World

MOMENTS = "exp_avg", "exp_avg_sq"


class Updater:
    """Moves what a network lets be trained along its gradient, averaged over the ranks."""

    def __init__(self, network: nn.Module, wrapped: nn.Module, train: Train, world: World) -> None:
        self.wrapped, self.world = wrapped, world
        trained = {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}
        self.parameters: list[Tensor] = list(trained.values())
        self.betas = train.beta1, train.beta2
        self.optimiser = torch.optim.Adam(self.parameters, betas=self.betas, fused=True)
        for parameter in self.parameters:
            moments = {name: torch.zeros_like(parameter.detach()) for name in MOMENTS}
            self.optimiser.state[parameter] = {"step": torch.zeros((), device=world.device), **moments}
        self.values = {name: parameter.detach() for name, parameter in trained.items()}
        self.states: list[dict[str, Tensor]] = [self.optimiser.state[p] for p in self.parameters]

    def update(self, rate: float, watched: bool) -> Tensor | None:
        """One step of Adam; returns the norm of the gradient, NaN or infinite where it was so, if it is ``watched``."""
        self.world.reduce_gradients(self.wrapped)
        norm = _norm([p.grad for p in self.parameters if p.grad is not None]) if watched else None
        self.optimiser.param_groups[0]["lr"] = rate
        self.optimiser.step()
        for parameter in self.parameters:
            parameter.grad = None
        return norm

    def move(self, gradients: list[Tensor], rate: Tensor) -> None:
        """The same step of Adam on the same state, in a form that a compiled graph takes in."""
        averages, squares, steps = ([state[name] for state in self.states] for name in (*MOMENTS, "step"))
        beta1, beta2 = self.betas
        adam(
            list(self.values.values()),
            gradients,
            averages,
            squares,
            [],
            steps,
            foreach=True,
            capturable=True,
            amsgrad=False,
            beta1=beta1,
            beta2=beta2,
            lr=rate,
            weight_decay=0.0,
            eps=1e-8,
            maximize=False,
        )

    def tensors(self, prefix: str) -> dict[str, Tensor]:
        """Adam's state by name."""
        return {f"{prefix}.{i}.{name}": value for i, state in enumerate(self.states) for name, value in state.items()}

    def load(self, prefix: str, tensors: dict[str, Tensor]) -> None:
        """Takes what ``tensors`` gave, in place."""
        for name, mine in self.tensors(prefix).items():
            mine.copy_(tensors[name])


class Players:
    """Generator, discriminator, the generator's moving average, and what moves them."""

    def __init__(self, config: Config, space: Space, world: World) -> None:
        self.config, self.world, train = config, world, config.train
        self.generator = build_generator(config.model, space, train.seed).to(world.device)
        self.discriminator = build_discriminator(config.model, space.packed(train.packing), train.seed).to(world.device)
        if self.from_outside or ":" in config.data.name:
            probe(config, self.generator.cpu(), self.discriminator.cpu(), space)
            self.generator.to(world.device).zero_grad()
            self.discriminator.to(world.device).zero_grad()
        if world.size > 1:
            self.generator = _synchronised(self.generator, world)
            self.discriminator = _synchronised(self.discriminator, world)
        self.average = copy.deepcopy(self.generator).requires_grad_(False).eval()
        self.ada, self.ada_signs = torch.zeros((), device=world.device), torch.zeros((), device=world.device)
        by_hand = train.compile or self.from_outside  # which may leave parameters without a gradient
        self.wrapped_generator = self.generator if by_hand else world.wrap(self.generator)
        by_hand = by_hand or self.in_two_forwards
        self.wrapped_discriminator = self.discriminator if by_hand else world.wrap(self.discriminator)
        self.updaters = {
            "generator": Updater(self.generator, self.wrapped_generator, train, world),
            "discriminator": Updater(self.discriminator, self.wrapped_discriminator, train, world),
        }
        averages = dict(self.average.named_parameters())
        self.averaged: list[Tensor] = [averages[name] for name in self.updaters["generator"].values]
        self._buffers = list(self.average.buffers()), list(self.generator.buffers())

    @property
    def from_outside(self) -> bool:
        """Whether a network is code that this package has never seen."""
        return ":" in self.config.model.generator + self.config.model.discriminator

    @property
    def in_two_forwards(self) -> bool:
        """Whether the discriminator sees real and generated examples apart, and is therefore never wrapped.

        A penalty needs the gradient at one half only, and its double backward does not go through DDP; batch norm must
        not mix the statistics of the two halves.
        """
        return self.config.penalised or self.config.model.discriminator_norm == "batch"

    def precision(self) -> torch.autocast:
        """The context in which networks run forward."""
        return torch.autocast(self.world.device.type, torch.bfloat16, enabled=self.config.train.precision == "bf16")

    def discriminator_update(self, images: int, watched: bool) -> Tensor | None:
        """Moves the discriminator along its gradient; returns the gradient's norm where it is ``watched``."""
        return self.updaters["discriminator"].update(self.rates(images)[1], watched)

    def generator_update(self, images: int, watched: bool) -> Tensor | None:
        """The same for the generator; its average follows. Its buffers (batch statistics) are copied."""
        updater = self.updaters["generator"]
        norm = updater.update(self.rates(images)[0], watched)
        ema.update(self.averaged, updater.parameters, self.keep(images))
        if self._buffers[0]:
            torch._foreach_copy_(*self._buffers)
        return norm

    def weights(self, player: str) -> list[Tensor]:
        """Copies of a player's parameters."""
        return [value.clone() for value in self.updaters[player].values.values()]

    def movement(self, before: dict[str, list[Tensor]]) -> dict[str, Tensor]:
        """How far players are from what they were ``before``, over the norm of their weights."""
        moved = {}
        for name, earlier in before.items():
            now = list(self.updaters[name].values.values())
            moved[f"{name}_update_ratio"] = _norm(torch._foreach_sub(now, earlier)) / _norm(now)
        return moved

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """All state as named tensors, a group per file of a checkpoint."""
        return {
            "generator": dict(self.generator.state_dict()),
            "generator_ema": dict(self.average.state_dict()),
            "discriminator": dict(self.discriminator.state_dict()),
            "optimisers": {n: t for name, updater in self.updaters.items() for n, t in updater.tensors(name).items()},
            "controller": {"ada": self.ada, "ada_signs": self.ada_signs},
        }

    def load(self, tensors: dict[str, dict[str, Tensor]]) -> None:
        """Takes the state that ``tensors`` gave."""
        self.generator.load_state_dict(tensors["generator"])
        self.average.load_state_dict(tensors["generator_ema"])
        self.discriminator.load_state_dict(tensors["discriminator"])
        for name, updater in self.updaters.items():
            updater.load(name, tensors["optimisers"])
        controller = tensors["controller"]
        self.ada, self.ada_signs = (controller[name].to(self.world.device) for name in ("ada", "ada_signs"))

    def keep(self, images: int) -> float:
        """The share of the average that a step leaves."""
        train = self.config.train
        now = half_life(images, train.ema_half_life, train.ema_ramp)
        return ema.decay(now, train.batch_size * train.n_dis)

    def rates(self, images: int) -> tuple[float, float]:
        """The learning rates of generator and discriminator."""
        train = self.config.train
        left = share(train.lr_schedule, train.lr_final, images / train.images)
        return train.generator_lr * left, train.discriminator_lr * left


def _norm(tensors: Sequence[Tensor]) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(tuple(tensors))))
    return norm


def _synchronised(network: nn.Module, world: World) -> nn.Module:
    """``network`` with its batch norm over the global batch instead of each rank's share; only GPUs have this."""
    if has_batch_norm(network) and world.device.type == "cpu":
        name = type(network).__name__
        message = f"{name} has batch norm, which over {world.size} ranks is exact on GPUs only"
        raise UnusableSettingError(f"{message}; use one rank, or another normalisation")
    converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
    return converted
