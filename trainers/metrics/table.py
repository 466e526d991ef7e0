"""The names of all measures. Several names may share a function, which then runs once for all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from trainers.data import Space
from trainers.metrics.bins import missing_bins
from trainers.metrics.diversity import duplicates, relative_diversity
from trainers.metrics.extrapolated import frechet_distance_infinity
from trainers.metrics.features import FeatureError, distances
from trainers.metrics.frechet import frechet_distance
from trainers.metrics.kernel import kernel_distance
from trainers.metrics.memory import memorisation
from trainers.metrics.mind import sliced_distance
from trainers.metrics.modes import class_report, mode_report, relative_mode_diversity
from trainers.metrics.prdc import prdc


@dataclass(frozen=True)
class Comparison:
    """What a measure may look at: features (n, d) of training data, (m, d) of generated samples, (h, d) of test data.

    ``space`` knows the centres where the real distribution is a known mixture of Gaussians; ``classify`` gives classes
    (n,) of features where the extractor is a classifier of such data.
    """

    real: Tensor
    fake: Tensor
    held_out: Tensor
    space: Space
    classify: Callable[[Tensor], Tensor] | None = None

    @property
    def real_sample(self) -> Tensor:
        """As many reals as fakes where there are enough: neighbourhoods compare only between sets of one size."""
        return self.real[: len(self.fake)]


Measure = Callable[[Comparison], dict[str, float]]


def _fid(c: Comparison) -> dict[str, float]:
    """``misfit`` is the distance over that between the data and one average picture: 1 is bad, whatever the scale."""
    fid = frechet_distance(c.real, c.fake)
    return {"fid": fid, "misfit": fid / float(c.real.double().var(0).sum())}


def _kid(c: Comparison) -> dict[str, float]:
    return {"kid": kernel_distance(c.real_sample, c.fake)}


def _fid_infinity(c: Comparison) -> dict[str, float]:
    return {"fid_infinity": frechet_distance_infinity(c.real, c.fake)}


def _mind(c: Comparison) -> dict[str, float]:
    return {"mind": sliced_distance(c.real_sample, c.fake)}


def _prdc(c: Comparison) -> dict[str, float]:
    return prdc(c.real_sample, c.fake)


def _diversity(c: Comparison) -> dict[str, float]:
    return {"diversity": relative_diversity(c.real_sample, c.fake)}


def _duplicates(c: Comparison) -> dict[str, float]:
    return {"duplicates": duplicates(c.real_sample, c.fake)}


def _bins(c: Comparison) -> dict[str, float]:
    return missing_bins(c.real, c.fake)


def _memory(c: Comparison) -> dict[str, float]:
    return memorisation(c.real, c.held_out, c.fake)


def _modes(c: Comparison) -> dict[str, float]:
    if c.space.centers:
        return mode_report(c.fake, torch.tensor(c.space.centers), c.space.std)
    return class_report(_modes_of(c, c.fake), c.space.classes)


def _mode_diversity(c: Comparison) -> dict[str, float]:
    return {"mode_diversity": relative_mode_diversity(_modes_of(c, c.real_sample), _modes_of(c, c.fake))}


def _modes_of(c: Comparison, features: Tensor) -> Tensor:
    """The class of each row, or its nearest centre."""
    if c.space.centers:
        return distances(features.double(), torch.tensor(c.space.centers, dtype=torch.float64)).argmin(1)
    if c.classify is not None:
        return c.classify(features)
    raise FeatureError("modes are known only for data with centres (ring, grid) or digits under digits-cnn")


METRICS: dict[str, Measure] = {
    "fid": _fid,
    "misfit": _fid,
    "kid": _kid,
    "fid_infinity": _fid_infinity,
    "mind": _mind,
    "precision": _prdc,
    "recall": _prdc,
    "density": _prdc,
    "coverage": _prdc,
    "diversity": _diversity,
    "duplicates": _duplicates,
    "ndb": _bins,
    "missing_bins": _bins,
    "memorised": _memory,
    "copies": _memory,
    "modes": _modes,
    "strict_modes": _modes,
    "high_quality": _modes,
    "reverse_kl": _modes,
    "mode_diversity": _mode_diversity,
}
