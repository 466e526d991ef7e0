"""What every training with players is, whatever the order of their moves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from trainers.config import Config, Train
from trainers.data import Examples, Order, Rows
from trainers.models.parts import at_rest
from trainers.players.roster import Roster
from trainers.players.tally import BROKEN, WATCHED_STEPS, Tally
from trainers.schedule import share
from trainers.world import World, sent


class Game:
    """Players and a clock: ``images`` shown, of which step, epoch, schedules and every random number are functions.

    A family adds ``step``. What it adds to the tally under one of ``losses`` is told as a loss, all else as a signal.
    """

    losses: tuple[str, ...] = ("generator", "discriminator")
    interval = 1
    """Only after every so many steps does ``tensors`` hold the whole state on every rank."""
    players: Roster
    critic: nn.Module | None = None
    """A family's own, where it has one."""

    def __init__(self, config: Config, world: World) -> None:
        self.config, self.settings, self.world = config, config.train, world
        self.tally = Tally()
        self.images = 0

    @property
    def sampler(self) -> nn.Module:
        """The network to judge and keep, in eval mode: the average of the player called generator."""
        return self.players.averages["generator"]

    @contextmanager
    def plain(self) -> Iterator[nn.Module | None]:
        """The network behind the average, in eval mode; None where there is no average that may differ from it."""
        if not self.settings.ema_half_life:
            yield None
            return
        with at_rest(self.players.networks["generator"]) as generator:
            yield generator

    def retune(self, settings: Train) -> None:
        """Goes on with other settings of training, the same networks and data."""
        self.settings = settings
        self.players.config = self.players.config.model_copy(update={"train": settings})

    def means(self) -> tuple[dict[str, float], dict[str, float]]:
        """Losses and signals since the last call, averaged over steps and ranks.

        A value that is not finite stays in Adam's moments and so in the weights: if no look fell on it, these tell.
        """
        values = self.tally.read(self.world)
        if not torch.stack(torch._foreach_norm(tuple(self.parameters()), torch.inf)).isfinite().all():
            values[BROKEN] = max(values.get(BROKEN, 0.0), 1.0)
        losses = {name: values.pop(name) for name in self.losses if name in values}
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
        """The weights of all players and averages."""
        return self.players.parameters()

    def sizes(self) -> dict[str, int]:
        """How many values of each network are trained."""
        return self.players.sizes()

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

    def _shown(self, examples: Rows, order: Order, number: int) -> Examples:
        """This rank's examples of step ``number``."""
        with self.world.pulse.working():
            batch = examples[order.rows(number, self.world)]
        if order.blocks:  # read from afar while this step computes
            examples.expect(order.rows(number + 1, self.world))
        return batch

    def _penalty_factor(self, number: int) -> float:
        """What the weights of gradient penalties are to be multiplied with in step ``number``; 0 between lazy ones."""
        settings = self.settings
        if number % settings.penalty_interval:
            return 0.0
        progress = self.images / settings.images
        return settings.penalty_interval * share(settings.penalty_schedule, settings.penalty_final, progress)

    def _mine(self, rows: Tensor) -> Tensor:
        """This rank's share of a global batch, on its device."""
        return sent(rows[self.world.part(len(rows))], self.world.device)
