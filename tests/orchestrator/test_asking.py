"""What the sampler is shown and proposes; spaces with an end: each point once, and then the search is over."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.samplers._tpe.sampler import _split_trials, default_gamma
from optuna.trial import FrozenTrial, TrialState, create_trial

from orchestrator.search.asking import GOOD, SHOWN, View, _Shown, propose
from orchestrator.search.ledger import Ledger
from orchestrator.search.points import Points
from orchestrator.search.samplers import Parzen, Tpe
from orchestrator.search.space import searched, suggest
from orchestrator.search.trial import Leg, State, Trial
from orchestrator.settings.groups import Search
from orchestrator.spec import Sweep, warnings
from tests.orchestrator.small import BASE, next_leg, run, sweep, train

LOSS = {"train.loss": {"choice": ("non_saturating", "hinge")}}
WHEN_HINGE = {"train.n_dis": {"int": (1, 3), "when": {"train.loss": ("hinge",)}}}


def test_the_sampler_has_a_seed_for_any_number_of_trials():
    """From trial 4,295 on it was beyond what NumPy takes, and the sweep ended there."""
    asked = sweep(search={"seed": 7})
    assert propose(asked, 4_295, View(asked), [], Points(asked, [])) != propose(
        asked, 4_296, View(asked), [], Points(asked, [])
    )


def many(asked: Sweep, count: int) -> tuple[View, list[FrozenTrial]]:
    """A view of trials of every kind, and all of them as Optuna has them."""
    view, source, stored = View(asked), random.Random(1), list[FrozenTrial]()
    kinds: tuple[State, ...] = ("finished", "finished", "pruned", "collapsed", "waiting", "running")
    for number in range(count):
        state, value = source.choice(kinds), source.choice((source.random(), 0.5))
        violated = {"coverage >= 0.5": source.random() - (0.9 if state != "collapsed" else 0.0)}
        ended = state not in ("waiting", "running")
        params = {"train.generator_lr": 10 ** source.uniform(-5, -1), "train.loss": source.choice(("hinge", "minimax"))}
        space = {
            "train.generator_lr": FloatDistribution(1e-5, 1e-1, log=True),
            "train.loss": CategoricalDistribution(("hinge", "minimax")),
        }
        frozen = create_trial(
            state=TrialState.COMPLETE if ended else TrialState.RUNNING,
            value=value if ended else None,
            params=params,
            distributions=space,
            intermediate_values={30: value} if state != "running" else {},
            constraints=violated if ended else None,
        )
        frozen.number = number
        view.put(Trial(number, params, state, target=90), frozen)
        stored.append(frozen)
    return view, stored


def test_the_sampler_that_is_shown_some_of_many_trials_finds_the_same_ones_good():
    """The best tenth, 25 at most, by Optuna's own division."""
    asked = sweep()
    view, trials = many(asked, 600)
    study = optuna.create_study(direction=asked.objective.direction)
    ended = sum(trial.state != TrialState.RUNNING or bool(trial.intermediate_values) for trial in trials)
    assert default_gamma(ended) == default_gamma(SHOWN) == GOOD
    known = {trial.number: trial for trial in trials}
    everything = [view._shown(number, known[number]) for number in known]
    shown = view.of(trials, seed=3)
    running = sum(trial.state == TrialState.RUNNING for trial in shown)
    assert len(shown) - running == SHOWN < ended
    good, same_good = (_split_trials(study, those, GOOD)[0] for those in (everything, shown))
    assert [trial.number for trial in good] == [trial.number for trial in same_good]
    assert view.of(trials, seed=3) == shown != view.of(trials, seed=4), "the others are drawn by seed"


class Neighbours(Tpe):
    """With Optuna's widths."""

    kernels = Parzen


def test_but_for_the_widths_what_is_proposed_is_what_optunas_own_sampler_proposes():
    asked = sweep(search={"space": {"train.generator_lr": {"float": (1e-5, 1e-1), "log": True},
                                    "train.loss": {"choice": ("hinge", "minimax")}}})  # fmt: skip
    view, trials = many(asked, 120)

    def first(sampler: BaseSampler) -> dict[str, Any]:
        storage = _Shown(view.of(trials, seed=0))
        study = optuna.create_study(storage=storage, direction=asked.objective.direction, sampler=sampler)
        return suggest(study.ask(), asked)

    for seed in range(5):
        assert first(Neighbours(searched(asked), seed)) == first(TPESampler(seed=seed))


def same(leg: Leg, images: int) -> dict[str, Any]:
    return {"fid": 10.0}


def in_space(space: dict[str, Any], **search: Any) -> Sweep:
    """``BASE`` with another space, every trial to its end."""
    return sweep(search={"space": space, **search}, rungs=None, confirm={"top": 0})


@pytest.mark.parametrize(
    ("space", "points"),
    [
        (LOSS, 2),
        ({**LOSS, **WHEN_HINGE}, 1 + 3),
        ({**WHEN_HINGE, **LOSS, "train.batch_size": {"choice": (10, 20)}}, 2 * (1 + 3)),
        ({**LOSS, **WHEN_HINGE, "train.packing": {"choice": (1, 2), "when": {"train.n_dis": (2, 3)}}}, 1 + 1 + 2 * 2),
        (
            {"train.beta1": {"float": (0.0, 0.9), "step": 0.1}, "train.batch_size": {"int": (10, 30), "step": 10}},
            10 * 3,
        ),
        (
            {**LOSS, "train.ada_target": {"choice": (None, 0.6)}, "train.augment": {"choice": ((), ("flip",))}},
            2 * 2 * 2,
        ),
        ({}, 1),
    ],
)
def test_points_of_a_space_count_conditional_settings_only_where_they_are_active(space: dict[str, Any], points: int):
    found = Search.model_validate({"space": space}).points()
    assert found is not None
    listed = [tuple(sorted(point.items())) for point in found]
    assert len(listed) == len(set(listed)) == points


def test_an_interval_of_floats_has_no_end():
    assert Search.model_validate({"space": BASE["search"]["space"]}).points() is None


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_nothing_is_trained_twice_and_the_search_ends_with_its_space(tmp_path: Path, sampler: str):
    asked = in_space({**LOSS, **WHEN_HINGE}, trials=9, sampler=sampler)
    ledger = Ledger.open(asked, tmp_path / "journal")
    run(ledger, same)
    params = [tuple(sorted(trial.params.items())) for trial in ledger.trials()]
    assert len(params) == len(set(params)) == 4
    assert ledger.is_over()
    assert ledger.notes == ["the space has only 4 points, and each was tried: no more trials come"]


@pytest.mark.parametrize(
    "space",
    [
        {"train.beta1": {"float": (0.0, 0.9), "step": 0.1}},
        {"train.augment": {"choice": ((), ("flip",), ("flip", "color"))}, "train.ada_target": {"choice": (None, 0.6)}},
    ],
    ids=["steps", "lists and null"],
)
def test_steps_lists_and_null_are_told_apart_after_a_death(tmp_path: Path, space: dict[str, Any]):
    """By what Optuna keeps of them."""
    asked = in_space(space, trials=20)
    points = len(list(asked.search.points() or ()))
    while isinstance(leg := Ledger.open(asked, tmp_path / "journal").next_leg(), Leg):
        train(Ledger.open(asked, tmp_path / "journal"), leg, same)
    params = [repr(sorted(trial.params.items())) for trial in Ledger.open(asked, tmp_path / "journal").trials()]
    assert len(params) == len(set(params)) == points


def test_what_runs_now_counts_as_tried(tmp_path: Path):
    ledger = Ledger.open(in_space(LOSS, trials=6), tmp_path / "journal")
    first, second = next_leg(ledger), next_leg(ledger)
    assert {first.params["train.loss"], second.params["train.loss"]} == {"non_saturating", "hinge"}
    assert ledger.next_leg() == "wait", "a leg may still be interrupted"
    train(ledger, first, same)
    train(ledger, second, same)
    assert ledger.next_leg() == "done"


def test_settings_to_start_with_that_were_tried_make_way(tmp_path: Path):
    again = ({"train.loss": "hinge"}, {"train.loss": "hinge"})
    ledger = Ledger.open(in_space(LOSS, trials=2, start_with=again), tmp_path / "journal")
    assert [next_leg(ledger).params["train.loss"] for _ in range(2)] == ["hinge", "non_saturating"]


def test_a_space_that_is_larger_than_the_search_says_nothing(tmp_path: Path):
    ledger = Ledger.open(in_space({**LOSS, **WHEN_HINGE}, trials=3), tmp_path / "journal")
    run(ledger, same)
    assert len(ledger.trials()) == 3 and ledger.notes == [] and "search.space" not in dict(warnings(ledger.sweep))


def test_the_plan_warns_of_a_small_space():
    found = dict(warnings(in_space(LOSS, trials=6)))
    assert found["search.space"] == "the space has only 2 points: the search ends when each is tried"
