"""Several objectives: a Pareto front in the place of a best trial."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator import spec
from orchestrator.artifacts.directory import DirectoryStore
from orchestrator.choice import choose
from orchestrator.errors import UserError
from orchestrator.paths import SweepPaths
from orchestrator.report import report
from orchestrator.search.ledger import Ledger
from orchestrator.search.pareto import Fronts, fronts
from orchestrator.search.rungs import Continue, Ladder, Rules
from orchestrator.search.trial import Leg, Trial
from orchestrator.settings.groups import Objective
from orchestrator.spec import Sweep
from orchestrator.status import describe, front_words
from orchestrator.terminal.show import _remarks
from tests.orchestrator.small import run, sweep
from trainers.settings import SettingsError

AIM = Objective.model_validate({"minimize": ["fid"], "maximize": "coverage"})


def several(**groups: Any) -> Sweep:
    return sweep(objective={"maximize": ("coverage",)}, confirm={"top": 0}, **groups)


def test_fronts_are_those_that_none_dominates_then_those_that_only_these_do():
    """Against the definition, on costs with many equal ones."""
    source = random.Random(3)
    costs = np.array([[source.randrange(6), source.randrange(6)] for _ in range(60)], dtype=float)
    seen: set[int] = set()
    for front in map(set, fronts(costs)):
        left = set(range(60)) - seen
        alone = {i for i in left if not any((costs[j] <= costs[i]).all() and (costs[j] < costs[i]).any() for j in left)}
        assert front == alone
        seen |= front
    assert len(seen) == 60


def test_in_a_front_the_ends_come_first_and_then_the_loneliest():
    order = Fronts()
    for number, costs in enumerate([(0, 9), (1, 8), (5, 3), (9, 0), (9, 9)]):
        order.put(number, costs)
    assert [order[place] for place in range(5)] == [0, 3, 2, 1, 4]
    order.put(0, None)
    order.put(4, (-1, -1))
    assert order[0] == 4 and len(order) == 4


def test_rungs_promote_by_front():
    def at_rung(number: int, fid: float, coverage: float) -> Trial:
        return Trial(number, {}, "waiting", 10, images=10, rung=1, reports={10: {"fid": fid, "coverage": coverage}})

    trials = [at_rung(0, 3.0, 0.1), at_rung(1, 9.0, 0.1), at_rung(2, 9.0, 0.9), at_rung(3, 4.0, 0.05)]
    trials += [at_rung(4, 10.0, 0.2), at_rung(5, 9.5, 0.8)]
    ladder, promoted = Ladder(Rules([10, 90], 3, keep=1, objective=AIM), trials), list[int]()
    while isinstance(decision := ladder.decide(frozenset(promoted), may_ask=True), Continue):
        promoted.append(decision.trial.id)
        ladder.put(replace(decision.trial, state="running", target=90))
    assert promoted == [0, 2], "one that has the best FID, one that has the best coverage"


def costly(leg: Leg, images: int) -> dict[str, Any]:
    """Trials 0 to 2 trade FID for coverage; the others are worse than trial 1 in both."""
    fid, coverage = {0: (1.0, 0.6), 1: (2.0, 0.7), 2: (3.0, 0.8)}.get(leg.trial, (4.0, 0.65))
    return {"fid": fid, "coverage": coverage}


def swept(tmp_path: Path, **groups: Any) -> Ledger:
    ledger = Ledger.open(several(rungs=None, search={"trials": 5}, **groups), tmp_path / "journal")
    run(ledger, costly)
    return ledger


def test_the_front_stands_in_the_place_of_the_best(tmp_path: Path):
    ledger = swept(tmp_path)
    assert ledger.best() is None
    document = json.loads(json.dumps(describe(ledger, SweepPaths("small", tmp_path))))
    assert document["best"] is None
    assert [(one["id"], one["scores"]) for one in document["front"]] == [
        (0, {"fid": 1.0, "coverage": 0.6}),
        (1, {"fid": 2.0, "coverage": 0.7}),
        (2, {"fid": 3.0, "coverage": 0.8}),
    ]
    assert list(front_words(document["front"]))[1] == "trial 1: fid 2, coverage 0.7"
    assert list(_remarks(document))[:2] == ["Pareto front (marked *), 3 trials:", "  trial 0: fid 1, coverage 0.6"]


def test_it_is_the_same_when_the_ledger_is_opened_again(tmp_path: Path):
    before = [trial.id for trial in swept(tmp_path).front()]
    assert [trial.id for trial in Ledger.open(swept(tmp_path).sweep, tmp_path / "journal").front()] == before


def test_promote_wants_to_know_which(tmp_path: Path):
    ledger = swept(tmp_path)
    with pytest.raises(UserError, match=r"choose one of its Pareto front with --trial\n  trial 0: fid 1, coverage"):
        choose(ledger, None, forced=True)
    assert choose(ledger, 1, forced=False).trial.id == 1


def test_medians_on_fresh_seeds_decide_the_front(tmp_path: Path):
    asked = swept(tmp_path).sweep
    asked = asked.model_copy(update={"confirm": asked.confirm.model_copy(update={"top": 2, "seeds": 1})})
    ledger = Ledger.open(asked, tmp_path / "journal")
    legs = run(ledger, lambda leg, images: {"fid": 5.0, "coverage": 0.9 if leg.trial == 2 else 0.7})
    assert [leg.trial for leg in legs] == [0, 2], "the ends of the front"
    assert [trial.id for trial in ledger.front()] == [1, 2], "trial 0 was luck; trial 1 was not trained again"
    words = list(front_words(describe(ledger, SweepPaths("small", tmp_path))["front"]))
    assert words == ["trial 1: fid 2, coverage 0.7", "trial 2: fid 5, coverage 0.9 (confirmed)"]


def test_the_report_and_the_note_show_the_front(tmp_path: Path):
    page, document = report(swept(tmp_path), "finished", DirectoryStore(tmp_path / "store"))
    assert "Pareto front" in page and "minimize fid, maximize coverage" in page
    assert [one["id"] for one in document["front"]] == [0, 1, 2]


@pytest.mark.parametrize(
    ("objective", "told"),
    [
        ({"minimize": ["fid", "coverage"]}, "minimize fid, minimize coverage"),
        ({"minimize": "fid", "maximize": ["coverage"]}, "minimize fid, maximize coverage"),
        ({"maximize": "coverage"}, "maximize coverage"),
    ],
)
def test_metrics_stand_alone_or_in_lists(objective: dict[str, Any], told: str):
    assert Objective.model_validate(objective).told == told
    asked = spec.load({"name": "a", "evaluate": {"metrics": ["fid", "coverage"]}, "objective": objective})
    assert spec.loads(asked.to_yaml(), "text").objective == asked.objective


@pytest.mark.parametrize(
    ("objective", "words"),
    [
        ({"minimize": ["fid"], "maximize": "fid"}, "a metric stands twice"),
        ({"minimize": []}, "give minimize: METRIC or maximize: METRIC"),
        ({"minimize": ["fid", "fad"]}, "'fad' is not measured; did you mean 'fid'"),
        ({"minimize": "fid", "require": {"recall": ">= 0.2"}}, "'recall' is not measured"),
    ],
)
def test_wrong_objectives_are_refused(objective: dict[str, Any], words: str):
    with pytest.raises(SettingsError, match=words):
        spec.load({"name": "a", "evaluate": {"metrics": ["fid", "coverage"]}, "objective": objective})


def test_a_grid_without_an_end_is_refused():
    space = {"train.generator_lr": {"float": [1e-4, 1e-3]}, "train.beta1": {"float": [0.0, 0.5], "step": 0.25}}
    with pytest.raises(SettingsError, match="generator_lr: grid needs an end of points: give the interval a step") as e:
        spec.load({"name": "a", "search": {"sampler": "grid", "space": space}})
    assert "beta1" not in str(e.value)
