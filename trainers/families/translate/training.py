"""Translations among trainings, and CycleGAN: two translators and two critics, each two one player."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from trainers.check import data_problems, problems
from trainers.config import Config
from trainers.data import Dataset, Space
from trainers.errors import refuse
from trainers.families.translate.check import source_problems
from trainers.families.translate.step import Pair, critic_step, pooled, translators_step
from trainers.losses import LOSSES, Loss
from trainers.models import build_patch_discriminator, build_translator
from trainers.players.game import Game
from trainers.players.roster import Player, Roster
from trainers.randomness import key, stream
from trainers.reading.registry import lookup
from trainers.world import World


def ways(config: Config) -> tuple[str, ...]:
    """Domains that are translated to: the target, and with CycleGAN the source."""
    return ("b", "a") if config.translate.method == "cycle" else ("b",)


class Translators(nn.Module):
    """All ways in one module; called, it translates from the source to the target."""

    to_b: nn.Module
    to_a: nn.Module

    def __init__(self, config: Config, space: Space) -> None:
        super().__init__()
        for way in ways(config):
            self.add_module(f"to_{way}", build_translator(config.model, space, config.train.seed, way))

    def forward(self, pictures: Tensor, labels: Tensor | None = None) -> Tensor:
        """(n, C, H, W) in [-1, 1] -> the same."""
        translated: Tensor = self.to_b(pictures)
        return translated


class Critics(nn.Module):
    """Of each domain that is translated to."""

    b: nn.Module
    a: nn.Module

    def __init__(self, config: Config, space: Space) -> None:
        super().__init__()
        for way in ways(config):
            self.add_module(way, build_patch_discriminator(config.model, space, config.train.seed, way))


class Players(Roster):
    """``generator``: all translators, averaged; ``discriminator``: all critics; and who moves with the translators."""

    def __init__(self, config: Config, space: Space, world: World) -> None:
        self.translators = Translators(config, space).to(world.device)
        self.critics = Critics(config, space).to(world.device)
        others = self._others(config, world)
        self.movers = ("generator", *others)
        players = {  # several forwards per backward: gradients are averaged by hand
            "generator": Player(self.translators, "generator_lr", averaged=True),
            **others,
            "discriminator": Player(self.critics, "discriminator_lr"),
        }
        super().__init__(players, config, world)

    def _others(self, config: Config, world: World) -> dict[str, Player]:
        return {}


class Pooling(Players):
    """CycleGAN's, and the pools of translations."""

    def __init__(self, config: Config, space: Space, world: World) -> None:
        super().__init__(config, space, world)
        self.pools = {domain: torch.zeros(0, *space.shape, device=world.device) for domain in ("b", "a")}

    @property
    def pairs(self) -> tuple[Pair, Pair]:
        """The translators and the critics, as a step takes them."""
        return Pair(self.translators.to_b, self.translators.to_a), Pair(self.critics.b, self.critics.a)

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """All state as named tensors, a group per file of a checkpoint."""
        return super().tensors() | {"pool": dict(self.pools)}

    def load(self, tensors: dict[str, dict[str, Tensor]]) -> None:
        """Takes the state that ``tensors`` gave."""
        super().load(tensors)
        self.pools = {domain: tensors["pool"][domain].to(self.world.device) for domain in self.pools}


class Translation(Game):
    """A training on two domains. A method adds its players and how translators learn."""

    roster: ClassVar[type[Players]]
    players: Players

    def __init__(self, config: Config, data: Dataset, world: World) -> None:
        found = problems(config, world.size, world.device.type == "cuda")
        found += data_problems(config, len(data), data.space.classes, data.unlabelled) + source_problems(config, data)
        refuse(list(dict.fromkeys(found)))
        assert data.source is not None
        super().__init__(config, world)
        self.loss: Loss = lookup(LOSSES, config.train.loss, "train.loss")
        self.weights = config.translate.weights
        seed, batch = config.train.seed, config.train.batch_size
        self.domains = {"a": data.source.train.to(world.device), "b": data.train.to(world.device)}
        self.orders = {"a": data.source.order(batch, key(seed, "source")), "b": data.order(batch, seed)}
        self.players = self.roster(config, data.space, world)

    def step(self) -> None:
        """Shows a global batch of each domain: first the translators move, then the critics, by what these made."""
        number, players = self.images // self.settings.batch_size, self.players
        real = {domain: self._real(domain, number) for domain in self.domains}
        watched = {name: self._watched(name, number, since=1) for name in ("generator", "discriminator")}
        before = {name: players.weights(name) for name, looked in watched.items() if looked}
        moved = [one for name in players.movers for one in players.updaters[name].parameters]
        with players.precision():
            made, terms = self._translate(real["a"], real["b"], moved, number)
        norm, *_ = [players.update(name, self.images, watched.get(name, False)) for name in players.movers]
        signals = {} if norm is None else {"generator_gradient_norm": norm, **terms}
        seen = {domain: self._seen(domain, pictures, number) for domain, pictures in made.items()}
        with players.precision():
            judged = [
                critic_step(getattr(players.critics, of), real[of], seen[of], self.loss, self._r1(number))
                for of in made
            ]
        norm = players.update("discriminator", self.images, watched["discriminator"])
        self.images += self.settings.batch_size
        if norm is not None:
            means = {name: torch.stack([one[name] for one in judged]).mean() for name in judged[0]}
            signals |= {"discriminator_gradient_norm": norm, **means}
        if before:
            self.tally.add(signals | players.movement(before))

    @abstractmethod
    def _translate(
        self, a: Tensor, b: Tensor, moved: list[Tensor], number: int
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Accumulates the gradients of ``moved``; returns translations by their domain, and the terms of the loss."""

    def _seen(self, domain: str, made: Tensor, number: int) -> Tensor:
        """What the critic of a domain sees of the translations to it."""
        return made

    def _real(self, domain: str, number: int) -> Tensor:
        return self._shown(self.domains[domain], self.orders[domain], number).floats()

    def _r1(self, number: int) -> float:
        return self.settings.r1_gamma * self._penalty_factor(number)


class CycleTraining(Translation):
    """Translators and critics both ways, and a pool for each critic."""

    losses = ("generator", "discriminator", "adversarial", "cycle", "identity")
    roster = Pooling
    players: Pooling

    def _translate(
        self, a: Tensor, b: Tensor, moved: list[Tensor], number: int
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        to, critics = self.players.pairs
        made = translators_step(to, critics, a, b, self.loss, self.weights, moved)
        return {"b": made.as_b, "a": made.as_a}, made.terms

    def _seen(self, domain: str, made: Tensor, number: int) -> Tensor:
        """This rank's share: the pool is of the global batch, and the same on every rank."""
        batch, pools = self.settings.batch_size, self.players.pools
        dice = torch.rand(batch, 2, generator=stream(self.settings.seed, number, "pool", domain), dtype=torch.float64)
        everybodys = self.world.all_gather(made.float())
        seen, pools[domain] = pooled(pools[domain], everybodys, self.config.translate.pool, dice)
        return seen[self.world.part(batch)]
