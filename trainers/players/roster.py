"""Who plays, with what moves each player and averages it: everything that a training step changes."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

from trainers.config import Config, Train
from trainers.players import ema
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


class Player(NamedTuple):
    """A network, by whose setting it learns, and whether an average of it is kept. With ``by_hand`` its gradients are
    averaged over the ranks after the backward, instead of by a DDP wrapper: where there are several forwards per
    backward, double backward, or parameters without a gradient.
    """

    network: nn.Module
    rate: Literal["generator_lr", "discriminator_lr"]
    averaged: bool = False
    by_hand: bool = True


class Roster:
    """Players by name, as many as a family has. ``networks`` are plain, ``wrapped`` are those to run where gradients
    are wanted; an average is a network in eval mode that follows its player's weights, and copies its buffers.
    """

    def __init__(self, players: Mapping[str, Player], config: Config, world: World) -> None:
        self.config, self.world, train = config, world, config.train
        self.networks = {name: player.network for name, player in players.items()}
        averaged = {name: copy.deepcopy(player.network) for name, player in players.items() if player.averaged}
        self.averages = {name: network.requires_grad_(False).eval() for name, network in averaged.items()}
        self.wrapped = {n: p.network if p.by_hand else world.wrap(p.network) for n, p in players.items()}
        self.updaters = {n: Updater(p.network, self.wrapped[n], train, world) for n, p in players.items()}
        self._rate = {name: player.rate for name, player in players.items()}
        self.averaged: dict[str, list[Tensor]] = {}
        for name, network in self.averages.items():
            weights = dict(network.named_parameters())
            self.averaged[name] = [weights[each] for each in self.updaters[name].values]
        self._buffers = {
            name: (list(average.buffers()), list(self.networks[name].buffers()))
            for name, average in self.averages.items()
            if next(average.buffers(), None) is not None
        }

    def precision(self) -> torch.autocast:
        """The context in which networks run forward."""
        return torch.autocast(self.world.device.type, torch.bfloat16, enabled=self.config.train.precision == "bf16")

    def update(self, name: str, images: int, watched: bool) -> Tensor | None:
        """Moves a player along its gradient, and its average after it; returns the gradient's norm where it is
        ``watched``.
        """
        updater = self.updaters[name]
        norm = updater.update(self.rate(name, images), watched)
        if name in self.averaged:
            ema.update(self.averaged[name], updater.parameters, self.keep(images))
            if name in self._buffers:  # batch statistics
                torch._foreach_copy_(*self._buffers[name])
        return norm

    def weights(self, name: str) -> list[Tensor]:
        """Copies of a player's parameters."""
        return [value.clone() for value in self.updaters[name].values.values()]

    def movement(self, before: dict[str, list[Tensor]]) -> dict[str, Tensor]:
        """How far players are from what they were ``before``, over the norm of their weights."""
        moved = {}
        for name, earlier in before.items():
            now = list(self.updaters[name].values.values())
            moved[f"{name}_update_ratio"] = _norm(torch._foreach_sub(now, earlier)) / _norm(now)
        return moved

    def parameters(self) -> Iterator[Tensor]:
        """The weights of all players and averages."""
        for network in (*self.networks.values(), *self.averages.values()):
            yield from network.parameters()

    def sizes(self) -> dict[str, int]:
        """How many values of each network are trained."""
        return {name: sum(p.numel() for p in one.parameters) for name, one in self.updaters.items()}

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """All state as named tensors, a group per file of a checkpoint."""
        return {
            **{name: dict(network.state_dict()) for name, network in self.networks.items()},
            **{f"{name}_ema": dict(average.state_dict()) for name, average in self.averages.items()},
            "optimisers": {n: t for name, updater in self.updaters.items() for n, t in updater.tensors(name).items()},
        }

    def load(self, tensors: dict[str, dict[str, Tensor]]) -> None:
        """Takes the state that ``tensors`` gave."""
        for name, network in self.networks.items():
            network.load_state_dict(tensors[name])
        for name, average in self.averages.items():
            average.load_state_dict(tensors[f"{name}_ema"])
        for name, updater in self.updaters.items():
            updater.load(name, tensors["optimisers"])

    def keep(self, images: int) -> float:
        """The share of an average that a step leaves."""
        train = self.config.train
        now = half_life(images, train.ema_half_life, train.ema_ramp)
        return ema.decay(now, train.batch_size * train.n_dis)

    def rate(self, name: str, images: int) -> float:
        """A player's learning rate."""
        train = self.config.train
        rate: float = getattr(train, self._rate[name])
        return rate * share(train.lr_schedule, train.lr_final, images / train.images)


def _norm(tensors: Sequence[Tensor]) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(tuple(tensors))))
    return norm
