"""The samplers by name: Optuna's, each made to propose every setting together, conditional ones among the others."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna._transform import _SearchSpaceTransform
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, QMCSampler, RandomSampler, TPESampler
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

Space = dict[str, BaseDistribution]
"""Of the settings that can differ, whether a condition holds or not."""

STARTUP = 10
"""Trials that have ended or wait at a rung, below which a sampler would guess: until then ``Sobol`` spreads them."""

POPULATION = 20
"""Parents of NSGA-II; the 100 of its paper are more than most sweeps of GANs have trials."""


class _Joint(BaseSampler):
    space: Space

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> Space:
        return self.space


class Sobol(_Joint, QMCSampler):
    """The ``number``-th point of a scrambled Sobol sequence: it covers a space more evenly than chance."""

    def __init__(self, space: Space, seed: int, number: int) -> None:
        with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):
            super().__init__(qmc_type="sobol", scramble=True, seed=seed)
        self.space, self._number = space, number

    def _find_sample_id(self, study: Study, search_space: Space) -> int:
        return self._number


class Parzen(_ParzenEstimator):
    """Optuna's kernel for each trial; in a setting that a trial does not have, the prior's, which says nothing."""

    def _calculate_distributions(self, observations: NDArray[Any], *rest: Any) -> Any:
        known = ~np.isnan(observations)
        found: Any = super()._calculate_distributions(observations[known], *rest)
        places = np.full(len(known) + 1, -1)  # the prior's kernel is the last
        places[:-1][known] = np.arange(known.sum())
        parts = {"mu", "sigma", "weights"} & set(found._fields)
        return found._replace(**{part: getattr(found, part)[places] for part in parts})


class ScottParzen(Parzen):
    """Every kernel of an interval as wide as the others: a fifth of its range, less as more is known (Scott's rule, as
    in Optuna until 4, whose later widths are distances to neighbours).
    """

    def _calculate_distributions(self, observations: NDArray[Any], *rest: Any) -> Any:
        found = super()._calculate_distributions(observations, *rest)
        if "sigma" not in found._fields:
            return found
        width, sigma = 0.2 * max(len(observations), 1) ** (-1 / (len(self._search_space) + 4)), found.sigma.copy()
        sigma[:-1][~np.isnan(observations)] = width * sigma[-1]  # the last is the prior's, as wide as the range
        return found._replace(sigma=sigma)


class Tpe(_Joint, TPESampler):
    """Optuna's own draws each conditional setting by itself."""

    kernels: type[_ParzenEstimator] = ScottParzen

    def __init__(self, space: Space, seed: int) -> None:
        super().__init__(seed=seed, multivariate=True, n_startup_trials=STARTUP)
        self.space, self._parzen_estimator_cls = space, self.kernels

    def _get_internal_repr(self, trials: list[FrozenTrial], search_space: Space, study: Study) -> dict[str, Any]:
        return {
            name: np.array([kind.to_internal_repr(t.params[name]) if name in t.params else np.nan for t in trials])
            for name, kind in search_space.items()
        }


class Gp(_Joint, GPSampler):
    """Gaussian processes of objectives and constraints."""

    def __init__(self, space: Space, seed: int) -> None:
        super().__init__(seed=seed, n_startup_trials=STARTUP)
        self.space = space


class Nsga2(_Joint, NSGAIISampler):
    """NSGA-II in its steady state (Durillo et al. 2009): whatever is known may be a parent of the next trial, where
    Optuna's own waits for the end of a generation.
    """

    def __init__(self, space: Space, seed: int) -> None:
        super().__init__(seed=seed, population_size=POPULATION)
        self.space = space

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: Space) -> dict[str, Any]:
        known = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        parents = self._elite_population_selection_strategy(study, known)
        return self._child_generation_strategy(study, search_space, parents)


SAMPLERS: dict[str, Callable[[Space, int], BaseSampler]] = {
    "tpe": Tpe,
    "gp": Gp,
    "nsga2": Nsga2,
    "random": lambda space, seed: RandomSampler(seed=seed),
    "grid": lambda space, seed: RandomSampler(seed=seed),
}
"""``grid`` takes the points of a finite space in order, and needs one only for what ``start_with`` leaves open."""


def middle(space: Space) -> dict[str, Any]:
    """What samplers that need every setting of a trial are told where it lacks one."""
    transform = _SearchSpaceTransform(space, transform_0_1=True)
    return transform.untransform(np.full(len(transform.bounds), 0.5))
