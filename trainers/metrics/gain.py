"""What a generator is worth as augmentation: how much better a classifier gets with its samples, and with them alone.

Classification accuracy score: Ravuri and Vinyals, arXiv 1905.10887. A gain counts over real data *with* the customary
jitter, which costs nothing: without that rival almost any generator seems to help.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from scipy.special import stdtrit
from torch import Tensor

from trainers.data import Examples
from trainers.metrics.classifier import right, taught

CONFIDENCE = 0.95


class Mix(NamedTuple):
    """What a classifier is taught with."""

    real: bool
    samples: bool
    jitter: bool


MIXES = {
    "real": Mix(True, False, False),
    "real + jitter": Mix(True, False, True),
    "samples": Mix(False, True, False),
    "real + samples": Mix(True, True, False),
    "real + samples + jitter": Mix(True, True, True),
}
BASE, BEST = "real + jitter", "real + samples + jitter"


def accuracy(mix: Mix, real: Examples, samples: Examples, held_out: Examples, seed: int) -> Tensor:
    """Which held-out examples a classifier so taught reads right, bool (n,)."""
    sets = [examples for examples, wanted in ((real, mix.real), (samples, mix.samples)) if wanted]
    assert held_out.labels is not None
    classes = 1 + max(int(one.labels.max()) for one in (*sets, held_out) if one.labels is not None)
    return right(taught(sets, classes, seed, mix.jitter), held_out)


class Interval(NamedTuple):
    """The mean of paired differences and its 95 % interval (Student's)."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, differences: Sequence[float]) -> Interval:
        """Of at least two."""
        values = torch.tensor(differences, dtype=torch.float64)
        share = (1 + CONFIDENCE) / 2
        half = float(stdtrit(len(values) - 1, share) * values.std() / math.sqrt(len(values)))
        return cls(float(values.mean()), float(values.mean()) - half, float(values.mean()) + half)

    @property
    def told(self) -> str:
        """In a sentence, which promises nothing that the interval does not hold."""
        points = f"{100 * self.mean:+.1f} points, 95 % interval {100 * self.low:+.1f} to {100 * self.high:+.1f}"
        if self.low > 0:
            return f"the samples gain over real data with jitter: {points}"
        if self.high < 0:
            return f"the samples do worse than real data with jitter alone: {points}"
        return f"no gain over real data with jitter: {points}"


class Gain(NamedTuple):
    """Accuracies (seeds,) by mix; what samples add to real data with jitter, and add to the class that gains least."""

    accuracies: dict[str, list[float]]
    interval: Interval
    worst_class: float


def gain(real: Examples, samples: Examples, held_out: Examples, seeds: Sequence[int]) -> Gain:
    """Teaches a classifier with each mix and seed; at least two seeds."""
    assert held_out.labels is not None
    found = {name: [accuracy(mix, real, samples, held_out, seed) for seed in seeds] for name, mix in MIXES.items()}
    shares = {name: [float(one.float().mean()) for one in each] for name, each in found.items()}
    interval = Interval.of([best - base for best, base in zip(shares[BEST], shares[BASE], strict=True)])
    better = torch.stack(found[BEST]).float().mean(0) - torch.stack(found[BASE]).float().mean(0)
    worst = min(float(better[held_out.labels == label].mean()) for label in set(held_out.labels.tolist()))
    return Gain(shares, interval, worst)
