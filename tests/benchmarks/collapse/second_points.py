"""Ways to learn points, for the second held-out half: second.py."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

Values = dict[str, Any]
Chance = random.Random
Drawn = tuple[Values, Values, Values, int]
"""Data, model, train and how many evaluations."""
Kind = Callable[[Chance], Drawn]

HERE = "tests.benchmarks.collapse.second_data:"
EASY = tuple(HERE + name for name in ("ring_of_12", "small_grid", "arcs", "uneven", "cross"))
SETS = (*EASY, *(HERE + name for name in ("two_rings", "scattered", "long_grid")), "ring", "grid")
LOSSES = ("non_saturating", "relativistic", "hinge", "least_squares", "minimax", "wasserstein")
EVALUATIONS = (*[5, 6, 8, 8, 10, 10, 12, 12, 16, 20, 25] * 3, 33, 50, 100)


def between(chance: Chance, low: float, high: float) -> float:
    """Evenly on a logarithmic scale."""
    return math.exp(chance.uniform(math.log(low), math.log(high)))


def objective(chance: Chance, strength: float = 1.0) -> Values:
    """A loss and what holds the critic back, of weights drawn from ranges. ``strength`` is for data of more than two
    dimensions.
    """
    name = chance.choice(LOSSES)
    if name == "wasserstein":
        return {"loss": name, "gp_lambda": between(chance, 0.3, 10), "n_dis": chance.choice((1, 2, 4))}
    weight, other = strength * between(chance, 0.03, 0.5), strength * between(chance, 0.03, 0.5)
    penalty = chance.choice(
        (
            {"r1_gamma": weight},
            {"r1_gamma": weight},
            {"r1_gamma": weight, "r2_gamma": other},
            {"r2_gamma": weight},
            {"gp_lambda": between(chance, 0.1, 3)},
            {"r1_gamma": weight, "penalty_interval": chance.choice((3, 8))},
            {"r1_gamma": 3 * weight, "penalty_schedule": "linear", "penalty_final": 0.2},
            {"gp_lambda": between(chance, 0.1, 3), "penalty_interval": 2},
            {"r1_gamma": weight, "packing": chance.choice((2, 4))},
        )
    )
    return {"loss": name, **penalty}


def pace(chance: Chance, rate: float, steps: int, batch: int) -> Values:
    """The rest of ``train``: rates of the two players, schedule, averages, betas, seed."""
    half_life, ramp = between(chance, 500, 100_000), chance.choice((0.0, 0.05, 0.05))
    if ramp == 0.0 and chance.random() < 0.8:  # else an average that lags to the end
        half_life = max(min(half_life, 0.12 * steps * batch), 500)
    beta1, beta2 = chance.choice(((0.0, 0.99), (0.0, 0.95), (0.2, 0.99), (0.5, 0.999), (0.5, 0.9), (0.0, 0.999)))
    return {
        "images": steps * batch,
        "batch_size": batch,
        "generator_lr": rate * 2 ** chance.uniform(-0.7, 0.7),
        "discriminator_lr": rate * 2 ** chance.uniform(-0.7, 0.7),
        "beta1": beta1,
        "beta2": beta2,
        "lr_schedule": chance.choice(("constant", "constant", "cosine", "linear")),
        "lr_final": chance.choice((0.0, 0.05, 0.2)),
        "ema_half_life": half_life,
        "ema_ramp": ramp,
        "seed": chance.randrange(10_000),
    }


def network(chance: Chance) -> Values:
    """Fully connected, of 16 to 128 units in one to five layers."""
    wide = chance.choice((16, 32, 48, 64, 64, 128))
    return {
        "generator": "mlp",
        "discriminator": chance.choice(("mlp", "mlp", "mlp", "maxout")),
        "width": wide,
        "discriminator_width": chance.choice((wide, 32, 64)),
        "depth": chance.choice((2, 2, 3, 3, 3, 4, 5)),
        "discriminator_depth": chance.choice((2, 3, 3)),
        "growth": 1 if wide > 32 else chance.choice((1, 1, 2)),
        "latent_dim": chance.choice((2, 3, 4, 8, 32)),
        "activation": chance.choice(("leaky_relu", "leaky_relu", "relu", "tanh")),
        "pieces": chance.choice((2, 4)),
    }


def points(chance: Chance) -> Drawn:
    """Everything from wide ranges: rates from 6e-5 to 1.3e-2, batches of 16 to 512."""
    rate, batch = between(chance, 1e-4, 8e-3), chance.choice((16, 32, 64, 64, 128, 256, 512))
    model, held = network(chance), objective(chance)
    if chance.random() < 0.1:
        held = {"loss": chance.choice(LOSSES[:4])}
        model |= {"discriminator": "mlp", "discriminator_norm": chance.choice(("spectral", "none"))}
    steps = int(min(max(chance.uniform(0.5, 1.5) / rate, 150), 1_000) * math.sqrt(held.get("n_dis", 1)))
    data = {"name": chance.choice(SETS), "standardise": chance.random() < 0.85}
    return data, model, pace(chance, rate, steps, batch) | held, chance.choice(EVALUATIONS)


def calm_points(chance: Chance) -> Drawn:
    """Rates, penalties and steps at which most learn."""
    _, model, _, evaluations = points(chance)
    rate, batch = between(chance, 8e-4, 4e-3), chance.choice((64, 128, 128, 256))
    model |= {"width": chance.choice((48, 64, 96)), "discriminator_width": chance.choice((48, 64)), "growth": 1}
    model |= {"depth": 3, "discriminator_depth": 3, "activation": chance.choice(("leaky_relu", "relu"))}
    steps = int(min(max(chance.uniform(1.2, 1.8) / rate, 500), 1_000))
    held = {"loss": chance.choice(LOSSES[:5]), "r1_gamma": between(chance, 0.05, 0.2)}
    held["penalty_interval"] = chance.choice((1, 2, 4))
    if chance.random() < 0.4:
        held["r2_gamma"] = held["r1_gamma"]
    train = pace(chance, rate, steps, batch) | held
    train["ema_half_life"] = min(train["ema_half_life"], 0.12 * train["images"])
    return {"name": chance.choice((*SETS, *EASY))}, model, train, evaluations


def fast_points(chance: Chance) -> Drawn:
    """Rates from 7e-3 to 5e-2."""
    data, model, train, evaluations = calm_points(chance)
    rate = between(chance, 7e-3, 4e-2)
    train |= {"generator_lr": rate, "discriminator_lr": rate * 2 ** chance.uniform(-1, 1)}
    return data, model, train | {"lr_schedule": chance.choice(("constant", "cosine"))}, evaluations


def brief_points(chance: Chance) -> Drawn:
    """As calm ones, but over soon."""
    data, model, train, _ = calm_points(chance)
    rate, batch = between(chance, 1.5e-3, 3.5e-3), chance.choice((64, 128))
    train |= {"generator_lr": rate, "discriminator_lr": rate * chance.choice((0.7, 1.0, 1.4)), "batch_size": batch}
    train |= {"images": chance.choice((450, 550, 650)) * batch, "penalty_interval": 4, "ema_half_life": 2_000.0}
    return data, model, train, chance.choice((5, 6, 6, 7, 8))


def slow_points(chance: Chance) -> Drawn:
    """What makes learning take most of the budget, or more: low rates of both or of the generator, strong penalties,
    narrow networks.
    """
    data, model, train, evaluations = calm_points(chance)
    way = chance.choice(("rate", "rate", "rate", "generator", "penalty", "narrow"))
    rate, steps = between(chance, 1e-4, 5e-4), 1_400
    if way in ("rate", "generator"):
        train |= {"generator_lr": rate, "discriminator_lr": rate if way == "rate" else 8 * rate}
    elif way == "penalty":
        train |= {"r1_gamma": between(chance, 1, 15)}
    else:
        model |= {"width": chance.choice((6, 10)), "discriminator_width": chance.choice((10, 16))}
    batch = chance.choice((32, 64, 64, 128))
    train |= {"batch_size": batch, "images": steps * batch, "lr_schedule": "constant", "ema_half_life": 3_000.0}
    train |= {"penalty_interval": chance.choice((1, 3))}
    return data | {"name": chance.choice(EASY)}, model, train, min(evaluations, 20)


def lagging_points(chance: Chance) -> Drawn:
    """An average that lags far behind what is learned."""
    data, model, train, evaluations = calm_points(chance)
    train |= {"ema_ramp": 0.0, "ema_half_life": chance.uniform(0.15, 0.5) * train["images"]}
    return data, model, train, evaluations


def late_points(chance: Chance) -> Drawn:
    """Long budgets of trainings that swing before they settle: momentum, deep networks, hardly a penalty, large
    batches, rates that only a cosine brings down.
    """
    way = chance.choice((*["momentum"] * 4, *["cosine and momentum"] * 3, "deep", "deep", "cosine", "weak", "batch"))
    rate, depth = between(chance, 1e-3, 2.5e-3), 5 if way == "deep" else 3
    batch, steps = (256, 1_400) if way == "batch" else (chance.choice((64, 64, 128)), chance.choice((1_800, 2_400)))
    model = network(chance) | {"width": chance.choice((24, 32, 48)), "depth": depth, "discriminator_depth": depth}
    model |= {"discriminator_width": model["width"], "latent_dim": 2, "growth": 1, "discriminator": "mlp"}
    train = pace(chance, rate, steps, batch) | {"beta1": 0.0, "beta2": chance.choice((0.99, 0.999))}
    train |= {"loss": chance.choice(LOSSES[:5]), "r1_gamma": between(chance, 0.02, 0.2), "penalty_interval": 4}
    train |= {"lr_schedule": "constant", "ema_half_life": min(train["ema_half_life"], 6_000)}
    faster = {"cosine": 6, "cosine and momentum": 1.3}.get(way, 1)
    train |= {"generator_lr": rate * faster, "discriminator_lr": rate * faster}
    if "cosine" in way:
        train |= {"lr_schedule": "cosine", "lr_final": 0.0}
    if "momentum" in way:
        train |= {"beta1": chance.choice((0.7, 0.75, 0.8, 0.8, 0.85, 0.85, 0.9))}
    if way in ("weak", "batch"):
        train |= {"r1_gamma": chance.choice((0.0, 0.01))}
    return {"name": chance.choice((*EASY, "ring", "ring", "ring"))}, model, train, chance.choice((8, 10, 12, 16, 20))
