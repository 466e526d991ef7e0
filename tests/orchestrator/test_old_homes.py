"""A home that another version wrote opens and goes on, or says in one sentence how to.

``homes/0.1.0`` was written by that version; its driver died in the second re-training of trial 0, at 60 of 90 images.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from orchestrator.errors import UserError
from orchestrator.paths import SweepPaths
from orchestrator.search.known import Reading
from orchestrator.search.ledger import Ledger
from orchestrator.spec import load
from orchestrator.status import describe
from tests.orchestrator.small import next_leg, train

HOME = Path(__file__).parent / "homes/0.1.0"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A copy to write to."""
    return Path(shutil.copytree(HOME, tmp_path / "home"))


def test_a_home_of_0_1_0_is_read_as_it_was_left(home: Path):
    asked = load(home / "sweep.yaml")
    document = describe(Reading(asked, home / "ledger.journal"), SweepPaths("old", home))
    assert [(t["state"], t["images"], t["rung"], t["verdict"]) for t in document["trials"]] == [
        ("finished", 90, 2, "healthy"),
        ("collapsed", 30, 0, "collapsed"),
        ("diverged", 30, 0, "diverged"),
        ("crashed", 0, 0, "healthy"),
        ("finished", 90, 2, "healthy"),
        ("waiting", 30, 1, "healthy"),
    ]
    assert document["best"]["id"] == 0
    assert document["confirmed"] == [
        {"trial": 0, "seeds": [1040, 1041], "scores": [10.0, None], "median": None, "worst": None}
    ]


def test_a_home_of_0_1_0_goes_on_where_it_was_left(home: Path):
    ledger = Ledger.open(load(home / "sweep.yaml"), home / "ledger.journal")
    leg = next_leg(ledger)
    assert (leg.trial, leg.confirm_seed) == (0, 1041)
    assert [key.rsplit("/", 1)[-1] for key in leg.checkpoints] == ["30", "60"]
    train(ledger, leg, lambda leg, images: {"fid": 12.0})
    assert ledger.next_leg() == "done", "and nothing that this version would do by default"
    assert [trial.id for trial in ledger.close()] == [5]
    assert ledger.confirmations.medians() == {0: ((10.0 + 12.0) / 2,)}


def test_it_takes_more_trials(home: Path):
    asked = load(home / "sweep.yaml", ["search.trials=8"])
    ledger = Ledger.open(asked, home / "ledger.journal")
    assert (next_leg(ledger).trial, next_leg(ledger).trial) == (6, 7)


def test_settings_that_it_did_not_know_are_their_defaults(home: Path):
    """A version that adds a setting must not take every older sweep for another one."""
    journal = home / "ledger.journal"
    lines = journal.read_text().replace('"penalty_interval":1,', "")
    assert lines != journal.read_text()
    journal.write_text(lines)
    assert Ledger.open(load(home / "sweep.yaml"), journal).trials()
    with pytest.raises(UserError, match=r"other settings under train; .*\(train.penalty_interval: 1 there, 4 here\)"):
        Ledger.open(load(home / "sweep.yaml", ["train.penalty_interval=4"]), journal)


def test_settings_that_this_version_does_not_know_are_one_sentence(home: Path):
    journal = home / "ledger.journal"
    first, rest = journal.read_text().replace('"penalty_interval":1,', '"penalty_interval":1,"warp":9,').split("\n", 1)
    assert json.loads(first) and '"warp"' in rest
    journal.write_text(f"{first}\n{rest}")
    with pytest.raises(UserError, match=r"sweep 'old' was made by another version .*train.warp.*; .*--name") as caught:
        Ledger.open(load(home / "sweep.yaml"), journal)
    assert "\n" not in str(caught.value)
