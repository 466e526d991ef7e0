"""Re-training on fresh seeds: how much of it, when it begins, and what a failure means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.search.effort import confirming
from orchestrator.search.ledger import Ledger
from orchestrator.search.trial import Leg
from orchestrator.spec import Sweep
from tests.orchestrator.small import next_leg, report, run, sweep, train

# -- how much ----------------------------------------------------------------------------------------------------------


def sizes(asked: Sweep) -> list[tuple[int, int]]:
    """Trials and seeds of each round."""
    return [(one.top, one.seeds) for one in confirming(asked).rounds]


@pytest.mark.parametrize(
    ("trials", "rungs", "expected"),
    [
        (22, None, [(6, 1), (3, 2), (2, 3)]),  # 11 of 33
        (21, None, [(3, 3)]),
        (18, None, [(3, 3)]),  # 9 of 27
        (17, None, [(2, 3)]),  # 9 of 26 would be more than a third
        (8, None, [(1, 3)]),
        (5, None, [(1, 2)]),
        (2, None, [(1, 1)]),
        (1, None, []),
        (27, {"first_images": 10, "reduction": 3}, [(1, 3)]),  # 3 of 3 finishers and 27 / 9 + 9 / 3 others
    ],
)
def test_auto_is_what_fits_into_a_third_of_all_images(trials: int, rungs: Any, expected: list[tuple[int, int]]):
    assert sizes(sweep(search={"trials": trials}, rungs=rungs)) == expected


def test_numbers_are_taken_as_they_are_and_0_is_none():
    assert sizes(sweep(search={"trials": 2}, confirm={"top": 9, "seeds": 5})) == [(9, 5)]
    assert sizes(sweep(search={"trials": 99}, confirm={"top": 0})) == []
    assert sizes(sweep(search={"trials": 99}, rungs=None, confirm={"seeds": 2})) == [(3, 2)]


def test_the_best_are_confirmed_without_a_word_in_the_file(tmp_path: Path):
    ledger = Ledger.open(sweep(rungs=None, search={"trials": 8}), tmp_path / "journal")
    again = [leg for leg in run(ledger, as_numbered) if leg.confirm_seed is not None]
    assert [(leg.trial, leg.confirm_seed) for leg in again] == [(0, 1000), (0, 1001), (0, 1002)]


# -- when --------------------------------------------------------------------------------------------------------------


def as_numbered(leg: Leg, images: int) -> dict[str, Any]:
    """The lower the number of a trial, the better."""
    return {"fid": 10.0 + leg.trial}


def both_ways(trials: int = 3) -> Sweep:
    return sweep(rungs=None, search={"trials": trials}, confirm={"top": 1, "seeds": 2})


def test_a_slot_that_the_search_leaves_idle_confirms_the_standing_best(tmp_path: Path):
    ledger = Ledger.open(both_ways(), tmp_path / "journal")
    legs = [next_leg(ledger) for _ in range(3)]
    assert ledger.next_leg() == "wait", "nothing has finished yet"
    train(ledger, legs[1], as_numbered)
    first = next_leg(ledger)
    assert (first.trial, first.confirm_seed) == (1, 1000), "while trials 0 and 2 train on"
    train(ledger, legs[2], as_numbered)
    second = next_leg(ledger)
    assert (second.trial, second.confirm_seed) == (1, 1001)
    assert ledger.next_leg() == "wait"
    assert not ledger.is_over()


def test_who_is_overtaken_is_not_confirmed_further(tmp_path: Path):
    ledger = Ledger.open(both_ways(), tmp_path / "journal")
    legs = [next_leg(ledger) for _ in range(3)]
    train(ledger, legs[1], as_numbered)
    train(ledger, next_leg(ledger), as_numbered)
    train(ledger, legs[0], as_numbered)
    again = [next_leg(ledger), next_leg(ledger)]
    assert [(leg.trial, leg.confirm_seed) for leg in again] == [(0, 1000), (0, 1001)]
    assert ledger.next_leg() == "wait"
    for leg in (*again, legs[2]):
        train(ledger, leg, as_numbered)
    assert ledger.next_leg() == "done" and ledger.is_over()
    best = ledger.best()
    assert best and best.id == 0
    assert [s["scores"] for s in ledger.confirmations.summaries()] == [[10.0, 10.0], [11.0]], "what was done is kept"


def test_what_was_begun_is_brought_to_its_end_though_the_driver_died_and_another_trial_is_better(tmp_path: Path):
    """As it would have been without the death; else its run in MLflow would run for ever."""
    ledger = Ledger.open(both_ways(), tmp_path / "journal")
    legs = [next_leg(ledger) for _ in range(3)]
    train(ledger, legs[1], as_numbered)
    begun = next_leg(ledger)
    ledger.report(begun, report(10, stored=("k/10",)))
    train(ledger, legs[0], as_numbered)
    train(ledger, legs[2], as_numbered)
    again = run(Ledger.open(both_ways(), tmp_path / "journal"), as_numbered)
    assert [(leg.trial, leg.confirm_seed, leg.checkpoints) for leg in again] == [
        (1, 1000, ("k/10",)),
        (0, 1000, ()),
        (0, 1001, ()),
    ]


def test_a_seed_confirmed_early_counts_at_the_end(tmp_path: Path):
    ledger = Ledger.open(both_ways(), tmp_path / "journal")
    legs = [next_leg(ledger) for _ in range(3)]
    train(ledger, legs[0], as_numbered)
    for leg in (next_leg(ledger), next_leg(ledger), *legs[1:]):
        train(ledger, leg, as_numbered)
    assert ledger.next_leg() == "done"
    assert ledger.confirmations.medians() == {0: (10.0,)}


# -- a race ------------------------------------------------------------------------------------------------------------


def race(tmp_path: Path, again: dict[tuple[int, int], dict[str, Any]]) -> tuple[Ledger, list[tuple[int, int]]]:
    """A sweep of 30 trials, the lower the number the better, and which seeds it trained; ``again`` says what the report
    of (trial, seed) is.
    """

    def script(leg: Leg, images: int) -> dict[str, Any]:
        if leg.confirm_seed is None:
            return as_numbered(leg, images)
        return again.get((leg.trial, leg.confirm_seed), {"fid": 20.0 + leg.trial})

    ledger = Ledger.open(sweep(rungs=None, search={"trials": 30}), tmp_path / "journal")
    return ledger, [(leg.trial, leg.confirm_seed) for leg in run(ledger, script) if leg.confirm_seed is not None]


def test_a_race_gives_more_seeds_to_those_that_do_well_on_few(tmp_path: Path):
    ledger, legs = race(tmp_path, {(5, seed): {"fid": 15.0} for seed in (1000, 1001, 1002)})
    assert legs[:6] == [(trial, 1000) for trial in range(6)]
    assert legs[6:9] == [(5, 1001), (0, 1001), (1, 1001)], "trial 5 did best on its first fresh seed"
    assert legs[9:] == [(5, 1002), (0, 1002)]
    best = ledger.best()
    assert best and best.id == 5
    assert ledger.confirmations.medians() == {0: (20.0,), 5: (15.0,)}, "who left the race early has no median"


def test_who_fails_in_a_race_is_out_whatever_its_median(tmp_path: Path):
    bad = {"verdict": "collapsed"}
    ledger, legs = race(tmp_path, {(0, 1000): bad, (1, 1001): bad, (2, 1002): bad})
    assert legs == [
        *((trial, 1000) for trial in range(6)),
        *((trial, 1001) for trial in (1, 2, 3)),
        *((trial, 1002) for trial in (2, 3)),
    ], "three of six and two of three are enough to go on with"
    best = ledger.best()
    assert best and best.id == 3


def test_a_race_in_which_all_fail_goes_on_with_the_next_but_not_for_ever(tmp_path: Path):
    bad = {(trial, seed): {"verdict": "collapsed"} for trial in range(30) for seed in (1000, 1001, 1002)}
    ledger, legs = race(tmp_path, bad)
    assert legs == [(trial, 1000) for trial in range(22)], "twice the eleven trainings that were planned"
    assert ledger.is_over()


# -- failures ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("says", "state"),
    [
        ({"verdict": "stuck"}, "stuck"),
        ({"verdict": "collapsed"}, "collapsed"),
        ({"verdict": "diverged"}, "diverged"),
        ({"coverage": 0.1}, "finished"),
    ],
)
def test_one_failed_seed_of_three_disqualifies_however_good_the_median(
    tmp_path: Path, says: dict[str, Any], state: str
):
    def script(leg: Leg, images: int) -> dict[str, Any]:
        if leg.confirm_seed is None:
            return as_numbered(leg, images)
        return says if (leg.trial, leg.confirm_seed) == (0, 1002) else {"fid": 1.0 + 5 * leg.trial}

    asked = sweep(rungs=None, search={"trials": 2}, confirm={"top": 1, "seeds": 3})
    ledger = Ledger.open(asked, tmp_path / "journal")
    run(ledger, script)
    failed = next(c for c in ledger.confirmations.all() if c.failed)
    assert (failed.trial, failed.seed, failed.state) == (0, 1002, state)
    why = "it violates coverage >= 0.5" if state == "finished" else f"{state} (it looks {state})"
    assert ledger.notes == [f"trial 0 failed on fresh seed 1002, and is out: {why}"]
    best = ledger.best()
    assert best and best.id == 1, "confirmed in its stead"
    assert ledger.confirmations.medians() == {1: (6.0,)}


def test_settings_that_fail_one_after_the_other_are_not_all_trained_again(tmp_path: Path):
    def script(leg: Leg, images: int) -> dict[str, Any]:
        return as_numbered(leg, images) if leg.confirm_seed is None else {"verdict": "collapsed"}

    ledger = Ledger.open(sweep(rungs=None, search={"trials": 9}, confirm={"top": 1, "seeds": 2}), tmp_path / "journal")
    run(ledger, script)
    assert len(ledger.confirmations.all()) == 4 and ledger.next_leg() == "done"


def test_trials_that_are_added_after_all_failed_are_trained_again_too(tmp_path: Path):
    def script(leg: Leg, images: int) -> dict[str, Any]:
        bad = leg.confirm_seed is not None and leg.trial < 9
        return {"verdict": "collapsed"} if bad else {"fid": 10.0 + leg.trial if leg.trial < 9 else 13.5}

    def asked(trials: int) -> Sweep:
        return sweep(rungs=None, search={"trials": trials}, confirm={"top": 1, "seeds": 2})

    run(Ledger.open(asked(9), tmp_path / "journal"), script)
    ledger = Ledger.open(asked(10), tmp_path / "journal")
    assert ledger.confirmations.medians() == {}
    run(ledger, script)
    assert ledger.confirmations.medians() == {9: (13.5,)}, "the best but for those that have failed"
    best = ledger.best()
    assert best and best.id == 9


def test_a_setting_that_can_not_be_trained_is_not_tried_again_on_a_fresh_seed(tmp_path: Path):
    ledger = Ledger.open(sweep(rungs=None, search={"trials": 1}, confirm={"top": 1, "seeds": 1}), tmp_path / "journal")
    train(ledger, next_leg(ledger))
    ledger.fail_leg(next_leg(ledger), "data: gone", blame="settings")
    (run_,) = ledger.confirmations.all()
    assert run_.state == "crashed" and run_.error == "data: gone" and run_.failures == {"settings": 1}
    assert ledger.next_leg() == "done" and ledger.best() is None


# -- what there is to promote ------------------------------------------------------------------------------------------


def test_the_trainings_of_a_trial_are_its_own_and_those_on_fresh_seeds(tmp_path: Path):
    ledger = Ledger.open(both_ways(1), tmp_path / "journal")
    train(ledger, next_leg(ledger), lambda leg, images: {"fid": 112.0})
    train(ledger, next_leg(ledger), lambda leg, images: {"fid": 85.0})
    ledger.report(next_leg(ledger), report(90, fid=1.0, stored=("k/90",)))  # and has not ended
    ledger.set_run(0, "own")
    ledger.set_run((0, 1000), "again")
    found = ledger.trainings(ledger.trial(0))
    assert [(t.seed, t.score, t.checkpoint, t.mlflow_run_id) for t in found] == [
        (0, 112.0, "0/None/90", "own"),
        (1000, 85.0, "0/1000/90", "again"),
    ]
    assert all(t.state == "finished" and t.images == 90 and t.violations["coverage >= 0.5"] < 0 for t in found)
