"""Ways in which runs of the held-out half fail: by their settings, or by what is done to them (``act``, from the share
``at`` of the images on).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from tests.benchmarks.collapse.plan import Act, gan
from trainers.data import Examples, Order
from trainers.loop import Run
from trainers.losses import LOSSES

FREE: dict[str, Any] = {"loss": "non_saturating", "r1_gamma": 0.0}
"""Nothing holds the critic back."""
HELD: dict[str, Any] = {"loss": "non_saturating", "r1_gamma": 0.1}
PAIR: dict[str, Any] = {"loss": "relativistic", "r1_gamma": 0.1, "r2_gamma": 0.1}


@dataclass(frozen=True)
class Failure:
    """Changes of settings; rates are multiples of what serves the data."""

    train: dict[str, Any] = field(default_factory=dict)
    generator: float = 1.0
    discriminator: float = 1.0
    model: dict[str, Any] = field(default_factory=dict)
    act: Act | None = None
    at: float = 0.0


def rates(generator: float, discriminator: float, **settings: Any) -> Act:
    """From now on both rates are so many times what they were, and other settings change too."""

    def act(run: Run) -> None:
        old = gan(run).settings
        new = {"generator_lr": old.generator_lr * generator, "discriminator_lr": old.discriminator_lr * discriminator}
        run.training.retune(old.model_copy(update=new | settings))

    return act


def loss(name: str, discriminator: float) -> Act:
    """Another loss, no penalty, and a faster critic."""

    def act(run: Run) -> None:
        gan(run).loss = LOSSES[name]
        rates(1.0, discriminator, r1_gamma=0.0, r2_gamma=0.0)(run)

    return act


def betas(beta1: float, beta2: float) -> Act:
    """Adam's memory changes in both players."""

    def act(run: Run) -> None:
        for updater in gan(run).players.updaters.values():
            updater.optimiser.param_groups[0]["betas"] = (beta1, beta2)

    return act


def gradients(player: str, change: Callable[[Tensor, Tensor], Tensor]) -> Act:
    """A player's gradients become ``change(gradient, parameter)``."""

    def act(run: Run) -> None:
        for parameter in getattr(gan(run).players, player).parameters():
            parameter.register_hook(lambda g, p=parameter: change(g, p.detach()))

    return act


def latents(change: Callable[[Tensor], Tensor]) -> Act:
    """The generator, and its average, see changed latents."""

    def act(run: Run) -> None:
        for network in (gan(run).players.generator, gan(run).players.average):
            network.register_forward_pre_hook(lambda _, inputs: (change(inputs[0]), *inputs[1:]))

    return act


def judged(change: Callable[[Tensor], Tensor]) -> Act:
    """The critic sees changed examples."""

    def act(run: Run) -> None:
        critic = gan(run).players.discriminator
        critic.register_forward_pre_hook(lambda _, inputs: (change(inputs[0]), *inputs[1:]))

    return act


def weights(player: str, change: Callable[[Tensor], Tensor]) -> Act:
    """A player's weights change once."""

    @torch.no_grad()
    def act(run: Run) -> None:
        for parameter in getattr(gan(run).players, player).parameters():
            parameter.copy_(change(parameter))

    return act


def first_rows(count: int) -> Act:
    """So many training examples are left."""

    def act(run: Run) -> None:
        _train_on(run, run.data.train[torch.arange(count)])

    return act


def one_class(run: Run) -> None:
    """The training data become one class or mode."""
    examples = run.data.train[torch.arange(len(run.data.train))]
    if run.data.space.centers:
        mine = torch.cdist(examples.values, torch.tensor(run.data.space.centers)).argmin(1) == 0
    else:
        assert examples.labels is not None
        mine = examples.labels == examples.labels[0]
    _train_on(run, examples[mine.nonzero()[:, 0]])


def blank(run: Run) -> None:
    """Every training example becomes the average one."""
    examples = run.data.train[torch.arange(len(run.data.train))]
    values = examples.floats()
    _train_on(run, replace(examples, values=values.mean(0, keepdim=True).expand_as(values).contiguous()))


def saturate(run: Run) -> None:
    """The generator's last bias is far out: tanh is flat there, and points start far away."""
    last = [m for m in gan(run).players.generator.modules() if isinstance(m, nn.Linear | nn.Conv2d)][-1]
    if last.bias is not None:
        last.bias.data.fill_(12.0)


def constant(run: Run) -> None:
    """The generator's last layer stays at zero, but for its bias."""
    last = [p for p in gan(run).players.generator.parameters() if p.ndim > 1][-1]
    last.data.zero_()
    last.register_hook(torch.zeros_like)  # type: ignore[no-untyped-call]


def both(*acts: Act) -> Act:
    """One after the other."""

    def act(run: Run) -> None:
        for each in acts:
            each(run)

    return act


def _train_on(run: Run, examples: Examples) -> None:
    training = gan(run)
    repeated = torch.arange(max(len(examples), training.settings.batch_size)) % len(examples)
    training.examples = examples[repeated]
    training.order = Order(len(repeated), training.settings.batch_size, 1)


def _noise(x: Tensor) -> Tensor:
    return x + 6 * torch.randn(x.shape)


FAILURES: dict[str, Failure] = {
    "critic 300 times slower, generator fast": Failure(FREE, 3.0, 1 / 100),
    "critic of six steps, ten times faster, minimax": Failure(
        {"loss": "minimax", "n_dis": 6}, 1.0, 10.0, {"discriminator_width": 128}
    ),
    "both rates a hundred times too high": Failure(FREE, 100.0, 100.0),
    "momentum .99 without penalty": Failure(FREE | {"beta1": 0.99, "beta2": 0.999}, 5.0, 5.0),
    "beta1 .95, beta2 .3": Failure(FREE | {"beta1": 0.95, "beta2": 0.3}, 3.0, 3.0),
    "last layer at zero": Failure(HELD, act=constant),
    "latents shrunk to nothing": Failure(PAIR, act=latents(lambda z: 1e-3 * z)),
    "generator's gradients vanish": Failure(HELD, act=gradients("generator", lambda g, p: 0 * g)),
    "generator 3,000 times slower": Failure(HELD, 1 / 3000, 1.0),
    "penalty 100,000 times too strong": Failure(HELD | {"r1_gamma": 1e4}),
    "critic of one tanh unit": Failure(
        FREE, 5.0, 1.0, {"discriminator_width": 1, "discriminator_depth": 1, "activation": "tanh"}
    ),
    "Wasserstein without constraint, momentum": Failure({"loss": "wasserstein", "beta1": 0.9}, 5.0, 5.0),
    "least squares, critic fifty times faster": Failure({"loss": "least_squares"}, 2.0, 50.0),
    "three training examples": Failure(HELD, act=first_rows(3)),
    "gradient penalty 10,000 times too strong": Failure({"loss": "wasserstein", "gp_lambda": 1e4}),
    "critic sees mostly noise": Failure(HELD, 3.0, 1.0, act=judged(_noise)),
    "generator's output saturated": Failure(FREE, 1.0, 5.0, act=saturate),
    "hinge, everything thirty times faster": Failure({"loss": "hinge", "beta1": 0.9}, 30.0, 30.0),
    "relativistic, generator fifty times faster": Failure({"loss": "relativistic"}, 50.0, 1.0),
    "critic's gradients vanish": Failure(FREE, 3.0, 1.0, act=gradients("discriminator", lambda g, p: 0 * g)),
    "first weights a hundredth, no penalty": Failure(
        {"loss": "minimax"}, 0.02, 10.0, act=weights("generator", lambda w: w / 100)
    ),
    "late: both rates times 200": Failure(HELD, act=rates(200.0, 200.0), at=0.5),
    "late: critic's weights zero and fixed": Failure(
        PAIR,
        3.0,
        act=both(weights("discriminator", torch.zeros_like), rates(1.0, 0.0)),
        at=0.3,
    ),
    "late: generator's weights decay": Failure(HELD, act=gradients("generator", lambda g, p: g + 10 * p), at=0.4),
    "late: one class left": Failure(PAIR, act=one_class, at=0.4),
    "late: latents constant": Failure(HELD, act=latents(torch.zeros_like), at=0.6),
    "late: weights times 50": Failure(HELD, act=weights("generator", lambda w: 50 * w), at=0.5),
    "late: betas .999 and .1": Failure(HELD, act=both(betas(0.999, 0.1), rates(5.0, 5.0)), at=0.4),
    "late: minimax, no penalty, critic fifty times faster": Failure(PAIR, act=loss("minimax", 50.0), at=0.4),
    "late: data blank": Failure(HELD, act=blank, at=0.5),
    "late: critic learns the contrary": Failure(HELD, act=gradients("discriminator", lambda g, p: -g), at=0.5),
    "late: penalty 1,000,000 times stronger": Failure(
        HELD, act=rates(10.0, 1.0, r1_gamma=1e5), at=0.3
    ),
    "late: generator's gradients become noise": Failure(
        HELD, act=both(gradients("generator", lambda g, p: torch.randn(g.shape)), rates(10.0, 1.0)), at=0.4
    ),
    "late: infinite gradient in the critic": Failure(
        HELD, act=gradients("discriminator", lambda g, p: g / 0), at=0.7
    ),
    "late: critic sees mostly noise": Failure(PAIR, 1.0, act=both(judged(_noise), rates(20.0, 1.0)), at=0.5),
}  # fmt: skip
