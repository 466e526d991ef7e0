"""The space as Optuna sees it, and what comes back."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest

from orchestrator.search.known import Reading
from orchestrator.search.ledger import Ledger
from orchestrator.search.space import distribution
from tests.orchestrator.small import run, sweep

LISTS = {
    "train.augment": {"choice": [[], ["translation"], ["translation", "cutout"]]},
    "train.ada_target": {
        "choice": [None, 0.6],
        "when": {"train.augment": [["translation"], ["translation", "cutout"]]},
    },
    "train.n_dis": {"int": [1, 6], "step": 2},
}


@pytest.mark.filterwarnings("error::UserWarning")
def test_lists_and_null_come_back_from_the_ledger_as_they_stand_in_the_file(tmp_path: Path) -> None:
    first = {"train.augment": ["translation", "cutout"], "train.ada_target": None, "train.n_dis": 5}
    searched = sweep(search={"space": LISTS, "trials": 8, "start_with": [first]})
    ledger = Ledger.open(searched, tmp_path / "ledger")
    run(ledger, lambda leg, images: {"fid": float(leg.trial)})
    trials = Reading(searched, tmp_path / "ledger").trials()
    assert trials[0].params == {**first, "train.augment": ("translation", "cutout")}
    for trial in trials:
        assert searched.search.space["train.augment"].holds(trial.params["train.augment"])
        assert ("train.ada_target" in trial.params) == (trial.params["train.augment"] != ())
        assert trial.params["train.n_dis"] in (1, 3, 5)
        assert searched.trial_config(trial.params).train.augment == trial.params["train.augment"]
    assert len({repr(sorted(trial.params.items())) for trial in trials}) == len(trials)


def test_a_step_that_misses_the_high_end_lowers_it() -> None:
    space = sweep(search={"space": LISTS}).search.space
    assert distribution(space["train.n_dis"]) == optuna.distributions.IntDistribution(1, 5, step=2)
