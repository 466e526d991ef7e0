"""The second held-out half of the labelled set, by somebody who saw neither rules nor verdicts: SECOND.md.

Settings are drawn from ranges by seeded generators. Ways to learn points are in second_points.py, those to learn
pictures here, ways to fail in second_failures.py. What became of a run is measured (truth.py), never assumed.
"""

from __future__ import annotations

from tests.benchmarks.collapse.plan import Plan, settings
from tests.benchmarks.collapse.second_failures import FAILURES, JOLTS
from tests.benchmarks.collapse.second_points import (
    EASY,
    HERE,
    SETS,
    Chance,
    Drawn,
    Kind,
    Values,
    between,
    brief_points,
    calm_points,
    fast_points,
    lagging_points,
    late_points,
    objective,
    pace,
    points,
    slow_points,
)

PICTURES = tuple(HERE + name for name in ("checks", "clocks", "targets", "faces"))


def digits(chance: Chance) -> Drawn:
    """8x8, fully connected; half of them conditional."""
    return {"name": "digits"}, *_flat(chance, between(chance, 3e-4, 4e-3), 1.0, (0.8, 900))


def slow_digits(chance: Chance) -> Drawn:
    """8x8, fully connected, at rates that need most of the budget, or more."""
    return {"name": "digits"}, *_flat(chance, between(chance, 5e-5, 2e-4), 1.0, (0.3, 1_500))


def pictures(chance: Chance) -> Drawn:
    """16x16, fully connected; half of them conditional."""
    data = {"name": chance.choice(PICTURES), "resolution": 16}
    return data, *_flat(chance, between(chance, 3e-4, 3e-3), 3.0, (0.9, 600))


def large_pictures(chance: Chance) -> Drawn:
    """32x32, fully connected."""
    data = {"name": chance.choice(PICTURES), "resolution": 32}
    return data, *_flat(chance, between(chance, 5e-4, 2e-3), 3.0, (0.7, 500))


def conv_digits(chance: Chance) -> Drawn:
    """8x8: DCGAN, ResNet or R3GAN."""
    return {"name": "digits"}, *_conv(chance, 8, 1.0, chance.choice((200, 300)))


def conv_pictures(chance: Chance) -> Drawn:
    """16x16: DCGAN, ResNet or R3GAN."""
    return {"name": chance.choice(PICTURES), "resolution": 16}, *_conv(chance, 4, 2.0, chance.choice((150, 250)))


def large_conv_pictures(chance: Chance) -> Drawn:
    """32x32: DCGAN or R3GAN."""
    data = {"name": chance.choice(PICTURES), "resolution": 32}
    model, train, _ = _conv(chance, 4, 2.0, 120)
    if model["generator"] == "resnet":
        model |= {"generator": "dcgan", "discriminator": "dcgan"}
    return data, model, train | {"batch_size": 16, "images": 120 * 16}, 5


def _flat(chance: Chance, rate: float, strength: float, length: tuple[float, int]) -> tuple[Values, Values, int]:
    """So many steps over the rate, at most so many."""
    wide = chance.choice((32, 64, 64, 96))
    model = {
        "generator": "mlp",
        "discriminator": chance.choice(("mlp", "mlp", "maxout")),
        "width": wide,
        "discriminator_width": chance.choice((wide, 48)),
        "depth": chance.choice((1, 2, 2, 3)),
        "growth": chance.choice((1, 1, 2)),
        "latent_dim": chance.choice((6, 10, 20, 40)),
        "activation": chance.choice(("leaky_relu", "leaky_relu", "relu")),
        "conditional": chance.random() < 0.5,
        "pieces": chance.choice((2, 3)),
    }
    steps = int(min(max(chance.uniform(0.7, 1.3) * length[0] / rate, 400), length[1]))
    train = pace(chance, rate, steps, chance.choice((16, 32, 32, 64))) | _judged(chance, model, strength)
    return model, train, chance.choice((5, 5, 6, 6, 8))


def _conv(chance: Chance, width: int, strength: float, steps: int) -> tuple[Values, Values, int]:
    network = chance.choice(("dcgan", "dcgan", "resnet", "r3gan"))
    model = {"generator": network, "discriminator": network, "width": width, "depth": 1}
    model |= {"latent_dim": chance.choice((8, 24)), "conditional": chance.random() < 0.6}
    train = pace(chance, between(chance, 1.5e-3, 6e-3), steps, chance.choice((16, 32))) | _judged(
        chance, model, strength
    )
    return model, train, chance.choice((5, 6))


def _judged(chance: Chance, model: Values, strength: float) -> Values:
    """An objective that the model can have (a conditional one judges no packs), and for some augmentation."""
    train = objective(chance, strength) | {"n_dis": 1}
    if model["conditional"]:
        train |= {"packing": 1}
    if chance.random() < 0.15:
        train |= {"augment": chance.choice((("translation",), ("color",), ("color", "cutout")))}
    return train


LEARNING: tuple[tuple[Kind, int], ...] = (
    (points, 45),
    (calm_points, 60),
    (fast_points, 10),
    (late_points, 48),
    (slow_points, 48),
    (lagging_points, 5),
    (digits, 18),
    (slow_digits, 3),
    (pictures, 14),
    (conv_digits, 6),
    (conv_pictures, 4),
    (large_pictures, 3),
    (large_conv_pictures, 2),
)


def learning() -> list[Plan]:
    """Runs that nothing is done to."""
    return [plan for kind, count in LEARNING for plan in _learning(kind, count)]


def _learning(kind: Kind, count: int) -> list[Plan]:
    drawn = (kind(Chance(f"second {kind.__name__} {number}")) for number in range(count))
    cause = f"learns: {kind.__name__.replace('_', ' ')}"
    return [Plan("second", cause, number, settings(*each)) for number, each in enumerate(drawn)]


def failing() -> list[Plan]:
    """Every cause twice, on points and, every other one, on digits or pictures; every jolt three times on points."""
    causes = [_acted(cause, number) for i, cause in enumerate(FAILURES) for number in (0, 1 + i % 2)]
    return causes + [_acted(jolt, number) for jolt in JOLTS for number in (0, 2, 3)]


def _acted(cause: str, number: int) -> Plan:
    chance, failure = Chance(f"second {cause} {number}"), (FAILURES | JOLTS)[cause]
    images = number == 1
    rate, batch = (2e-3, 32) if images else (between(chance, 8e-4, 2e-3), chance.choice((32, 64, 128)))
    name = chance.choice(("digits", *PICTURES) if images else EASY if cause in JOLTS else SETS)
    shape = {"width": chance.choice((32, 64)), "depth": chance.choice((2, 3)), "growth": 1}
    model = {"generator": "mlp", "discriminator": "mlp", "latent_dim": 16 if images else 3} | shape | failure.model
    steps = chance.choice((400, 500) if images else (700, 1_000))
    train = pace(chance, rate, steps, failure.train.get("batch_size", batch))
    train |= {"lr_schedule": "constant", "beta1": 0.0, "ema_half_life": min(train["ema_half_life"], 4_000)}
    train |= failure.train
    train["generator_lr"] *= failure.generator
    train["discriminator_lr"] *= failure.discriminator
    data = {"name": name} | ({"resolution": 16} if name in PICTURES else {})
    evaluations = chance.choice((5, 5, 6) if images else (6, 8, 10, 14, 20))
    at = failure.at and failure.at + chance.choice((-0.1, 0.0, 0.1))
    return Plan("second", cause, number, settings(data, model, train, evaluations), failure.act, at)


def _spread(plans: list[Plan]) -> list[Plan]:
    """So that a set stopped early is balanced: the runs of every family and those of all causes are spread evenly."""
    families: dict[str, list[Plan]] = {}
    for plan in plans:
        families.setdefault(plan.cause if plan.cause.startswith("learns") else "acted", []).append(plan)
    chance, placed = Chance("second"), []
    for members in families.values():
        chance.shuffle(members)
        placed += [((i + chance.random()) / len(members), plan.key, plan) for i, plan in enumerate(members)]
    return [plan for _, _, plan in sorted(placed, key=lambda place: place[:2])]


def _rest(left: list[Plan]) -> list[Plan]:
    """The runs that were still to be made when time got short: a fifth of the pictures and half of the wide points,
    which take long or mostly fail, for brief ones that don't.
    """
    pictures = [plan for plan in left if plan.config.data.name in ("digits", *PICTURES)]
    wide = [plan for plan in left if plan.cause == "learns: points"]
    dropped = {plan.key for plan in (*(p for i, p in enumerate(pictures) if i % 5), *wide[::2])}
    return _spread([plan for plan in left if plan.key not in dropped] + _learning(brief_points, 34))


MADE = 120
FIRST: list[Plan] = _spread(learning() + failing())
PLANS: list[Plan] = FIRST[:MADE] + _rest(FIRST[MADE:])
