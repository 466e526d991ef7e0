"""What an autoencoder makes of real examples: how well it reconstructs them, and how much its code says."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

from trainers.metrics.features import FeatureError
from trainers.metrics.frechet import distance_to
from trainers.metrics.modes import effective_modes

if TYPE_CHECKING:
    from trainers.metrics.table import Comparison

ACTIVE = 0.01
"""Variance of a unit's mean over the data above which it says something."""


class Coded(NamedTuple):
    """What an autoencoder makes of real examples: features (m, d) of training examples' reconstructions; of held-out
    examples the squared errors (h,) of their reconstructions and of the training data's mean, each per value, and
    the means (h, units) of their codes and these units' KL divergences from the prior, in nats, where there is one.
    """

    features: Tensor
    errors: Tensor
    spread: Tensor
    means: Tensor
    divergences: Tensor | None


def of_errors(c: Comparison) -> dict[str, float]:
    """``mse_share`` is 0 for perfect reconstructions, 1 for the mean image, whatever it is given."""
    mse = float(_coded(c).errors.double().mean())
    return {"mse": mse, "mse_share": mse / float(_coded(c).spread.double().mean())}


def of_reconstructions(c: Comparison) -> dict[str, float]:
    return {"reconstruction_fid": distance_to(c.real.gaussian, _coded(c).features)}


def of_units(c: Comparison) -> dict[str, float]:
    """Units whose mean varies by more than .01 over the data (Burda 2016)."""
    active = (_coded(c).means.double().var(0) > ACTIVE).double()
    return {"active_units": float(active.sum()), "active_share": float(active.mean())}


def of_divergence(c: Comparison) -> dict[str, float]:
    """``code_modes``: a code of so many nats tells e^kl examples apart at most, which is a share of the data's modes.
    Nothing of a plain autoencoder.
    """
    divergences = _coded(c).divergences
    if divergences is None:
        return {}
    of_unit = divergences.double().mean(0)
    kl = float(of_unit.sum())
    apart = math.exp(min(kl, 700.0)) / effective_modes(c.real.modes)
    return {"kl": kl, "kl_per_unit": float(of_unit.mean()), "code_modes": min(1.0, apart)}


def _coded(c: Comparison) -> Coded:
    if c.coded is None:
        raise FeatureError("only an autoencoder codes and reconstructs")
    return c.coded
