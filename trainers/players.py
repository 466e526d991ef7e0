"""The two players of a GAN with their optimisers and the averaged generator: everything that a training step
changes.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from trainers import ema
from trainers.config import Config
from trainers.data import Space
from trainers.models import build_discriminator, build_generator, probe
from trainers.schedule import share
from trainers.world import World


class Players:
    """Generator, discriminator, the generator's moving average, and two Adams."""

    def __init__(self, config: Config, space: Space, world: World) -> None:
        self.config, self.world = config, world
        self.generator = build_generator(config.model, space, config.train.seed).to(world.device)
        packed = space.packed(config.train.packing)
        self.discriminator = build_discriminator(config.model, packed, config.train.seed).to(world.device)
        if ":" in config.model.generator + config.model.discriminator:
            probe(config, self.generator.cpu(), self.discriminator.cpu(), space)
            self.generator.to(world.device).zero_grad()
            self.discriminator.to(world.device).zero_grad()
        self.average = copy.deepcopy(self.generator).requires_grad_(False).eval()
        self.ada = torch.zeros((), device=world.device)
        self.wrapped_generator = world.wrap(self.generator)
        self.wrapped_discriminator = self.discriminator if self.in_two_forwards else world.wrap(self.discriminator)
        self.generator_optimiser = _adam(self.generator, config, config.train.generator_lr)
        self.discriminator_optimiser = _adam(self.discriminator, config, config.train.discriminator_lr)

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
        """Averages the gradients over the ranks and moves the discriminator; returns the gradient's norm."""
        rate = self.config.train.discriminator_lr * self._lr_share(images)
        return _update(self.discriminator, self.discriminator_optimiser, rate, self.world)

    def generator_update(self, images: int) -> Tensor:
        """The same for the generator; its average follows."""
        norm = _update(
            self.generator,
            self.generator_optimiser,
            self.config.train.generator_lr * self._lr_share(images),
            self.world,
        )
        ema.update(self.average, self.generator, self._keep(images))
        return norm

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """All state as named tensors, a group per file of a checkpoint."""
        return {
            "generator": dict(self.generator.state_dict()),
            "generator_ema": dict(self.average.state_dict()),
            "discriminator": dict(self.discriminator.state_dict()),
            "optimisers": {
                **_adam_tensors("generator", self.generator_optimiser),
                **_adam_tensors("discriminator", self.discriminator_optimiser),
            },
            "controller": {"ada": self.ada},
        }

    def load(self, tensors: dict[str, dict[str, Tensor]]) -> None:
        """Takes the state that ``tensors`` gave."""
        self.generator.load_state_dict(tensors["generator"])
        self.average.load_state_dict(tensors["generator_ema"])
        self.discriminator.load_state_dict(tensors["discriminator"])
        _load_adam("generator", self.generator_optimiser, tensors["optimisers"])
        _load_adam("discriminator", self.discriminator_optimiser, tensors["optimisers"])
        self.ada = tensors["controller"]["ada"].to(self.world.device)

    def _keep(self, images: int) -> float:
        settings = self.config.train
        half_life = (
            min(settings.ema_half_life, images * settings.ema_ramp) if settings.ema_ramp else settings.ema_half_life
        )
        return ema.decay(half_life, settings.batch_size * settings.n_dis)

    def _lr_share(self, images: int) -> float:
        settings = self.config.train
        return share(settings.lr_schedule, settings.lr_final, images / settings.images)


def _adam(module: nn.Module, config: Config, rate: float) -> torch.optim.Adam:
    betas = (config.train.beta1, config.train.beta2)
    return torch.optim.Adam(module.parameters(), lr=rate, betas=betas, fused=True)


def _update(module: nn.Module, optimiser: torch.optim.Optimizer, rate: float, world: World) -> Tensor:
    world.reduce_gradients(module)
    norm = torch.nn.utils.get_total_norm([p.grad for p in module.parameters() if p.grad is not None])
    optimiser.param_groups[0]["lr"] = rate
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return norm


def _adam_tensors(prefix: str, optimiser: torch.optim.Adam) -> dict[str, Tensor]:
    states: dict[int, dict[str, Tensor]] = optimiser.state_dict()["state"]
    return {f"{prefix}.{index}.{name}": value for index, state in states.items() for name, value in state.items()}


def _load_adam(prefix: str, optimiser: torch.optim.Adam, tensors: dict[str, Tensor]) -> None:
    states: dict[int, dict[str, Any]] = {}
    for full_name, value in tensors.items():
        player, index, name = full_name.split(".")
        if player == prefix:
            states.setdefault(int(index), {})[name] = value
    optimiser.load_state_dict({"state": states, "param_groups": optimiser.state_dict()["param_groups"]})
