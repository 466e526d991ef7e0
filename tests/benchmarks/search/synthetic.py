"""A family of random tasks in place of recorded trainings, with what made GAN curves hard to search: they cross, a
third collapses, seeds differ.

The log of FID is a bowl with a ridge along equal learning rates, offsets of the loss, beta1 and width, and a start-up
term whose size and length depend on other settings than the end does, so that early ranks mislead: among trainings
that do not collapse, their correlation with the ranks at the end is .68 after one evaluation of 27, .76 after three and
.89 after nine. The noise of an evaluation is .06; seeds differ more where collapse is near; a wide network costs 1.6
times as much.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit

from orchestrator.spec import Sweep
from tests.benchmarks.search.problem import Curve, Goal, Params, Worth

EVALUATIONS, EVERY = 27, 10_000
COLLAPSE, EARLY = 0.31, 0.37
"""Of random settings, the share of trainings that collapse; of these, how many before the third evaluation."""
NOISE, LUCK = 0.06, 0.03
DRAWN = 2_000
"""Random settings that tell what the best 2 % are."""
LOSSES = ("non_saturating", "hinge", "relativistic")
RANGES = {
    "train.generator_lr": (1e-5, 1e-2),
    "train.discriminator_lr": (1e-5, 1e-2),
    "train.r1_gamma": (0.01, 10.0),
    "train.ema_half_life": (500.0, 50_000.0),
    "train.r2_gamma": (0.01, 10.0),
}
SWEEP = Sweep.model_validate(
    {
        "name": "synthetic",
        "model": {"generator": "mlp", "discriminator": "mlp"},
        "train": {"images": EVALUATIONS * EVERY},
        "evaluate": {"every_images": EVERY, "metrics": ("fid",)},
        "objective": {"minimize": "fid"},
        "rungs": {"reduction": 3},
        "search": {
            "trials": 10_000,
            "space": {
                **{name: {"float": ends, "log": True} for name, ends in RANGES.items()},
                "train.r2_gamma": {
                    "float": RANGES["train.r2_gamma"],
                    "log": True,
                    "when": {"train.loss": ("relativistic",)},
                },
                "train.beta1": {"choice": (0.0, 0.5)},
                "train.loss": {"choice": LOSSES},
                "model.width": {"choice": (64, 128)},
            },
        },
    }
)


class Synthetic:
    """The task number ``seed`` of the family; ``cross`` (0 to 1) says how much early ranks mislead."""

    def __init__(self, seed: int, cross: float = 1.0) -> None:
        self.sweep, self._seed, self._cross = SWEEP, seed, cross
        dice = np.random.default_rng([seed, 0])
        self._place = dict(zip(RANGES, dice.uniform(0.3, 0.7, len(RANGES)), strict=True))
        self._weight = dict(zip(RANGES, dice.uniform((3, 3, 1, 0.5, 0.5), (6, 6, 2, 1, 1)), strict=True))
        self._ratio = dice.uniform(-0.15, 0.15)
        self._loss = dict(zip(LOSSES, dice.permutation((0.0, 0.15, 0.3)), strict=True))
        self._prone = dict(zip(LOSSES, dice.permutation((0.0, 0.05, 0.1)), strict=True))
        self._momentum, self._wide = dice.uniform(-0.15, 0.15), dice.uniform(0.0, 0.2)
        drawn = [_random(dice) for _ in range(DRAWN)]
        self._shift = _shift(np.array([self._danger(params) for params in drawn]))
        self.goal = Goal.among(np.array([self.worth(params).cost for params in drawn]))

    def taken(self, params: Params) -> Params:
        """Any."""
        return params

    def worth(self, params: Params) -> Worth:
        """By formula."""
        return Worth(self._end(params), float(expit(8 * (self._danger(params) - self._shift))))

    def curve(self, params: Params, number: int, seed: int | None) -> Curve:
        """The luck of trial ``number`` is the same for every method."""
        dice = np.random.default_rng([self._seed, 1, number, 0 if seed is None else seed])
        value, risk = self.worth(params)
        luck, fate, moment = dice.normal(), dice.random(), dice.random()
        early, late = 3 * moment / EARLY, 3 + (EVALUATIONS - 3) * (moment - EARLY) / (1 - EARLY)
        ends = math.ceil(early if moment < EARLY else late) if fate < risk else EVALUATIONS + 1
        share = np.arange(1, EVALUATIONS + 1) / EVALUATIONS
        size, length = self._startup(params)
        level = value + size * np.exp(-share / length) + (LUCK + 0.35 * risk) * luck
        level += NOISE * dice.normal(size=EVALUATIONS) + 2.0 * (share * EVALUATIONS >= ends)
        verdicts = ["collapsed" if n >= ends else "healthy" for n in range(1, EVALUATIONS + 1)]
        pace = (1.6 if params["model.width"] == 128 else 1.0) / 1.3 / EVALUATIONS
        return Curve([{"fid": float(fid)} for fid in np.exp(level)], verdicts, pace)

    def _end(self, params: Params) -> float:
        bowl = sum(self._weight[name] * (_unit(params, name) - self._place[name]) ** 2 for name in _bowl(params))
        ridge = self._weight["train.discriminator_lr"] * (self._imbalance(params)) ** 2
        offsets = self._loss[params["train.loss"]] + self._momentum * (params["train.beta1"] > 0)
        return float(1.0 + bowl + ridge + offsets + self._wide * (params["model.width"] == 64))

    def _startup(self, params: Params) -> tuple[float, float]:
        """Size, and length as a share of the training; no less for the best settings than for others."""
        slow, far = 0.5 - _unit(params, "train.generator_lr"), _unit(params, "train.r1_gamma") - 0.5
        away = far + _unit(params, "train.ema_half_life") - 0.5
        wide = 0.3 * (params["model.width"] == 128)
        return 2 + 4 * self._cross * away, 0.22 * math.exp(self._cross * (2 * slow + 1.5 * far + wide))

    def _danger(self, params: Params) -> float:
        penalty, rate = _unit(params, "train.r1_gamma"), _unit(params, "train.generator_lr")
        prone: float = self._prone[params["train.loss"]]
        return abs(self._imbalance(params)) + 0.6 * rate - 0.5 * penalty + prone

    def _imbalance(self, params: Params) -> float:
        return _unit(params, "train.discriminator_lr") - _unit(params, "train.generator_lr") - self._ratio


def _random(dice: np.random.Generator) -> Params:
    params: Params = {name: low * (high / low) ** dice.random() for name, (low, high) in RANGES.items()}
    params |= {"train.beta1": float(dice.choice((0.0, 0.5))), "train.loss": str(dice.choice(LOSSES))}
    if params["train.loss"] != "relativistic":
        del params["train.r2_gamma"]
    return params | {"model.width": int(dice.choice((64, 128)))}


def _shift(danger: NDArray[np.float64]) -> float:
    """So that on average ``COLLAPSE`` of the trainings do."""
    found: float = brentq(lambda shift: np.mean(expit(8 * (danger - shift))) - COLLAPSE, -5, 5)
    return found


def _bowl(params: Params) -> list[str]:
    return [name for name in RANGES if name in params and name != "train.discriminator_lr"]


def _unit(params: Params, name: str) -> float:
    low, high = RANGES[name]
    return math.log(params[name] / low) / math.log(high / low)
