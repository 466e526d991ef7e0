"""Which trainings the labelled set consists of: ways to train well, and many different ways to fail.

Causes are split into a development and a held-out group, each with healthy recipes of its own. Rules and thresholds of
trainers/health.py are chosen on the first only: the held-out causes were written, and first run, after the thresholds
were committed. What became of a run is measured (truth.py), never assumed: a cause may fail to do harm.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from tests.benchmarks.collapse.plan import gan
from trainers.config import Config
from trainers.data import Order
from trainers.loop import Run

REPORTS = 16
STEPS = {"ring": 1500, "grid": 2000, "digits": 1500, "stacked-digits": 1500}
BATCH = {"ring": 128, "grid": 128, "digits": 64, "stacked-digits": 64}
# What healthy recipes need to keep nearly all modes within these steps.
RATE = {"ring": 1e-3, "grid": 1e-3, "digits": 1e-3, "stacked-digits": 2e-3}
MEASURES = ["fid", "mind", "coverage", "diversity", "duplicates"]

POINTS = {"generator": "mlp", "discriminator": "mlp", "width": 64, "depth": 3, "growth": 1, "latent_dim": 2}
PICTURES = {"generator": "dcgan", "discriminator": "dcgan", "width": 8, "latent_dim": 32}
STACKS = PICTURES | {"width": 16}
MODEL: dict[str, dict[str, Any]] = {"ring": POINTS, "grid": POINTS, "digits": PICTURES, "stacked-digits": STACKS}

Act = Callable[[Run], None]


@dataclass(frozen=True)
class Recipe:
    """Changes of settings, how many times the critic is as wide as the generator, and what is done to the run once
    the share ``at`` of its images is shown."""

    group: str
    train: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    critic: int = 1
    act: Act | None = None
    at: float = 0.0


def change(**settings: Any) -> Act:
    """From now on the training runs with other settings."""

    def act(run: Run) -> None:
        training = gan(run)
        training.settings = training.settings.model_copy(update=settings)
        training.players.config = training.players.config.model_copy(update={"train": training.settings})

    return act


def keep_few(run: Run) -> None:
    """The training data lose all but a quarter of their classes or modes; what they are compared with does not."""
    data, space = run.data.train[torch.arange(len(run.data.train))], run.data.space
    if space.centers:
        kept = torch.cdist(data.values, torch.tensor(space.centers)).argmin(1) < len(space.centers) // 4
    else:
        assert data.labels is not None
        kept = data.labels < space.classes // 4
    train_on(run, kept.nonzero()[:, 0])


def one_for_most(run: Run) -> None:
    """Nineteen of twenty training examples become the same one."""
    rows = torch.arange(len(run.data.train))
    train_on(run, torch.where(rows % 20 == 0, rows, 0))


def train_on(run: Run, rows: Tensor) -> None:
    """From now on the training data are these rows."""
    training = gan(run)
    training.examples = run.data.train[rows]
    training.order = Order(len(rows), training.settings.batch_size, 0)


def on_gradients(player: str, f: Callable[[Tensor], Tensor]) -> Act:
    """The player's gradients pass through ``f`` from now on."""

    def act(run: Run) -> None:
        for parameter in getattr(gan(run).players, player).parameters():
            parameter.register_hook(f)

    return act


def in_half_precision(gradient: Tensor) -> Tensor:
    """What a loss scale of 2**24 leaves of a gradient: all over .004 overflow."""
    return (gradient * 2.0**24).half().float() / 2.0**24


def ignore_latents(run: Run) -> None:
    """The generator's first layer no longer sees its input: one picture for all latents, though it may still learn."""
    first = next(p for p in gan(run).players.generator.parameters() if p.ndim > 1)
    first.data.zero_()
    first.register_hook(torch.zeros_like)  # type: ignore[no-untyped-call]


def kill_units(run: Run) -> None:
    """The generator's first hidden units all go far below zero, where a rectifier lets nothing through."""
    first = next(p for p in gan(run).players.generator.parameters() if p.ndim == 1)
    first.data.fill_(-100.0)


HEALTHY = {
    "healthy: non-saturating, R1": Recipe("dev", {"loss": "non_saturating", "r1_gamma": 0.1}),
    "healthy: relativistic, R1 + R2": Recipe("dev", {"loss": "relativistic", "r1_gamma": 0.05, "r2_gamma": 0.05}),
    "healthy: least squares, R1": Recipe("dev", {"loss": "least_squares", "r1_gamma": 0.1}),
    "healthy: hinge, R1": Recipe("dev", {"loss": "hinge", "r1_gamma": 0.1}),
    "healthy: Wasserstein, GP": Recipe("dev", {"loss": "wasserstein", "gp_lambda": 1.0, "n_dis": 2}),
    "healthy: relativistic, R1, packed": Recipe("dev", {"loss": "relativistic", "r1_gamma": 0.1, "packing": 2}),
    "healthy: non-saturating, R1 + R2, slow": Recipe(
        "dev", {"loss": "non_saturating", "r1_gamma": 0.1, "r2_gamma": 0.1, "generator_lr": 5e-4}
    ),
    "healthy: hinge, spectral norm": Recipe(
        "held-out", {"loss": "hinge", "beta2": 0.9}, {"discriminator_norm": "spectral"}
    ),
    "healthy: least squares, R1 + R2, lazy": Recipe(
        "held-out", {"loss": "least_squares", "r1_gamma": 0.1, "r2_gamma": 0.1, "penalty_interval": 4}
    ),
    "healthy: non-saturating, GP": Recipe("held-out", {"loss": "non_saturating", "gp_lambda": 1.0}),
    "healthy: relativistic, R1 + R2, cosine": Recipe(
        "held-out", {"loss": "relativistic", "r1_gamma": 0.1, "r2_gamma": 0.1, "lr_schedule": "cosine"}
    ),
    "healthy: non-saturating, R1, betas .5 .999": Recipe("held-out", {"r1_gamma": 0.2, "beta1": 0.5, "beta2": 0.999}),
    "healthy: minimax, R1, many latents": Recipe("held-out", {"loss": "minimax", "r1_gamma": 0.1}, {"latent_dim": 100}),
}
FAILING = {
    "generator 30 times faster": Recipe("dev", {"generator_lr": 3e-2, "discriminator_lr": 1e-3}),
    "both far too fast": Recipe("dev", {"generator_lr": 5e-2, "discriminator_lr": 5e-2}),
    "strong critic without penalty": Recipe("dev", {"discriminator_lr": 1e-2}, critic=2),
    "momentum 0.95": Recipe("dev", {"beta1": 0.95, "beta2": 0.9, "generator_lr": 1e-2}),
    "latents ignored": Recipe("dev", {"r1_gamma": 0.1}, act=ignore_latents),
    "late: both rates times 50": Recipe(
        "dev", {"r1_gamma": 0.1}, act=change(generator_lr=5e-2, discriminator_lr=5e-2), at=0.5
    ),
    "late: NaN in a gradient": Recipe(
        "dev", {"r1_gamma": 0.1}, act=on_gradients("generator", lambda g: g * torch.nan), at=0.6
    ),
    "Wasserstein without constraint": Recipe("dev", {"loss": "wasserstein", "discriminator_lr": 1e-2}),
    "generator 100 times slower": Recipe("dev", {"generator_lr": 1e-5, "discriminator_lr": 2e-3}),
    "minimax, strong critic": Recipe("dev", {"loss": "minimax", "discriminator_lr": 5e-3, "n_dis": 5}),
    "a quarter of the classes": Recipe("dev", {"r1_gamma": 0.1}, act=keep_few),
    "one latent, no penalty": Recipe("dev", {"generator_lr": 5e-3}, {"latent_dim": 1}),
    "tiny critic": Recipe("dev", {"generator_lr": 1e-2}, {"discriminator_width": 2, "discriminator_depth": 1}),
    "late: penalty off, critic fast": Recipe(
        "dev", {"r1_gamma": 0.1}, act=change(r1_gamma=0.0, discriminator_lr=3e-2, generator_lr=2e-2), at=0.4
    ),
    "late: gradients overflow in half precision": Recipe(
        "dev", {"r1_gamma": 0.1}, act=on_gradients("generator", in_half_precision), at=0.3
    ),
    "late: classes lost": Recipe("dev", {"r1_gamma": 0.1}, act=keep_few, at=0.5),
    "hinge, no penalty, momentum": Recipe(
        "dev", {"loss": "hinge", "beta1": 0.9, "generator_lr": 1e-2, "discriminator_lr": 1e-2}
    ),
    "betas .9 .5, no penalty": Recipe(
        "held-out", {"beta1": 0.9, "beta2": 0.5, "generator_lr": 5e-3, "discriminator_lr": 5e-3}
    ),
    "penalty 1,000 times too strong": Recipe("held-out", {"r1_gamma": 100.0}),
    "least squares, wide critic 20 times faster": Recipe(
        "held-out", {"loss": "least_squares", "discriminator_lr": 2e-2}, critic=2
    ),
    "critic of four steps, four times as wide": Recipe("held-out", {"n_dis": 4, "discriminator_lr": 5e-3}, critic=4),
    "one example for most": Recipe("held-out", {"r1_gamma": 0.1}, act=one_for_most),
    "late: critic frozen": Recipe("held-out", {"r1_gamma": 0.1}, act=change(discriminator_lr=0.0), at=0.4),
    "late: generator's units die": Recipe("held-out", {"r1_gamma": 0.1}, act=kill_units, at=0.3),
    "late: generator's gradient turned round": Recipe(
        "held-out", {"r1_gamma": 0.1}, act=on_gradients("generator", torch.neg), at=0.5
    ),
    "late: critic's gradients overflow in half precision": Recipe(
        "held-out", {"r1_gamma": 0.1}, act=on_gradients("discriminator", in_half_precision), at=0.4
    ),
    "late: rates times 20 with momentum, no penalty": Recipe(
        "held-out",
        {"r1_gamma": 0.1, "beta1": 0.9},
        act=change(r1_gamma=0.0, generator_lr=2e-2, discriminator_lr=2e-2),
        at=0.3,
    ),
}
RECIPES = HEALTHY | FAILING


def configuration(data: str, recipe: Recipe, seed: int, rewind: int = 0) -> Config:
    """The settings of one run; rates vary by half to twice with the seed, so that no two runs are the same."""
    jitter = random.Random(f"{data} {recipe.train} {seed}")
    base = {"generator_lr": RATE[data], "discriminator_lr": RATE[data], "beta1": 0.0, "beta2": 0.99}
    train: dict[str, Any] = base | recipe.train
    for name in ("generator_lr", "discriminator_lr"):
        train[name] *= 2 ** jitter.uniform(-1, 1)
    images = STEPS[data] * BATCH[data]
    train |= {"images": images, "batch_size": BATCH[data], "seed": seed, "ema_half_life": 2_000}
    model = MODEL[data] | {"discriminator_width": MODEL[data]["width"] * recipe.critic} | recipe.model
    return Config.model_validate(
        {
            "data": {"name": data},
            "model": model,
            "train": train,
            "evaluate": {"every_images": images // REPORTS, "samples": 1000, "metrics": MEASURES},
            "health": {"stop": "never", "rewind": rewind},
        }
    )
