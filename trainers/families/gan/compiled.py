"""A whole step of both players as one pure function, so that one compiled graph holds generation, forward, penalty,
double backward, Adam and moving average.

Same numbers as ``step.py`` up to rounding. Compiling costs half a minute and pays in long runs of small networks,
where dispatch takes as long as arithmetic. For networks without normalisation and examples without augmentation
(``check.py`` says so).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call, grad, grad_and_value

from trainers.errors import UnusableSettingError
from trainers.families.gan.players import Players
from trainers.families.gan.step import Judgement, View
from trainers.losses import Loss
from trainers.models.parts import has_batch_norm
from trainers.world import World, sent

Parameters = dict[str, Tensor]
Signals = dict[str, Tensor]


class Numbers(NamedTuple):
    """What schedules change from step to step. It enters the graph as a tensor: constants would be compiled anew."""

    r1_gamma: float
    r2_gamma: float
    discriminator_rate: float
    generator_rate: float
    forget: float


class CompiledStep:
    """Moves the players in place; the state stays theirs, so that a checkpoint does not know how steps were run."""

    def __init__(self, players: Players, loss: Loss, view: View, world: World) -> None:
        self.players, self.loss, self.view, self.world = players, loss, view, world
        self.generator, self.discriminator = (players.updaters[name].values for name in ("generator", "discriminator"))
        self._average = torch.compiler.disable(world.average)  # type: ignore[no-untyped-call]  # here a graph breaks
        for player in (players.generator, players.discriminator):
            if has_batch_norm(player):
                name = type(player).__name__
                raise UnusableSettingError(
                    f"train.compile: {name} has batch norm, which is not compiled; set it to false"
                )
        if world.device.type == "cpu" and not shutil.which(os.environ.get("CXX", "g++")):
            raise UnusableSettingError("train.compile: needs a C++ compiler (g++, or what CXX names); set it to false")
        cpp_wrapper = world.device.type == "cpu"  # calls from C++ cost less
        self._run: Callable[..., Signals] = torch.compile(
            self._step, fullgraph=world.size == 1, options={"cpp_wrapper": cpp_wrapper}
        )

    @torch.no_grad()
    def __call__(
        self, real: Tensor, labels: Tensor | None, latents: tuple[Tensor, Tensor | None], numbers: Numbers
    ) -> Signals:
        """One step on this rank's examples; ``latents`` are for the discriminator's and for the generator's move, if
        it moves.
        """
        penalised = numbers.r1_gamma > 0 or numbers.r2_gamma > 0
        return self._run(real, labels, *latents, sent(torch.tensor(numbers), real.device), penalised)

    def _step(
        self,
        real: Tensor,
        labels: Tensor | None,
        latents: Tensor,
        more_latents: Tensor | None,
        numbers: Tensor,
        penalised: bool,
    ) -> Signals:
        weights = numbers[:2] if penalised else None
        fake = functional_call(self.players.generator, self.generator, (latents, labels)).float()
        both = None if labels is None else torch.cat((labels, labels))
        examples = torch.cat((self.view(real), self.view(fake)))
        judge = grad_and_value(self._judge, has_aux=True)
        gradients, (_, judgement) = judge(self.discriminator, examples, both, weights)
        signals: Signals = judgement.signals(self._move("discriminator", gradients, numbers[2]))
        if more_latents is not None:
            gradients, value = grad_and_value(self._fool)(self.generator, more_latents, real, labels)
            norm = self._move("generator", gradients, numbers[3])
            for average, parameter in zip(self.players.averaged["generator"], self.generator.values(), strict=True):
                average.lerp_(parameter, numbers[4])
            signals |= {"generator": value, "generator_gradient_norm": norm}
        return signals

    def _judge(self, parameters: Parameters, examples: Tensor, labels: Tensor | None, weights: Tensor | None) -> Any:
        def total(inputs: Tensor) -> tuple[Tensor, Tensor]:
            logits = functional_call(self.players.discriminator, parameters, (inputs, labels)).float()
            return logits.sum(), logits

        if weights is None:
            penalty, logits = 0.0, total(examples)[1]
        else:
            slopes, logits = grad(total, has_aux=True)(examples)
            penalty = (weights * slopes.square().flatten(1).sum(1).view(2, -1).mean(1)).sum() / 2
        real_logits, fake_logits = logits.chunk(2)
        value = self.loss.discriminator(real_logits, fake_logits).mean()
        return value + penalty, Judgement(value, real_logits, fake_logits)

    def _fool(self, parameters: Parameters, latents: Tensor, real: Tensor, labels: Tensor | None) -> Tensor:
        made = functional_call(self.players.generator, parameters, (latents, labels))
        critic, frozen = self.players.discriminator, self.discriminator
        fake_logits = functional_call(critic, frozen, (self.view(made), labels)).float()
        paired = self.loss.paired
        real_logits = functional_call(critic, frozen, (self.view(real), labels)).float() if paired else fake_logits
        return self.loss.generator(real_logits, fake_logits).mean()

    def _move(self, player: str, gradients: Parameters, rate: Tensor) -> Tensor:
        """Adam along the gradient averaged over the ranks; returns its norm."""
        slopes = list(gradients.values())
        if self.world.size > 1:
            self._average(slopes)
        norm = torch.stack([slope.square().sum() for slope in slopes]).sum().sqrt()
        self.players.updaters[player].move(slopes, rate)
        return norm
