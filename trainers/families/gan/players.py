"""The two players of a GAN, the generator averaged, and what controls its augmentation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainers.config import Config
from trainers.data import Space
from trainers.errors import UnusableSettingError
from trainers.models import build_discriminator, build_generator, probe
from trainers.models.parts import has_batch_norm
from trainers.players.roster import Player, Roster
from trainers.world import World


class Players(Roster):
    """``generator``, ``discriminator`` and the generator's ``average``; ADA's probability and sum of signs."""

    def __init__(self, config: Config, space: Space, world: World) -> None:
        train = config.train
        generator = build_generator(config.model, space, train.seed).to(world.device)
        discriminator = build_discriminator(config.model, space.packed(train.packing), train.seed).to(world.device)
        outside = from_outside(config)
        if outside or ":" in config.data.name:
            probe(config, generator.cpu(), discriminator.cpu(), space)
            generator.to(world.device).zero_grad()
            discriminator.to(world.device).zero_grad()
        if world.size > 1:
            generator, discriminator = _synchronised(generator, world), _synchronised(discriminator, world)
        by_hand = train.compile or outside  # which may leave parameters without a gradient
        players = {
            "generator": Player(generator, "generator_lr", averaged=True, by_hand=by_hand),
            "discriminator": Player(discriminator, "discriminator_lr", by_hand=by_hand or in_two_forwards(config)),
        }
        super().__init__(players, config, world)
        self.generator, self.discriminator, self.average = generator, discriminator, self.averages["generator"]
        self.ada, self.ada_signs = torch.zeros((), device=world.device), torch.zeros((), device=world.device)

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """All state as named tensors, a group per file of a checkpoint."""
        return super().tensors() | {"controller": {"ada": self.ada, "ada_signs": self.ada_signs}}

    def load(self, tensors: dict[str, dict[str, Tensor]]) -> None:
        """Takes the state that ``tensors`` gave."""
        super().load(tensors)
        controller = tensors["controller"]
        self.ada, self.ada_signs = (controller[name].to(self.world.device) for name in ("ada", "ada_signs"))


def from_outside(config: Config) -> bool:
    """Whether a network is code that this package has never seen."""
    return ":" in config.model.generator + config.model.discriminator


def in_two_forwards(config: Config) -> bool:
    """Whether the discriminator sees real and generated examples apart, and is therefore never wrapped.

    A penalty needs the gradient at one half only, and its double backward does not go through DDP; a mismatch shows it
    the real ones twice; batch norm must not mix the statistics of the two halves.
    """
    return config.penalised or config.train.mismatched > 0 or config.model.discriminator_norm == "batch"


def _synchronised(network: nn.Module, world: World) -> nn.Module:
    """``network`` with its batch norm over the global batch instead of each rank's share; only GPUs have this."""
    if has_batch_norm(network) and world.device.type == "cpu":
        name = type(network).__name__
        message = f"{name} has batch norm, which over {world.size} ranks is exact on GPUs only"
        raise UnusableSettingError(f"{message}; use one rank, or another normalisation")
    converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
    return converted
