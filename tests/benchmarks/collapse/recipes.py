"""Which trainings the labelled set consists of: ways to train well, and many different ways to fail.

Causes are split into a development and a held-out group. Thresholds of trainers/health.py are chosen on the first only;
both groups have recipes of their own for healthy runs. What became of a run is measured (truth.py), never assumed: a
cause may fail to do harm.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from trainers.config import Config
from trainers.data import Order
from trainers.loop import Run

REPORTS = 12
STEPS = {"ring": 1000, "grid": 1500, "digits": 1000, "stacked-digits": 600}
BATCH = {"ring": 128, "grid": 128, "digits": 64, "stacked-digits": 64}

POINTS = {"generator": "mlp", "discriminator": "mlp", "width": 64, "depth": 3, "growth": 1, "latent_dim": 2}
PICTURES = {"generator": "dcgan", "discriminator": "dcgan", "width": 8, "latent_dim": 32}
MODEL: dict[str, dict[str, Any]] = {"ring": POINTS, "grid": POINTS, "digits": PICTURES, "stacked-digits": PICTURES}

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
        training = run.training
        training.settings = training.settings.model_copy(update=settings)
        training.players.config = training.players.config.model_copy(update={"train": training.settings})

    return act


def keep_few(run: Run) -> None:
    """The training data lose all but a quarter of their classes or modes; what they are compared with does not."""
    rows, space = run.data.train, run.data.space
    data = rows[torch.arange(len(rows))]
    if space.centers:
        kept = torch.cdist(data.values, torch.tensor(space.centers)).argmin(1) < len(space.centers) // 4
    else:
        assert data.labels is not None
        kept = data.labels < space.classes // 4
    training = run.training
    training.examples = data[kept.nonzero()[:, 0]]
    training.order = Order(int(kept.sum()), training.settings.batch_size, 0)


def on_generator_gradients(f: Callable[[Tensor], Tensor]) -> Act:
    """The generator's gradients pass through ``f`` from now on."""

    def act(run: Run) -> None:
        for parameter in run.training.players.generator.parameters():
            parameter.register_hook(f)  # type: ignore[no-untyped-call]

    return act


def ignore_latents(run: Run) -> None:
    """The generator's first layer no longer sees its input: one picture for all latents, though it may still learn."""
    first = next(p for p in run.training.players.generator.parameters() if p.ndim > 1)
    first.data.zero_()
    first.register_hook(torch.zeros_like)  # type: ignore[no-untyped-call]


HEALTHY = {
    "healthy: non-saturating, R1": Recipe("dev", {"loss": "non_saturating", "r1_gamma": 0.1}),
    "healthy: relativistic, R1 + R2": Recipe("dev", {"loss": "relativistic", "r1_gamma": 0.05, "r2_gamma": 0.05}),
    "healthy: least squares, R1": Recipe("dev", {"loss": "least_squares", "r1_gamma": 0.1}),
    "healthy: hinge, R1": Recipe("held-out", {"loss": "hinge", "r1_gamma": 0.1}),
    "healthy: Wasserstein, GP": Recipe("held-out", {"loss": "wasserstein", "gp_lambda": 1.0, "n_dis": 2, "beta1": 0.0}),
    "healthy: relativistic, R1, packed": Recipe("held-out", {"loss": "relativistic", "r1_gamma": 0.1, "packing": 2}),
    "healthy: non-saturating, R1 + R2, slow": Recipe(
        "held-out", {"loss": "non_saturating", "r1_gamma": 0.1, "r2_gamma": 0.1, "generator_lr": 5e-4}
    ),
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
        "dev", {"r1_gamma": 0.1}, act=on_generator_gradients(lambda g: g * torch.nan), at=0.6
    ),
    "Wasserstein without constraint": Recipe("dev", {"loss": "wasserstein", "discriminator_lr": 1e-2}),
    "generator 100 times slower": Recipe("held-out", {"generator_lr": 1e-5, "discriminator_lr": 2e-3}),
    "minimax, strong critic": Recipe("held-out", {"loss": "minimax", "discriminator_lr": 5e-3, "n_dis": 5}),
    "a quarter of the classes": Recipe("held-out", {"r1_gamma": 0.1}, act=keep_few),
    "one latent, no penalty": Recipe("held-out", {"generator_lr": 5e-3}, {"latent_dim": 1}),
    "tiny critic": Recipe("held-out", {"generator_lr": 1e-2}, {"discriminator_width": 2, "discriminator_depth": 1}),
    "late: penalty off, critic fast": Recipe(
        "held-out", {"r1_gamma": 0.1}, act=change(r1_gamma=0.0, discriminator_lr=3e-2, generator_lr=2e-2), at=0.4
    ),
    "late: gradients overflow in half precision": Recipe(
        "held-out",
        {"r1_gamma": 0.1},
        act=on_generator_gradients(lambda g: (g * 2.0**24).half().float() / 2.0**24),
        at=0.3,
    ),
    "late: classes lost": Recipe("held-out", {"r1_gamma": 0.1}, act=keep_few, at=0.5),
    "hinge, no penalty, momentum": Recipe(
        "held-out", {"loss": "hinge", "beta1": 0.9, "generator_lr": 1e-2, "discriminator_lr": 1e-2}
    ),
}
RECIPES = HEALTHY | FAILING


def configuration(data: str, recipe: Recipe, seed: int) -> Config:
    """The settings of one run; rates vary by half to twice with the seed, so that no two runs are the same."""
    jitter = random.Random(f"{data} {recipe.train} {seed}")
    base = {"generator_lr": 1e-3, "discriminator_lr": 1e-3, "beta1": 0.0, "beta2": 0.99}
    train: dict[str, Any] = base | recipe.train
    for name in ("generator_lr", "discriminator_lr"):
        train[name] *= 2 ** jitter.uniform(-1, 1)
    images = STEPS[data] * BATCH[data]
    train |= {"images": images, "batch_size": BATCH[data], "seed": seed, "ema_half_life": 2_000}
    model = MODEL[data] | {"discriminator_width": MODEL[data]["width"] * recipe.critic} | recipe.model
    measures = ["fid", "mind", "coverage", "diversity"]
    return Config.model_validate(
        {
            "data": {"name": data},
            "model": model,
            "train": train,
            "evaluate": {"every_images": images // REPORTS, "samples": 1000, "metrics": measures},
            "health": {"stop": "never"},
        }
    )
