"""The two players of a GAN with their optimisers and the averaged generator: everything that a training step
changes.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from trainers import ema
from trainers.config import Config, Train
from trainers.data import Space
from trainers.models import build_discriminator, build_generator, probe
from trainers.schedule import share
from trainers.world import World


class Updater:
    """Moves one network along its gradient, averaged over the ranks."""

    def __init__(self, network: nn.Module, wrapped: nn.Module, train: Train, world: World) -> None:
        self.wrapped, self.world = wrapped, world
        self.parameters: list[Tensor] = list(network.parameters())
        self.optimiser = torch.optim.Adam(self.parameters, betas=(train.beta1, train.beta2), fused=True)

    def update(self, rate: float) -> Tensor:
        """One step of Adam; returns the norm of the gradient, NaN or infinite where it was so."""
        self.world.reduce_gradients(self.wrapped)
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        self.optimiser.param_groups[0]["lr"] = rate
        self.optimiser.step()
        for parameter in self.parameters:
            parameter.grad = None
        return norm

    def tensors(self, prefix: str) -> dict[str, Tensor]:
        """Adam's moments by name."""
        states: dict[int, dict[str, Tensor]] = self.optimiser.state_dict()["state"]
        return {f"{prefix}.{index}.{name}": value for index, state in states.items() for name, value in state.items()}

    def load(self, prefix: str, tensors: dict[str, Tensor]) -> None:
        """Takes what ``tensors`` gave."""
        states: dict[int, dict[str, Any]] = {}
        for full_name, value in tensors.items():
            player, index, name = full_name.split(".")
            if player == prefix:
                states.setdefault(int(index), {})[name] = value
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": states, "param_groups": groups})


class Players:
    """Generator, discriminator, the generator's moving average, and what moves them."""

    def __init__(self, config: Config, space: Space, world: World) -> None:
        self.config, self.world, train = config, world, config.train
        self.generator = build_generator(config.model, space, train.seed).to(world.device)
        self.discriminator = build_discriminator(config.model, space.packed(train.packing), train.seed).to(world.device)
        if ":" in config.model.generator + config.model.discriminator:
            probe(config, self.generator.cpu(), self.discriminator.cpu(), space)
            self.generator.to(world.device).zero_grad()
            self.discriminator.to(world.device).zero_grad()
        self.average = copy.deepcopy(self.generator).requires_grad_(False).eval()
        self.ada = torch.zeros((), device=world.device)
        self.wrapped_generator = self.generator if train.compile else world.wrap(self.generator)
        by_hand = train.compile or self.in_two_forwards
        self.wrapped_discriminator = self.discriminator if by_hand else world.wrap(self.discriminator)
        self._updaters = {
            "generator": Updater(self.generator, self.wrapped_generator, train, world),
            "discriminator": Updater(self.discriminator, self.wrapped_discriminator, train, world),
        }
        self._averaged: list[Tensor] = list(self.average.parameters())
        self._buffers = list(self.average.buffers()), list(self.generator.buffers())

    @property
    def in_two_forwards(self) -> bool:
        """Whether the discriminator sees real and generated examples apart, and is therefore never wrapped.

        A penalty needs the gradient at one half only, and its double backward does not go through DDP; batch norm must
        not mix the statistics of the two halves.
        """
        settings = self.config.train
        penalised = max(settings.r1_gamma, settings.r2_gamma, settings.gp_lambda) > 0
        return penalised or self.config.model.discriminator_norm == "batch"

    def precision(self) -> torch.autocast:
        """The context in which networks run forward."""
        return torch.autocast(self.world.device.type, torch.bfloat16, enabled=self.config.train.precision == "bf16")

    def discriminator_update(self, images: int) -> Tensor:
        """Moves the discriminator along its gradient; returns the gradient's norm."""
        return self._updaters["discriminator"].update(self.config.train.discriminator_lr * self._lr_share(images))

    def generator_update(self, images: int) -> Tensor:
        """The same for the generator; its average follows. Its buffers (batch statistics) are copied."""
        updater = self._updaters["generator"]
        norm = updater.update(self.config.train.generator_lr * self._lr_share(images))
        ema.update(self._averaged, updater.parameters, self._keep(images))
        if self._buffers[0]:
            torch._foreach_copy_(*self._buffers)
        return norm

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """All state as named tensors, a group per file of a checkpoint."""
        return {
            "generator": dict(self.generator.state_dict()),
            "generator_ema": dict(self.average.state_dict()),
            "discriminator": dict(self.discriminator.state_dict()),
            "optimisers": {n: t for name, updater in self._updaters.items() for n, t in updater.tensors(name).items()},
            "controller": {"ada": self.ada},
        }

    def load(self, tensors: dict[str, dict[str, Tensor]]) -> None:
        """Takes the state that ``tensors`` gave."""
        self.generator.load_state_dict(tensors["generator"])
        self.average.load_state_dict(tensors["generator_ema"])
        self.discriminator.load_state_dict(tensors["discriminator"])
        for name, updater in self._updaters.items():
            updater.load(name, tensors["optimisers"])
        self.ada = tensors["controller"]["ada"].to(self.world.device)

    def _keep(self, images: int) -> float:
        train = self.config.train
        half_life = min(train.ema_half_life, images * train.ema_ramp) if train.ema_ramp else train.ema_half_life
        return ema.decay(half_life, train.batch_size * train.n_dis)

    def _lr_share(self, images: int) -> float:
        train = self.config.train
        return share(train.lr_schedule, train.lr_final, images / train.images)
