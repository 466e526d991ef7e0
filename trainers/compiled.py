"""The two steps as pure functions of parameters, so that one compiled graph holds forward, penalty and double backward.

Same numbers as ``trainers.step`` up to rounding. Compiling costs tens of seconds and pays in long runs of small
networks, where dispatch takes as long as arithmetic. For networks without normalisation and examples without
augmentation (``trainers.check`` says so).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, grad_and_value

from trainers.losses import Loss
from trainers.step import Judgement, Penalties

Parameters = dict[str, Tensor]


class CompiledSteps:
    """Gradients of both players, left in ``parameter.grad`` like backward would."""

    def __init__(self, generator: nn.Module, discriminator: nn.Module, loss: Loss) -> None:
        self.generator, self.discriminator, self.loss = generator, discriminator, loss
        self._plain: Callable[..., Any] = torch.compile(grad_and_value(self._judge, has_aux=True))
        self._penalised: Callable[..., Any] = torch.compile(grad_and_value(self._judge_penalised, has_aux=True))
        self._generator: Callable[..., Any] = torch.compile(grad_and_value(self._fool))

    def discriminator_step(self, real: Tensor, fake: Tensor, labels: Tensor | None, penalties: Penalties) -> Judgement:
        """As ``penalised_discriminator_step``, on examples that are packed already."""
        parameters = _detached(self.discriminator)
        if penalties.r1_gamma or penalties.r2_gamma:
            weights = real.new_tensor(
                [penalties.r1_gamma, penalties.r2_gamma]
            )  # a tensor: a schedule must not recompile
            gradients, (_, judgement) = self._penalised(parameters, real, fake, labels, weights)
        else:
            gradients, (_, judgement) = self._plain(parameters, real, fake, labels)
        _keep(self.discriminator, gradients)
        return Judgement(*judgement)

    def generator_step(self, latents: Tensor, real: Tensor, labels: Tensor | None, packing: int) -> Tensor:
        """As ``generator_step``."""
        frozen = _detached(self.discriminator)
        gradients, value = self._generator(_detached(self.generator), frozen, latents, real, labels, packing)
        _keep(self.generator, gradients)
        return value  # type: ignore[no-any-return]

    def _judge(self, parameters: Parameters, real: Tensor, fake: Tensor, labels: Tensor | None) -> Any:
        both = None if labels is None else torch.cat((labels, labels))
        logits = functional_call(self.discriminator, parameters, (torch.cat((real, fake)), both))
        real_logits, fake_logits = logits.chunk(2)
        value = self.loss.discriminator(real_logits, fake_logits).mean()
        return value, (value, real_logits, fake_logits)

    def _judge_penalised(
        self, parameters: Parameters, real: Tensor, fake: Tensor, labels: Tensor | None, weights: Tensor
    ) -> Any:
        both = None if labels is None else torch.cat((labels, labels))

        def total(examples: Tensor) -> tuple[Tensor, Tensor]:
            logits = functional_call(self.discriminator, parameters, (examples, both))
            return logits.sum(), logits

        gradients, logits = grad(total, has_aux=True)(torch.cat((real, fake)))
        real_norms, fake_norms = gradients.square().flatten(1).sum(1).chunk(2)
        real_logits, fake_logits = logits.chunk(2)
        value = self.loss.discriminator(real_logits, fake_logits).mean()
        penalty = (weights[0] * real_norms.mean() + weights[1] * fake_norms.mean()) / 2
        return value + penalty, (value, real_logits, fake_logits)

    def _fool(
        self,
        parameters: Parameters,
        frozen: Parameters,
        latents: Tensor,
        real: Tensor,
        labels: Tensor | None,
        packing: int,
    ) -> Tensor:
        made = functional_call(self.generator, parameters, (latents, labels))
        packs = made.reshape(len(made) // packing, -1, *made.shape[2:])
        fake_logits = functional_call(self.discriminator, frozen, (packs, labels))
        paired = self.loss.paired
        real_logits = functional_call(self.discriminator, frozen, (real, labels)) if paired else fake_logits
        return self.loss.generator(real_logits, fake_logits).mean()


def _detached(network: nn.Module) -> Parameters:
    return {name: parameter.detach() for name, parameter in network.named_parameters()}


def _keep(network: nn.Module, gradients: Parameters) -> None:
    for name, parameter in network.named_parameters():
        parameter.grad = gradients[name]
