"""Every sampler on every kind of space and aim."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from orchestrator.search.asking import View
from orchestrator.search.ledger import Ledger
from orchestrator.search.samplers import STARTUP, ScottParzen, Tpe
from orchestrator.search.space import searched, suggest
from orchestrator.search.trial import Leg, Trial
from orchestrator.spec import Sweep
from tests.orchestrator.small import next_leg, run, sweep

TWO: dict[str, Any] = {
    "objective": {"minimize": ("fid",), "maximize": ("coverage",), "require": {"coverage": ">= 0.5"}}
}


def course(leg: Leg, images: int) -> dict[str, Any]:
    """A third collapses; coverage costs FID."""
    rate = math.log10(leg.params["train.generator_lr"])
    if leg.trial % 3 == 2:
        return {"verdict": "collapsed"}
    return {"fid": 10 + (rate + 3) ** 2 + 10 / images, "coverage": 0.7 + rate / 20}


@pytest.mark.parametrize("aim", [{}, TWO], ids=["one objective", "two"])
@pytest.mark.parametrize("sampler", ["tpe", "gp", "nsga2", "random"])
def test_every_sampler_goes_on_after_waits_collapses_and_conditions(
    tmp_path: Path, sampler: str, aim: dict[str, Any], recwarn: pytest.WarningsRecorder
):
    trials = STARTUP + (3 if sampler == "gp" else 15)  # a proposal of gp takes half a second
    asked = sweep(search={"trials": trials, "sampler": sampler}, confirm={"top": 0}, **aim)
    ledger = Ledger.open(asked, tmp_path / "journal")
    run(ledger, course)
    assert len({repr(sorted(trial.params.items())) for trial in ledger.trials()}) == trials
    for trial in ledger.trials():
        assert ("train.r1_gamma" in trial.params) == (trial.params["train.loss"] == "hinge")
    assert [str(w.message) for w in recwarn] == []


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_samplers_that_learn_find_the_rate(tmp_path: Path, sampler: str):
    """The last of 50 trials are nearer to the best rate, 1e-3, than those of the Sobol sequence."""
    asked = sweep(search={"trials": 50, "sampler": sampler}, rungs=None, confirm={"top": 0})
    ledger = Ledger.open(asked, tmp_path / "journal")
    run(ledger, lambda leg, images: {"fid": 10 + abs(math.log10(leg.params["train.generator_lr"]) + 3)})
    away = [abs(math.log10(trial.params["train.generator_lr"]) + 3) for trial in ledger.trials()]
    assert np.median(away[-20:]) < 0.7 * np.median(away[:STARTUP])


def test_the_first_trials_are_spread_over_the_space(tmp_path: Path):
    """Eight points of a Sobol sequence lie one in each eighth of every interval, four with each of two choices."""
    ledger = Ledger.open(sweep(search={"trials": 8}), tmp_path / "journal")
    params = [next_leg(ledger).params for _ in range(8)]
    eighths = {int(8 * (math.log10(p["train.generator_lr"]) + 5) / 4) for p in params}
    assert eighths == set(range(8))
    assert sum(p["train.loss"] == "hinge" for p in params) == 4


def test_random_is_left_to_chance(tmp_path: Path):
    ledger = Ledger.open(sweep(search={"trials": 8, "sampler": "random"}), tmp_path / "journal")
    rates = [next_leg(ledger).params["train.generator_lr"] for _ in range(8)]
    assert len({int(8 * (math.log10(rate) + 5) / 4) for rate in rates}) < 8


# -- conditional settings ----------------------------------------------------------------------------------------------


def linked(seed: int) -> list[FrozenTrial]:
    """Good are those with the loss hinge and a penalty that goes with the learning rate."""
    kinds, source, made = searched(sweep()), random.Random(seed), []
    for number in range(1, 41):
        rate, penalty, hinge = source.random(), source.random(), source.random() < 0.6
        params = {"train.generator_lr": 10 ** (4 * rate - 5), "train.loss": "hinge" if hinge else "non_saturating"}
        params |= {"train.r1_gamma": 10 ** (3 * penalty - 2)} if hinge else {}
        value = abs(rate - penalty) if hinge else 1.0
        trial = create_trial(params=params, distributions={name: kinds[name] for name in params}, value=value)
        trial.number = number
        made.append(trial)
    return made


def apart(sampler: Callable[[int], BaseSampler]) -> float:
    """How far rate and penalty are from each other in the mean of 20 proposals, as shares of their ranges."""
    found = []
    for seed in range(20):
        study = optuna.create_study(sampler=sampler(seed))
        study.add_trials(linked(seed))
        params = suggest(study.ask(), sweep())
        if "train.r1_gamma" in params:
            rate, penalty = math.log10(params["train.generator_lr"]), math.log10(params["train.r1_gamma"])
            found.append(abs((rate + 5) / 4 - (penalty + 2) / 3))
    return float(np.mean(found))


def test_a_conditional_setting_is_proposed_together_with_the_others():
    """Optuna's own draws it by itself: .28 apart, where chance is .33."""
    assert apart(lambda seed: Tpe(searched(sweep()), seed)) < 0.15 < apart(lambda seed: TPESampler(seed=seed))


# -- what they are shown -----------------------------------------------------------------------------------------------


def shown(asked: Sweep, trials: list[Trial]) -> list[FrozenTrial]:
    """To the sampler of ``asked``; the ends of trials that Optuna knows as running."""
    view, kinds, frozen = View(asked), searched(asked), []
    for trial in trials:
        scores = {images: score["fid"] for images, score in trial.reports.items()}
        space = {name: kinds[name] for name in trial.params}
        one = create_trial(
            state=TrialState.RUNNING, params=trial.params, distributions=space, intermediate_values=scores
        )
        one.number = trial.id
        frozen.append(one)
        view.put(trial, one)
    return view.of(frozen, seed=0)


PARAMS = {"train.generator_lr": 1e-3, "train.loss": "non_saturating"}
NEW = Trial(0, PARAMS, "running", target=10)
WAITS = Trial(1, PARAMS, "waiting", 10, images=10, rung=1, score=9.0, scores=(9.0,), reports={10: {"fid": 9.0}})


def test_tpe_sees_a_promoted_trial_that_runs_with_its_value_and_not_as_a_bad_one():
    seen = shown(sweep(), [NEW, WAITS, replace(WAITS, id=2, state="running", target=30)])
    assert [one.state for one in seen] == [TrialState.RUNNING, TrialState.PRUNED, TrialState.PRUNED]
    assert seen[2].intermediate_values == {10: 9.0}


@pytest.mark.parametrize("sampler", ["gp", "nsga2"])
def test_the_others_see_what_is_known_as_complete_with_every_setting(sampler: str):
    seen = shown(sweep(search={"sampler": sampler}), [NEW, WAITS, replace(WAITS, id=2, state="running", target=30)])
    assert [one.state for one in seen] == [TrialState.RUNNING, TrialState.COMPLETE, TrialState.COMPLETE]
    assert [one.values for one in seen[1:]] == [[9.0], [9.0]]
    assert all(one.params["train.r1_gamma"] == pytest.approx(10**-0.5) for one in seen), (
        "the middle, where it is absent"
    )
    assert all(one.constraints == {"ended badly": -1.0} for one in seen[1:])


# -- grid --------------------------------------------------------------------------------------------------------------

POINTS = {
    "train.loss": {"choice": ("non_saturating", "hinge")},
    "train.n_dis": {"int": (1, 3), "when": {"train.loss": ("hinge",)}},
}


def test_a_grid_is_every_point_in_order(tmp_path: Path):
    asked = sweep(search={"space": POINTS, "sampler": "grid", "trials": 9}, rungs=None, confirm={"top": 0})
    ledger = Ledger.open(asked, tmp_path / "journal")
    run(ledger, lambda leg, images: {"fid": 10.0})
    assert [trial.params for trial in ledger.trials()] == [
        {"train.loss": "non_saturating"},
        *({"train.loss": "hinge", "train.n_dis": n} for n in (1, 2, 3)),
    ]


def test_a_grid_begins_with_what_the_file_starts_with(tmp_path: Path):
    first = ({"train.loss": "hinge", "train.n_dis": 3},)
    asked = sweep(search={"space": POINTS, "sampler": "grid", "trials": 3, "start_with": first}, confirm={"top": 0})
    ledger = Ledger.open(asked, tmp_path / "journal")
    assert [next_leg(ledger).params for _ in range(2)] == [first[0], {"train.loss": "non_saturating"}]


def test_every_kernel_of_an_interval_is_as_wide():
    """A fifth of the range times n ** (-1 / (d + 4)), whatever the distances; the prior's is as wide as the range."""
    space: dict[str, BaseDistribution] = {"a": FloatDistribution(0.0, 10.0), "b": FloatDistribution(0.0, 1.0)}
    known = {"a": np.array([1.0, 1.1, 9.0]), "b": np.array([0.5, 0.6, np.nan])}
    found: Any = ScottParzen(known, space, TPESampler(multivariate=True)._parzen_estimator_parameters)
    first, second = found._mixture_distribution.distributions
    assert first.sigma == pytest.approx([10 * 0.2 * 3 ** (-1 / 6)] * 3 + [10])
    assert second.sigma == pytest.approx([0.2 * 3 ** (-1 / 6)] * 2 + [1, 1]), "the prior's where a trial has none"
