"""The held-out half of the labelled set: drawn from ranges by a seeded generator before anybody set a threshold.

Ways to learn are in ``learning`` (rates over three decades, batches of 16 to 512, short and long budgets); ways to fail
are in held_out_failures.py. What became of a run is measured (truth.py), never assumed.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

from tests.benchmarks.collapse.held_out_failures import FAILURES
from tests.benchmarks.collapse.plan import Plan, settings

Values = dict[str, Any]
Chance = random.Random
Kind = Callable[[Chance], tuple[Values, Values, Values, int]]
"""Draws data, model, train and how many evaluations."""

HERE = "tests.benchmarks.collapse.held_out_data:"
POINTS = ("ring", "ring", "grid", f"{HERE}spiral", f"{HERE}honeycomb", f"{HERE}pairs")
EASY = ("ring", "ring", "ring", f"{HERE}honeycomb", f"{HERE}honeycomb")
"""Those that are learned in few steps, for low rates."""
PICTURES = tuple(HERE + name for name in ("tricolours", "waves", "letters", "skies"))
FEW, MANY = (5, 6, 8, 10), (5, 7, 10, 14, 20, 20, 33, 50, 100)

# Loss and what holds the critic back. Weights are those of data spread over about one.
OBJECTIVES: tuple[Values, ...] = (
    {"loss": "non_saturating", "r1_gamma": 0.1},
    {"loss": "non_saturating", "gp_lambda": 0.5},
    {"loss": "non_saturating", "r1_gamma": 0.1, "penalty_interval": 4},
    {"loss": "relativistic", "r1_gamma": 0.1, "r2_gamma": 0.1},
    {"loss": "relativistic", "r1_gamma": 0.05},
    {"loss": "relativistic", "r1_gamma": 0.1, "r2_gamma": 0.1, "penalty_interval": 2},
    {"loss": "least_squares", "r1_gamma": 0.05},
    {"loss": "least_squares", "r1_gamma": 0.05, "r2_gamma": 0.05},
    {"loss": "hinge", "r1_gamma": 0.1},
    {"loss": "hinge", "gp_lambda": 0.3},
    {"loss": "wasserstein", "gp_lambda": 1.0, "n_dis": 3},
    {"loss": "wasserstein", "gp_lambda": 1.0, "n_dis": 5},
    {"loss": "minimax", "r1_gamma": 0.1},
    {"loss": "non_saturating", "r1_gamma": 0.1, "packing": 2},
    {"loss": "relativistic", "r1_gamma": 0.1, "packing": 4},
    {"loss": "hinge", "r1_gamma": 0.05, "n_dis": 2},
    {"loss": "non_saturating", "r2_gamma": 0.2},
    {"loss": "non_saturating", "r1_gamma": 0.3, "penalty_schedule": "cosine", "penalty_final": 0.1},
)
BETAS = [{"beta1": one, "beta2": two} for one, two in ((0.0, 0.99), (0.0, 0.9), (0.5, 0.99), (0.3, 0.999))]


def schedule(chance: Chance, rate: float, steps: int, batch: int) -> Values:
    """The rest of ``train``: pace, averages, betas, seed."""
    half_life = 10 ** chance.uniform(math.log10(500), 5)
    ramp = chance.choice((0.0, 0.05))
    if ramp == 0.0 and chance.random() < 0.75:  # else an average that lags to the end
        half_life = max(min(half_life, 0.15 * steps * batch), 500)
    return {
        **chance.choice(BETAS),
        "images": steps * batch,
        "batch_size": batch,
        "generator_lr": rate * 2 ** chance.uniform(-0.5, 0.5),
        "discriminator_lr": rate * 2 ** chance.uniform(-0.5, 0.5),
        "lr_schedule": chance.choice(("constant", "constant", "linear", "cosine")),
        "lr_final": chance.choice((0.0, 0.1)),
        "ema_half_life": half_life,
        "ema_ramp": ramp,
        "seed": chance.randrange(10_000),
    }


def points(chance: Chance) -> tuple[Values, Values, Values, int]:
    """Rates from 1e-4 to 5e-3."""
    return _points(chance, 10 ** chance.uniform(-3.8, math.log10(5e-3)), (*POINTS, *EASY))


def calm_points(chance: Chance) -> tuple[Values, Values, Values, int]:
    """Rates from 3e-4 to 3e-3 under R1, at batches and steps that mostly suffice."""
    data, model, train, evaluations = _points(chance, 10 ** chance.uniform(-3.5, -2.5), (*POINTS, *EASY))
    free = {"n_dis": 1, "packing": 1, "gp_lambda": 0.0, "r2_gamma": 0.0, "penalty_schedule": "constant"}
    held = chance.choice([o for o in OBJECTIVES if "r1_gamma" in o and not o.keys() & {"n_dis", "packing"}])
    batch = chance.choice((64, 64, 128, 128, 256))
    steps = int(min(max(chance.uniform(0.8, 1.2) / train["generator_lr"], 600), 2_200))
    train = train | free | {"batch_size": batch, "images": steps * batch} | held
    train["ema_half_life"] = min(train["ema_half_life"], 0.15 * train["images"])
    return data, model | {"discriminator_norm": "none", "depth": 3}, train, evaluations


def patient_points(chance: Chance) -> tuple[Values, Values, Values, int]:
    """Rates from 6e-5 to 2.5e-4 under R1, with the steps that they need."""
    _, model, train, evaluations = calm_points(chance)
    rate, batch = 10 ** chance.uniform(-4.2, -3.6), chance.choice((32, 64, 64, 128))
    steps = int(min(max(0.45 / rate, 2_500), 6_000))
    paced = {"generator_lr": rate, "discriminator_lr": rate, "batch_size": batch, "images": steps * batch}
    return {"name": chance.choice(EASY)}, model, train | paced, min(evaluations, 33)


def slow_points(chance: Chance) -> tuple[Values, Values, Values, int]:
    """Rates from 1e-5 to 2e-4: good only late in their budget, or not within it."""
    return _points(chance, 10 ** chance.uniform(-4.8, math.log10(2e-4)), EASY)


def hasty_points(chance: Chance) -> tuple[Values, Values, Values, int]:
    """Budgets that may end before anything is learned."""
    data, model, train, evaluations = _points(chance, 10 ** chance.uniform(-4, -3), POINTS)
    steps = chance.choice((60, 120, 200, 300))
    return data, model, train | {"images": steps * train["batch_size"]}, min(evaluations, 20)


def _points(chance: Chance, rate: float, names: tuple[str, ...]) -> tuple[Values, Values, Values, int]:
    wide = chance.choice((24, 48, 64, 96, 128))
    model = {
        "generator": "mlp",
        "discriminator": chance.choice(("mlp", "mlp", "mlp", "maxout")),
        "width": wide,
        "discriminator_width": chance.choice((wide, 64)),
        "depth": chance.choice((2, 3, 3, 4)),
        "growth": 1,
        "latent_dim": chance.choice((2, 2, 4, 8, 16)),
        "activation": chance.choice(("leaky_relu", "leaky_relu", "relu", "tanh")),
        "pieces": 3,
    }
    objective = dict(chance.choice(OBJECTIVES))
    if chance.random() < 0.08:
        objective, model["discriminator_norm"] = {"loss": "hinge"}, "spectral"
        model["discriminator"] = "mlp"
    steps = int(min(max(chance.uniform(0.7, 1.5) / rate, 500), 3_000))
    steps = min(steps * objective.get("n_dis", 1), 4_000)
    batch = chance.choice((16, 32, 64, 64, 64, 128, 128, 256, 512))
    steps = min(steps, 500_000 // batch)
    train = schedule(chance, rate, steps, batch) | objective
    return {"name": chance.choice(names)}, model, train, chance.choice(MANY)


def digits(chance: Chance) -> tuple[Values, Values, Values, int]:
    """Fully connected, from 2e-4 to 3e-3; every third one conditional."""
    rate = 10 ** chance.uniform(math.log10(2e-4), math.log10(3e-3))
    model = _pictures_model(chance, 64)
    steps = int(min(max(2.5 / rate, 900), 4_000))
    batch = chance.choice((16, 32, 64, 128))
    train = schedule(chance, rate, steps, batch) | _objective(chance, model)
    return {"name": "digits"}, model, train, 20 if chance.random() < 0.05 else chance.choice(FEW)


def conv_digits(chance: Chance) -> tuple[Values, Values, Values, int]:
    """DCGAN, ResNet or R3GAN on digits."""
    rate = 10 ** chance.uniform(-3, math.log10(4e-3))
    network = chance.choice(("dcgan", "dcgan", "resnet", "r3gan"))
    model = {"generator": network, "discriminator": network, "width": 8, "depth": 1, "latent_dim": 16}
    model["conditional"] = chance.random() < 0.4
    steps = chance.choice((400, 600, 800))
    train = schedule(chance, rate, steps, chance.choice((32, 64))) | _objective(chance, model)
    return {"name": "digits"}, model, train, chance.choice((5, 6, 8))


def stacked(chance: Chance) -> tuple[Values, Values, Values, int]:
    """Stacked digits: a thousand modes."""
    model = {"generator": "dcgan", "discriminator": "dcgan", "width": 16, "latent_dim": 32}
    train = schedule(chance, 2e-3, 600, 64) | chance.choice(OBJECTIVES[:6])
    return {"name": "stacked-digits"}, model, train, 5


def pictures(chance: Chance) -> tuple[Values, Values, Values, int]:
    """16x16, fully connected; most of them conditional."""
    rate = 10 ** chance.uniform(math.log10(4e-4), math.log10(2e-3))
    model = _pictures_model(chance, 64) | {"conditional": chance.random() < 0.75}
    steps = int(min(max(1.5 / rate, 1_000), 2_500))
    batch = chance.choice((16, 32, 32, 64))
    train = schedule(chance, rate, steps, batch) | _stronger(chance, model)
    return (
        {"name": chance.choice(PICTURES), "resolution": 16},
        model,
        train | _views(chance, train["loss"]),
        chance.choice((5, 5, 6)),
    )


def large_pictures(chance: Chance) -> tuple[Values, Values, Values, int]:
    """32x32, fully connected and conditional."""
    model = _pictures_model(chance, 64) | {"conditional": True}
    train = schedule(chance, 1e-3, 1_200, 32) | _stronger(chance, model)
    return {"name": chance.choice(PICTURES), "resolution": 32}, model, train, 5


def conv_pictures(chance: Chance) -> tuple[Values, Values, Values, int]:
    """16x16, conditional, DCGAN, ResNet or R3GAN."""
    network = chance.choice(("dcgan", "resnet", "r3gan"))
    model = {"generator": network, "discriminator": network, "width": 4, "depth": 1, "latent_dim": 12}
    model["conditional"] = True
    train = schedule(chance, 3e-3, 500, 32) | _stronger(chance, model)
    name = chance.choice(PICTURES)
    return {"name": name, "resolution": 16}, model, train | _views(chance, train["loss"]), 5


def _pictures_model(chance: Chance, width: int) -> Values:
    return {
        "generator": "mlp",
        "discriminator": chance.choice(("mlp", "mlp", "maxout")),
        "width": width,
        "depth": chance.choice((2, 2, 3)),
        "growth": 1,
        "latent_dim": chance.choice((8, 12, 24)),
        "conditional": chance.random() < 0.35,
        "pieces": 2,
    }


def _objective(chance: Chance, model: Values) -> Values:
    """One that the model can have: a conditional one judges no packs."""
    choice = [o for o in OBJECTIVES if "n_dis" not in o and not (model["conditional"] and "packing" in o)]
    return dict(chance.choice(choice))


def _stronger(chance: Chance, model: Values) -> Values:
    """Penalties for pictures of hundreds of pixels."""
    objective = _objective(chance, model)
    return objective | {name: 3 * objective[name] for name in ("r1_gamma", "r2_gamma") if name in objective}


def _views(chance: Chance, loss: str) -> Values:
    """Augmentation, for every fourth; ADA where the loss lets it go by the sign of the critic."""
    if chance.random() > 0.25:
        return {}
    ada = {"ada_target": 0.6} if loss in ("non_saturating", "minimax", "hinge") else {}
    return chance.choice(({"augment": ("translation",)}, {"augment": ("color", "translation"), **ada}))


LEARNING: tuple[tuple[Kind, int], ...] = (
    (points, 90),
    (calm_points, 62),
    (patient_points, 16),
    (slow_points, 22),
    (hasty_points, 8),
    (digits, 26),
    (conv_digits, 18),
    (stacked, 3),
    (pictures, 26),
    (large_pictures, 4),
    (conv_pictures, 8),
)


def learning() -> list[Plan]:
    """Runs that nothing is done to."""
    plans = []
    for kind, count in LEARNING:
        for number in range(count):
            drawn = kind(Chance(f"held out {kind.__name__} {number}"))
            plans.append(Plan("held-out", f"learns: {kind.__name__.replace('_', ' ')}", number, settings(*drawn)))
    return plans


def failing() -> list[Plan]:
    """Every cause twice: on points, and on digits or pictures (every other one) or on points again."""
    return [_fails(cause, number) for i, cause in enumerate(FAILURES) for number in (0, 1 + i % 2)]


def _fails(cause: str, number: int) -> Plan:
    chance, failure = Chance(f"held out {cause} {number}"), FAILURES[cause]
    images = number == 1
    rate, batch = (2e-3, 32) if images else (1e-3, chance.choice((64, 128)))
    name = chance.choice(("digits", "digits", *PICTURES) if images else POINTS)
    shape = {"width": 48, "depth": chance.choice((2, 3)), "growth": 1, "latent_dim": 12 if images else 2}
    model = {"generator": "mlp", "discriminator": "mlp"} | shape | failure.model
    steps = 900 if images else chance.choice((800, 1_200, 1_600))
    train = schedule(chance, rate, steps, batch) | {"lr_schedule": "constant"} | failure.train
    train |= {"ema_half_life": min(train["ema_half_life"], 5_000)}
    train["generator_lr"] *= failure.generator
    train["discriminator_lr"] *= failure.discriminator
    data = {"name": name} | ({"resolution": 16} if name in PICTURES else {})
    evaluations = chance.choice((5, 6, 8) if images else (8, 12, 16, 25, 40))
    at = failure.at and failure.at + chance.choice((-0.1, 0.0, 0.1))
    return Plan("held-out", cause, number, settings(data, model, train, evaluations), failure.act, at)


def _shuffled(plans: list[Plan]) -> list[Plan]:
    """So that a set stopped early is balanced, but for points, which cost a third of pictures and come earlier."""
    chance = Chance("held out")
    return sorted(plans, key=lambda plan: chance.random() * (1 if plan.config.data.name in POINTS else 2))


PLANS: list[Plan] = _shuffled(learning() + failing())
