"""CUT among trainings (Park 2020): one translator, one critic, and what makes vectors of the translator's layers."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from trainers.config import Config
from trainers.data import Dataset, Space
from trainers.families.translate.contrast import translator_step
from trainers.families.translate.step import critic_step
from trainers.families.translate.training import Critics, Translation, Translators
from trainers.models.translators import ResnetTranslator
from trainers.players.roster import Player, Roster
from trainers.randomness import key, stream
from trainers.world import World

WIDTH = 256


class Projector(nn.Module):
    """A perceptron of two layers for each layer that is looked at (Park 2020, section 3)."""

    def __init__(self, channels: list[int], seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(key(seed, "projector"))
            self.heads = nn.ModuleList(
                nn.Sequential(nn.Linear(count, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH)) for count in channels
            )

    def forward(self, layers: list[Tensor], places: list[Tensor]) -> list[Tensor]:
        """(n, channels, h, w) each, and which of its h * w places -> (n, places, 256) of unit length."""
        picked = [layer.flatten(2)[..., of].transpose(1, 2) for layer, of in zip(layers, places, strict=True)]
        return [normalize(head(one), dim=-1) for head, one in zip(self.heads, picked, strict=True)]


class Players(Roster):
    """``generator``: the translator, averaged; ``projector``, which moves with it; ``discriminator``: the critic."""

    def __init__(self, config: Config, space: Space, world: World) -> None:
        self.translators = Translators(config, space).to(world.device)
        self.translator = cast(ResnetTranslator, self.translators.to_b)
        self.projector = Projector(self.translator.seen_channels, config.train.seed).to(world.device)
        self.critics = Critics(config, space).to(world.device)
        players = {  # several forwards per backward: gradients are averaged by hand
            "generator": Player(self.translators, "generator_lr", averaged=True),
            "projector": Player(self.projector, "generator_lr"),
            "discriminator": Player(self.critics, "discriminator_lr"),
        }
        super().__init__(players, config, world)


class CutTraining(Translation):
    """A translator from A to B, and the critic of B."""

    losses = ("generator", "discriminator", "adversarial", "contrast", "identity")
    players: Players

    def __init__(self, config: Config, data: Dataset, world: World) -> None:
        super().__init__(config, data, world)
        self.players = Players(config, data.space, world)

    def step(self) -> None:
        """Shows a global batch of each domain: first the translator and the projector move, then the critic."""
        number, players, translate = self.images // self.settings.batch_size, self.players, self.config.translate
        a, b = self._real("a", number), self._real("b", number)
        watched = {name: self._watched(name, number, since=1) for name in ("generator", "discriminator")}
        before = {name: players.weights(name) for name, looked in watched.items() if looked}
        moved = [one for name in ("generator", "projector") for one in players.updaters[name].parameters]

        def see(pictures: Tensor) -> list[Tensor]:
            layers = players.translator.seen(pictures)
            return cast(list[Tensor], players.projector(layers, self._places(layers, number)))

        with players.precision():
            critic, weights = players.critics.b, translate.weights
            made, terms = translator_step(
                players.translator, see, critic, a, b, self.loss, weights, translate.temperature, moved
            )
        norm = players.update("generator", self.images, watched["generator"])
        players.update("projector", self.images, watched=False)
        signals = {} if norm is None else {"generator_gradient_norm": norm, **terms}
        with players.precision():
            judged = critic_step(critic, b, made, self.loss, self._r1(number))
        norm = players.update("discriminator", self.images, watched["discriminator"])
        self.images += self.settings.batch_size
        if norm is not None:
            signals |= {"discriminator_gradient_norm": norm, **judged}
        if before:
            self.tally.add(signals | players.movement(before))

    def _places(self, layers: list[Tensor], number: int) -> list[Tensor]:
        """Of each layer, where it is looked at in this step: the same for all pictures, on every rank."""
        found = []
        for depth, layer in enumerate(layers):
            dice = stream(self.settings.seed, number, "places", depth)
            chosen = torch.randperm(layer.shape[2] * layer.shape[3], generator=dice)[: self.config.translate.patches]
            found.append(chosen.to(layer.device))
        return found
