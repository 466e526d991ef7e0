"""The development half of the labelled set: rules and thresholds of trainers/health.py are chosen on these runs, and on
those of the earlier set (recipes.py, infra/results/collapse.parquet, where only the averaged generator was measured).

Trainings vary in what a user varies: pace, size, length, how often they are looked at, and what they learn from.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from tests.benchmarks.collapse.plan import Plan, settings
from tests.benchmarks.collapse.recipes import (
    change,
    ignore_latents,
    in_half_precision,
    keep_few,
    kill_units,
    on_gradients,
    one_for_most,
)

SIGNS = "tests.benchmarks.collapse.pictures:signs"
MLP = {"generator": "mlp", "discriminator": "mlp"}
GOOD: dict[str, dict[str, Any]] = {
    "non-saturating, R1": {"r1_gamma": 0.3},
    "hinge, R1": {"loss": "hinge", "r1_gamma": 0.3},
    "relativistic, R1 + R2": {"loss": "relativistic", "r1_gamma": 0.2, "r2_gamma": 0.2},
    "relativistic, R1": {"loss": "relativistic", "r1_gamma": 0.5},
    "least squares, R1": {"loss": "least_squares", "r1_gamma": 0.2},
    "Wasserstein, GP": {"loss": "wasserstein", "gp_lambda": 1.0, "n_dis": 2},
    "non-saturating, no penalty": {},
    "minimax, R1": {"loss": "minimax", "r1_gamma": 0.3},
    "relativistic, R1, packed": {"loss": "relativistic", "r1_gamma": 0.3, "packing": 2},
}


def _fits(steps: int, batch: int) -> int:
    return steps * batch


def paces() -> Iterator[Plan]:
    """Digits by MLPs at rates over two and a half decades, batches from 16 to 512, three sizes, any number of looks."""
    draw = random.Random("paces")
    for number in range(54):
        cause = draw.choice(list(GOOD))
        batch, rate = draw.choice([16, 32, 64, 64, 128, 256, 512]), 10 ** draw.uniform(-4.6, -2.3)
        width = draw.choice([64, 64, 128])
        # The lower the rate, the longer a user trains; a run of 1.5 to 6 ms a step takes 5 to 25 seconds.
        steps = int(min(14_000, max(1_500, 4.0 / rate)) * draw.uniform(0.5, 1.0) * (0.5 if batch > 128 else 1.0))
        train = GOOD[cause] | {
            "images": _fits(steps, batch),
            "batch_size": batch,
            "generator_lr": rate,
            "discriminator_lr": rate * draw.choice([0.5, 1, 1, 2]),
            "beta1": draw.choice([0.0, 0.0, 0.5]),
            "beta2": draw.choice([0.99, 0.999]),
            "lr_schedule": draw.choice(["constant", "constant", "cosine"]),
            "penalty_interval": draw.choice([1, 4]),
            "ema_half_life": draw.choice([500, 2_000, 10_000, 100_000]),
            "ema_ramp": draw.choice([0.0, 0.05, 0.05]),
            "seed": number,
        }
        model = MLP | {"width": width, "depth": draw.choice([1, 2, 3]), "latent_dim": draw.choice([16, 64])}
        model["conditional"] = train.get("packing", 1) == 1 and draw.random() < 0.15
        plan = settings({"name": "digits"}, model, train, draw.choice([5, 7, 10, 16, 16, 30, 60]))
        yield Plan("dev", f"pace: {cause}", number, plan)


def points() -> Iterator[Plan]:
    """Rings and grids by MLPs, slow and fast."""
    draw = random.Random("points")
    for number in range(20):
        cause = draw.choice([name for name in GOOD if name != "non-saturating, no penalty"])
        rate, batch = 10 ** draw.uniform(-4, -2.5), draw.choice([64, 128, 256])
        steps = int(min(8_000, max(1_500, 3.0 / rate)) * draw.uniform(0.5, 1.0))
        train = {name: value / 4 if "gamma" in name else value for name, value in GOOD[cause].items()}
        train |= {
            "images": _fits(steps, batch),
            "batch_size": batch,
            "generator_lr": rate,
            "discriminator_lr": rate,
            "beta1": 0.0,
            "beta2": 0.99,
            "lr_schedule": draw.choice(["constant", "cosine", "linear"]),
            "ema_half_life": draw.choice([1_000, 10_000, 50_000]),
            "seed": number,
        }
        model = MLP | {"width": draw.choice([64, 128]), "depth": 3, "growth": 1, "latent_dim": draw.choice([2, 8])}
        data = {"name": draw.choice(["ring", "grid"])}
        yield Plan("dev", f"points: {cause}", number, settings(data, model, train, draw.choice([6, 10, 16, 40])))


def pictures() -> Iterator[Plan]:
    """Colour pictures by every network."""
    draw = random.Random("pictures")
    kinds = ["mlp"] * 6 + ["dcgan"] * 5 + ["resnet"] * 3 + ["r3gan"] * 3
    for number, kind in enumerate(kinds):
        good = [n for n in GOOD if n not in ("non-saturating, no penalty", "Wasserstein, GP")]
        cause = draw.choice(good)
        rate = 10 ** (draw.uniform(-3.7, -2.7) if kind == "mlp" else draw.uniform(-3.2, -2.6))
        side = 32 if number in (6, 11, 14) else 16
        steps = draw.choice([2_500, 4_000]) if kind == "mlp" else 600 if side == 32 else 1_000
        train = GOOD[cause] | {
            "images": _fits(steps, 32),
            "batch_size": 32,
            "generator_lr": rate,
            "discriminator_lr": rate,
            "beta1": draw.choice([0.0, 0.5]),
            "beta2": 0.99,
            "penalty_interval": 2,
            "ema_half_life": draw.choice([500, 2_000, 10_000, 40_000]),
            "ema_ramp": draw.choice([0.0, 0.05, 0.05]),
            "augment": draw.choice([(), (), ("color", "translation")]),
            "seed": number,
        }
        depth = {"mlp": 2, "dcgan": 1}.get(kind, 1)
        width = {"mlp": 64, "dcgan": 4 if side == 32 else 8}.get(kind, 8)
        model = {"generator": kind, "discriminator": kind, "width": width, "depth": depth, "latent_dim": 32}
        model["conditional"] = train.get("packing", 1) == 1 and draw.random() < 0.3
        data = {"name": SIGNS, "resolution": side}
        yield Plan("dev", f"{kind}: {cause}", number, settings(data, model, train, draw.choice([5, 8, 10])))


FAILING: dict[str, dict[str, Any]] = {
    "critic a hundred times faster": {"generator_lr": 2e-5, "discriminator_lr": 4e-3},
    "critic without penalty, twice as wide, five steps": {"discriminator_lr": 5e-3, "n_dis": 5},
    "momentum .95": {"beta1": 0.95, "beta2": 0.9, "generator_lr": 5e-3, "discriminator_lr": 2e-3},
    "generator thirty times faster": {"generator_lr": 3e-2, "discriminator_lr": 1e-3},
    "both far too fast": {"generator_lr": 5e-2, "discriminator_lr": 5e-2},
    "hinge, no penalty, momentum": {"loss": "hinge", "beta1": 0.9, "generator_lr": 1e-2, "discriminator_lr": 1e-2},
    "minimax, strong critic": {"loss": "minimax", "discriminator_lr": 5e-3, "n_dis": 5},
    "tiny critic": {"generator_lr": 5e-3},
    "latents ignored": {"r1_gamma": 0.2},
    "a quarter of the classes": {"r1_gamma": 0.2},
    "late: rates times 50": {"r1_gamma": 0.2},
    "late: penalty off, both fast": {"r1_gamma": 0.2},
    "late: units die": {"r1_gamma": 0.2},
    "late: one example for most": {"r1_gamma": 0.2},
    "late: gradients overflow": {"r1_gamma": 0.2},
    "late: critic frozen": {"r1_gamma": 0.2},
}
ACTS: dict[str, Any] = {
    "latents ignored": (ignore_latents, 0.0),
    "a quarter of the classes": (keep_few, 0.0),
    "late: rates times 50": (change(generator_lr=5e-2, discriminator_lr=5e-2), 0.5),
    "late: penalty off, both fast": (change(r1_gamma=0.0, discriminator_lr=3e-2, generator_lr=2e-2), 0.4),
    "late: units die": (kill_units, 0.4),
    "late: one example for most": (one_for_most, 0.5),
    "late: gradients overflow": (on_gradients("generator", in_half_precision), 0.3),
    "late: critic frozen": (change(discriminator_lr=0.0), 0.4),
}


def failures() -> Iterator[Plan]:
    """Ways to fail, on pictures and digits, at several lengths and paces of looking."""
    draw = random.Random("failures")
    for cause, changes in FAILING.items():
        for number, where in enumerate(["digits", SIGNS, "ring"]):
            batch, steps = draw.choice([32, 64, 128]), draw.choice([1_500, 3_000, 5_000])
            base = {"generator_lr": 1e-3, "discriminator_lr": 1e-3, "beta1": 0.0, "beta2": 0.99}
            train = (
                base
                | changes
                | {
                    "images": _fits(steps if where != SIGNS else min(steps, 2_500), batch),
                    "batch_size": batch,
                    "ema_half_life": draw.choice([500, 2_000, 10_000]),
                    "ema_ramp": draw.choice([0.0, 0.05]),
                    "seed": number,
                }
            )
            model = MLP | {"width": 64, "depth": 2, "latent_dim": 16 if where != "ring" else 2}
            if cause.startswith("tiny"):
                model |= {"discriminator_width": 2, "discriminator_depth": 1}
            if "twice as wide" in cause:
                model |= {"discriminator_width": 128}
            act, at = ACTS.get(cause, (None, 0.0))
            data = {"name": where, "resolution": 16 if where == SIGNS else 8}
            looks = draw.choice([6, 10, 16] if where == SIGNS else [8, 16, 30, 60])
            yield Plan("dev", f"failing: {cause}", number, settings(data, model, train, looks), act, at)


def unmoved() -> Iterator[Plan]:
    """The three trainings of digits that an earlier verdict ended at a tenth of what they then learned in."""
    base = {"penalty_interval": 4, "beta2": 0.99, "ema_half_life": 5_000, "ema_ramp": 0.0}
    model = MLP | {"latent_dim": 64, "width": 128, "depth": 2}
    for number, images, every, changes in (
        (3, 600_000, 30_000, {}),
        (4, 1_200_000, 30_000, {"loss": "hinge", "r1_gamma": 0.5, "generator_lr": 5e-5, "discriminator_lr": 5e-5}),
        (
            5,
            2_400_000,
            30_000,
            {
                "loss": "relativistic",
                "r1_gamma": 0.5,
                "batch_size": 512,
                "generator_lr": 3e-4,
                "discriminator_lr": 3e-4,
            },
        ),
    ):
        train = base | {"images": images, "batch_size": 64, "seed": number} | changes
        yield Plan("dev", "slow digits", number, settings({"name": "digits"}, model, train, images // every))


PLANS = [*unmoved(), *random.Random(0).sample(every := [*paces(), *points(), *pictures(), *failures()], len(every))]
