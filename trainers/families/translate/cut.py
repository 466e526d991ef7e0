"""CUT among trainings (Park 2020): one translator, one critic, and what makes vectors of the translator's layers."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from trainers.config import Config
from trainers.families.translate.contrast import translator_step
from trainers.families.translate.training import Players, Translation
from trainers.models.translators import ResnetTranslator
from trainers.players.roster import Player
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


class Projecting(Players):
    """CUT's: a ``projector`` moves with the translator."""

    def _others(self, config: Config, world: World) -> dict[str, Player]:
        self.translator = cast(ResnetTranslator, self.translators.to_b)
        self.projector = Projector(self.translator.seen_channels, config.train.seed).to(world.device)
        return {"projector": Player(self.projector, "generator_lr")}


class CutTraining(Translation):
    """A translator from A to B, and the critic of B."""

    losses = ("generator", "discriminator", "adversarial", "contrast", "identity")
    roster = Projecting
    players: Projecting

    def _translate(
        self, a: Tensor, b: Tensor, moved: list[Tensor], number: int
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        players, temperature = self.players, self.config.translate.temperature

        def see(pictures: Tensor) -> list[Tensor]:
            layers = players.translator.seen(pictures)
            return cast(list[Tensor], players.projector(layers, self._places(layers, number)))

        made, terms = translator_step(
            players.translator, see, players.critics.b, a, b, self.loss, self.weights, temperature, moved
        )
        return {"b": made}, terms

    def _places(self, layers: list[Tensor], number: int) -> list[Tensor]:
        """Of each layer, where it is looked at in this step: the same for all pictures, on every rank."""
        found = []
        for depth, layer in enumerate(layers):
            dice = stream(self.settings.seed, number, "places", depth)
            chosen = torch.randperm(layer.shape[2] * layer.shape[3], generator=dice)[: self.config.translate.patches]
            found.append(chosen.to(layer.device))
        return found
