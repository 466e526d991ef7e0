"""Ways in which runs of the second held-out half fail, and jolts from which they may recover.

As in held_out_failures.py: by their settings, or by what is done to them (``act``, from the share ``at`` of the images
on). What that module can do is used again here, with other settings.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from tests.benchmarks.collapse.held_out_failures import (
    FREE,
    Failure,
    _train_on,
    betas,
    both,
    first_rows,
    gradients,
    judged,
    latents,
    loss,
    rates,
    weights,
)
from tests.benchmarks.collapse.plan import Act, gan
from trainers.loop import Run
from trainers.randomness import normal, stream

HELD: dict[str, Any] = {"loss": "relativistic", "r1_gamma": 0.2}
HINGE: dict[str, Any] = {"loss": "hinge", "gp_lambda": 0.5}
SQUARES: dict[str, Any] = {"loss": "least_squares", "r1_gamma": 0.1}


def dead_units(player: str) -> Act:
    """Biases of the player's first layer go far down, where a rectifier lets nothing through."""

    @torch.no_grad()
    def act(run: Run) -> None:
        network = getattr(gan(run).players, player)
        layer = next(m for m in network.modules() if isinstance(m, nn.Linear | nn.Conv2d))
        assert layer.bias is not None
        layer.bias.fill_(-80)

    return act


def drowned(player: str, times: float) -> Act:
    """The player's gradients are drowned in noise, so many times as large."""

    def act(run: Run) -> None:
        source = stream(run.config.train.seed, "drowned")
        change = lambda g, _: g + times * g.std(correction=0) * torch.randn(g.shape, generator=source)  # noqa: E731
        gradients(player, change)(run)

    return act


def broken_weight(run: Run) -> None:
    """One weight of the generator is no number any more."""
    next(iter(gan(run).players.generator.parameters())).data.view(-1)[0] = torch.nan


def fresh_critic(run: Run) -> None:
    """The critic forgets what it knew: new weights, as large as the old ones."""
    for number, parameter in enumerate(gan(run).players.discriminator.parameters()):
        spread = float(parameter.data.std(correction=0))
        parameter.data.copy_(spread * normal(tuple(parameter.shape), run.config.train.seed, "fresh", number))


def shaken(share: float) -> Act:
    """Noise on the generator's weights, relative to the spread of each."""

    def act(run: Run) -> None:
        for number, parameter in enumerate(gan(run).players.generator.parameters()):
            noise = normal(tuple(parameter.shape), run.config.train.seed, "shaken", number)
            parameter.data.add_(share * parameter.data.std(correction=0) * noise)

    return act


def a_third(run: Run) -> None:
    """The training data lose two thirds of their classes or modes."""
    examples, space = run.data.train[torch.arange(len(run.data.train))], run.data.space
    if space.centers:
        mode, count = torch.cdist(examples.values, torch.tensor(space.centers)).argmin(1), len(space.centers)
    else:
        assert examples.labels is not None
        mode, count = examples.labels, space.classes
    _train_on(run, examples[(mode < count / 3).nonzero()[:, 0]])


def mixed(run: Run) -> None:
    """Every training example becomes the mean of sixteen."""
    examples = run.data.train[torch.arange(len(run.data.train))]
    values = examples.floats()
    _train_on(run, replace(examples, values=torch.stack([values.roll(17 * k, 0) for k in range(16)]).mean(0)))


def _batch_mean(x: Tensor) -> Tensor:
    return x.mean(0, keepdim=True).expand_as(x)


def _half(x: Tensor) -> Tensor:
    """The first coordinate of points; the left half of pictures."""
    seen = torch.zeros_like(x)
    half = x.shape[-1] // 2
    seen[..., :half] = x[..., :half]
    return seen


def _few_values(z: Tensor) -> Tensor:
    """Three latents in all."""
    return z[:, :1].round().clamp(-1, 1).expand_as(z)


def _mean_only(gradient: Tensor, _: Tensor) -> Tensor:
    return gradient.mean().expand_as(gradient)


FAILURES: dict[str, Failure] = {
    "generator of one unit": Failure(HELD, model={"width": 1, "discriminator_width": 48}),
    "critic of one layer, two units, a tenth of the rate": Failure(
        FREE, 10.0, 0.1, {"discriminator_width": 2, "discriminator_depth": 1}
    ),
    "R2 alone, 50,000 times too strong": Failure({"loss": "non_saturating", "r2_gamma": 1e4}),
    "Wasserstein, hardly a penalty, generator ten times faster": Failure(
        {"loss": "wasserstein", "gp_lambda": 1e-3}, 10.0, 2.0
    ),
    "critic's first units dead": Failure(FREE, model={"activation": "relu"}, act=dead_units("discriminator")),
    "three latents": Failure(HELD, act=latents(_few_values)),
    "generator's gradients averaged": Failure(SQUARES, act=gradients("generator", _mean_only)),
    "batches of two, twenty times too fast": Failure(FREE | {"batch_size": 2, "beta1": 0.5}, 20.0, 20.0),
    "spectral norm, generator a hundred times faster": Failure(
        {"loss": "hinge"}, 100.0, 1.0, {"discriminator_norm": "spectral"}
    ),
    "beta1 .98, beta2 0": Failure(FREE | {"beta1": 0.98, "beta2": 0.0}, 5.0, 5.0),
    "twenty steps of the critic for one": Failure({"loss": "minimax", "n_dis": 20}, 0.5, 3.0),
    "critic sees half of each example": Failure(HELD, act=judged(_half)),
    "critic sees the batch's mean": Failure(HINGE, 2.0, act=judged(_batch_mean)),
    "critic's weights decay": Failure(HELD, act=gradients("discriminator", lambda g, p: g + 30 * p)),
    "generator's gradients drowned": Failure(SQUARES, 5.0, act=drowned("generator", 30.0)),
    "average over ten million images, no ramp": Failure(HELD | {"ema_half_life": 1e7, "ema_ramp": 0.0}),
    "both rates 10,000 times too low": Failure(HINGE, 1e-4, 1e-4),
    "two training examples, wide critic": Failure(FREE, model={"discriminator_width": 128}, act=first_rows(2)),
    "late: generator's weights at zero": Failure(HELD, act=weights("generator", torch.zeros_like), at=0.5),
    "late: critic's first units die": Failure(
        FREE, 3.0, model={"activation": "relu"}, act=dead_units("discriminator"), at=0.4
    ),
    "late: three latents": Failure(SQUARES, act=latents(_few_values), at=0.6),
    "late: critic sees the batch's mean": Failure(HELD, 2.0, act=judged(_batch_mean), at=0.4),
    "late: beta1 .995, rates times ten, no penalty": Failure(
        HELD, act=both(betas(0.995, 0.999), rates(10.0, 10.0, r1_gamma=0.0)), at=0.5
    ),
    "late: generator 300 times faster": Failure(HINGE, act=rates(300.0, 1.0), at=0.3),
    "late: critic 300 times faster, no penalty": Failure(HELD, act=rates(1.0, 300.0, r1_gamma=0.0), at=0.6),
    "late: two thirds of the classes lost": Failure(HELD, act=a_third, at=0.3),
    "late: one weight no number": Failure(HINGE, act=broken_weight, at=0.7),
    "late: critic's weights overflow": Failure(SQUARES, act=weights("discriminator", lambda w: 1e20 * w), at=0.5),
    "late: hinge without penalty, critic a hundred times faster": Failure(HELD, 3.0, act=loss("hinge", 100.0), at=0.4),
    "late: generator's gradients averaged": Failure(HELD, act=gradients("generator", _mean_only), at=0.3),
    "late: examples mixed": Failure(HINGE, act=mixed, at=0.4),
}

JOLTS: dict[str, Failure] = {
    "jolt: generator's weights shaken": Failure(HELD, act=shaken(0.5), at=0.35),
    "jolt: critic forgets": Failure(SQUARES, act=fresh_critic, at=0.45),
    "jolt: generator's weights halved": Failure(HINGE, act=weights("generator", lambda w: w / 2), at=0.4),
}
"""Done once to a training that goes on: it may be well again at the end."""
