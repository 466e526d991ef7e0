"""The ledger against deaths, bad ends and its own second opening. Optuna's side is read with Optuna's own tools."""

from __future__ import annotations

import math
import os
import random
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.samplers import BaseSampler, RandomSampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from orchestrator.errors import UserError
from orchestrator.search import asking
from orchestrator.search import journal as journal_module
from orchestrator.search.ledger import Ledger
from orchestrator.search.trial import RETRIES, Leg
from orchestrator.spec import Sweep
from tests.orchestrator.small import next_leg, report, run, steady, sweep, train


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "ledger.journal"


def as_optuna_sees(journal: Path) -> list[FrozenTrial]:
    return optuna.load_study(study_name="small", storage=JournalStorage(JournalFileBackend(str(journal)))).trials


# -- written before acted on -------------------------------------------------------------------------------------------


def test_an_interrupted_leg_is_offered_again_the_same(journal: Path):
    asked = sweep(rungs=None)
    leg = next_leg(Ledger.open(asked, journal))
    assert next_leg(Ledger.open(asked, journal)) == leg, "known before its first report"
    again = Ledger.open(asked, journal)
    assert next_leg(again) == leg
    again.report(leg, report(10, stored=("k/10",)))
    assert next_leg(Ledger.open(asked, journal)) == replace(leg, checkpoints=("k/10",)), "goes on where it was stored"


@pytest.mark.parametrize(
    ("images", "verdict", "state"),
    [(10, "healthy", "waiting"), (90, "healthy", "finished"), (10, "collapsed", "collapsed")],
)
def test_a_leg_whose_last_report_is_known_is_over_though_its_driver_died(
    journal: Path, images: int, verdict: str, state: str
):
    asked = sweep(rungs=None) if images == 90 else sweep()
    ledger = Ledger.open(asked, journal)
    ledger.report(next_leg(ledger), report(images, verdict=verdict, stored=(f"k/{images}",)))
    again = Ledger.open(asked, journal)
    assert again.trial(0).state == state
    assert next_leg(again).trial == 1, "nothing is left of it to train"
    assert as_optuna_sees(journal)[0].state.is_finished() == (state != "waiting")


def test_a_leg_in_flight_is_not_handed_out_twice(journal: Path):
    ledger = Ledger.open(sweep(), journal)
    first, second = next_leg(ledger), next_leg(ledger)
    assert (first.trial, second.trial) == (0, 1)
    ledger.release()
    assert next_leg(ledger) == first


def test_an_interrupted_leg_waits_for_the_next_driver(journal: Path):
    """Its last report came, its end did not: nothing is lost and nothing is judged too early."""
    ledger = Ledger.open(sweep(rungs={"first_images": 30}), journal)
    leg = next_leg(ledger)
    ledger.report(leg, report(20, stored=("k/20",)))
    trial = ledger.end_leg(leg)
    assert trial and (trial.state, trial.images) == ("running", 20)
    assert next_leg(ledger) == replace(leg, checkpoints=("k/20",))


def test_a_checkpoint_stored_after_the_last_report_counts_once(journal: Path):
    ledger = Ledger.open(sweep(), journal)
    leg = next_leg(ledger)
    ledger.report(leg, report(10, stored=("k/10",)))
    for _ in range(2):
        ledger.stored_late(leg, "k/20")
    assert ledger.trial(0).checkpoints == ("k/10", "k/20"), "the older one is there to fall back to"


# -- deaths ------------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """What no ``except Exception`` sees, as SIGKILL."""


class Mortal(JournalFileBackend):
    """A journal whose writer dies in the middle of the line numbered ``dies_at``."""

    dies_at = -1

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        before, Mortal.dies_at = Mortal.dies_at, Mortal.dies_at - len(logs)
        if not 1 <= before <= len(logs):
            super().append_logs(logs)
            return
        if before > 1:
            super().append_logs(logs[: before - 1])
        with Path(self._file_path).open("ab") as file:
            file.write(b'{"op_code":8,"worker_id":"tor')
        raise Killed


@pytest.fixture
def _mortal(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(journal_module, "JournalFileBackend", Mortal)
    monkeypatch.setattr(Mortal, "dies_at", -1)
    monkeypatch.setattr(os, "fsync", lambda file: None)  # the deaths are of processes, not of machines


def sometimes_bad(leg: Leg, images: int) -> dict[str, Any]:
    rate = leg.params["train.generator_lr"]
    if rate > 2e-2:
        return {"fid": math.nan, "verdict": "diverged"}
    if rate < 5e-4 and images > 20:
        return {"fid": 300.0, "verdict": "collapsed"}
    return {"fid": 50 * abs(math.log10(rate) + 3) + 30 / images, "coverage": 0.4 if rate > 1e-2 else 0.8}


DEADLY = sweep(search={"trials": 13, "seed": 5}, confirm={"top": 2, "seeds": 2})
"""More trials than TPE's ten random ones."""
POPULATION = sweep(
    rungs=None, population={"every_images": 30}, search={"trials": 8, "seed": 5}, confirm={"top": 2, "seeds": 2}
)


@pytest.mark.usefixtures("_mortal")
@pytest.mark.parametrize("asked", [DEADLY, POPULATION], ids=["rungs", "population"])
def test_whatever_the_moment_of_death_the_sweep_is_the_undisturbed_one(asked: Sweep, tmp_path: Path):
    """Killed at random appends, with half a line written: the same trials, proposals, ends and confirmations."""
    undisturbed = Ledger.open(asked, tmp_path / "undisturbed")
    run(undisturbed, sometimes_bad)
    undisturbed.close()
    expected = [(t.params, t.state, t.images, t.score, t.rung, t.origin) for t in undisturbed.trials()]
    assert {state for _, state, *_ in expected} == {"finished", "pruned", "collapsed", "diverged"}, "the script does it"
    for seed in range(6):
        journal = tmp_path / str(seed)
        deaths = run_through_deaths(asked, journal, random.Random(seed))
        ledger = Ledger.open(asked, journal)
        assert deaths >= 3
        found = [(t.params, t.state, t.images, t.score, t.rung, t.origin) for t in ledger.trials()]
        assert found == expected, f"seed {seed}"
        assert ledger.confirmations.summaries() == undisturbed.confirmations.summaries()
        assert all(trial.state.is_finished() for trial in as_optuna_sees(journal))


def run_through_deaths(asked: Sweep, journal: Path, dice: random.Random) -> int:
    """Drive the sweep to its end; every ending of a driver but the last is a death. Returns how often it died."""
    ended: set[int] = set()
    deaths = 0
    while True:
        Mortal.dies_at = dice.randint(1, 120)
        try:
            ledger = Ledger.open(asked, journal)
            ended |= {t.id for t in ledger.trials() if t.ended}
            while isinstance(leg := ledger.next_leg(), Leg):
                assert leg.confirm_seed is not None or leg.trial not in ended, "an ended trial runs again"
                trial = train(ledger, leg, sometimes_bad)
                if trial and trial.ended:
                    ended.add(trial.id)
            ledger.close()
            return deaths
        except Killed:
            deaths += 1
        finally:
            Mortal.dies_at = -1


@pytest.mark.usefixtures("_mortal")
@pytest.mark.parametrize("seed", range(12))
def test_exactly_the_asked_number_with_several_slots_and_any_death(tmp_path: Path, seed: int):
    """Three slots report in a random order; the driver is abandoned at random moments and another one takes over."""
    asked = sweep(search={"trials": 8, "seed": seed})
    dice = random.Random(seed)
    proposed: dict[int, dict[str, Any]] = {}
    over = False
    while not over:
        ledger = Ledger.open(asked, tmp_path / "journal")
        slots: dict[int, Leg] = {}
        for _ in range(dice.randint(1, 25)):
            while len(slots) < 3 and isinstance(leg := ledger.next_leg(), Leg):
                assert leg.trial not in slots
                assert proposed.setdefault(leg.trial, leg.params) == leg.params
                slots[leg.trial] = leg
            if not slots:
                ledger.close()
                over = True
                break
            train(ledger, slots.pop(dice.choice(list(slots))), sometimes_bad)
    trials = Ledger.open(asked, tmp_path / "journal").trials()
    assert [t.id for t in trials] == list(range(8))
    assert all(t.ended for t in trials)
    assert all(t.images == 90 for t in trials if t.state == "finished")


def test_a_writer_killed_with_the_lock_and_half_a_line_blocks_nobody(journal: Path):
    ledger = Ledger.open(sweep(), journal)
    leg = next_leg(ledger)
    program = f"""
import time
from pathlib import Path
from orchestrator.search.journal import _FileLock
journal = Path({str(journal)!r})
_FileLock(journal).acquire()
journal.open("ab").write(b'{{"op_code":8,"worker')
print("held", flush=True)
time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout and process.stdout.readline() == b"held\n"
        process.send_signal(signal.SIGKILL)
    ledger.report(leg, report(10, fid=7.0))  # the driver that lived on
    assert Ledger.open(sweep(), journal).trial(0).score == 7.0
    assert all(line.startswith("{") and line.endswith("}") for line in journal.read_text().splitlines())


def test_two_writers_take_turns(journal: Path):
    Ledger.open(sweep(), journal)
    first, second = journal_module._FileLock(journal), journal_module._FileLock(journal)
    first.acquire()
    waiting = threading.Thread(target=second.acquire)
    waiting.start()
    waiting.join(0.2)
    assert waiting.is_alive(), "a second line would end up inside the first"
    first.release()
    waiting.join(10)
    assert not waiting.is_alive()
    second.release()


# -- what Optuna is told -----------------------------------------------------------------------------------------------


def test_a_finished_trial_is_complete_with_the_median_of_its_last_scores(journal: Path):
    fids = {10 * i: fid for i, fid in enumerate([50.0, 40, 30, 1, 20, 20, 12, 11, 30], start=1)}
    ledger = Ledger.open(sweep(search={"trials": 1}), journal)
    run(ledger, lambda leg, images: {"fid": fids[images], "coverage": 0.7})
    (told,) = as_optuna_sees(journal)
    assert (told.state, told.value) == (TrialState.COMPLETE, 12.0), "neither the lucky 1 nor the last 30"
    assert told.constraints == pytest.approx({"coverage >= 0.5": -0.2})
    assert ledger.trial(0).score == 12.0


def test_a_trial_left_waiting_is_pruned_with_its_scores_on_the_way(journal: Path):
    ledger = Ledger.open(sweep(), journal)
    run(ledger, lambda leg, images: {"fid": 10.0 + leg.trial})
    assert [t.state for t in ledger.trials()] == ["finished", "waiting", "waiting"]
    assert as_optuna_sees(journal)[1].state == TrialState.RUNNING, "it may still be promoted"
    assert [t.id for t in ledger.close()] == [1, 2]
    assert ledger.close() == []
    told = as_optuna_sees(journal)[1]
    assert (told.state, told.intermediate_values) == (TrialState.PRUNED, {10: 11.0})


@pytest.mark.parametrize("verdict", ["collapsed", "diverged"])
def test_a_bad_end_is_complete_with_the_worst_score_and_a_violated_constraint(journal: Path, verdict: str):
    ledger = Ledger.open(sweep(), journal)
    scripts: dict[int, dict[str, Any]] = {
        0: {"fid": 80.0},
        1: {"fid": math.nan, "coverage": math.nan, "verdict": verdict},
        2: {"fid": 5.0},
    }
    run(ledger, lambda leg, images: scripts[leg.trial])
    told = as_optuna_sees(journal)[1]
    assert (told.state, told.value) == (TrialState.COMPLETE, 80.0), "the sampler must learn from it; FAIL is ignored"
    assert told.constraints[verdict] > 0
    assert all(math.isfinite(v) for v in (*told.constraints.values(), *told.intermediate_values.values()))
    assert (ledger.trial(1).state, ledger.trial(1).score) == (verdict, None)
    best = ledger.best()
    assert best and best.id == 2


def test_a_bad_end_is_one_also_where_nothing_stopped_the_training(journal: Path):
    """``health.stop: never`` shows the whole curve; it does not make a collapsed generator a finished one."""
    ledger = Ledger.open(sweep(health={"stop": "never"}), journal)
    verdicts = {0: "healthy", 1: "collapsed", 2: "healthy"}
    while isinstance(leg := ledger.next_leg(), Leg):
        for images in range(ledger.trial(leg.trial).images + 10, leg.until + 1, 10):
            fid = 1.0 if leg.trial == 1 else 10.0 + leg.trial
            ledger.report(leg, report(images, fid, verdicts[leg.trial], (f"k/{images}",)))
        ledger.end_leg(leg)
    ledger.close()
    assert [trial.state for trial in ledger.trials()] == ["finished", "collapsed", "pruned"]
    assert as_optuna_sees(journal)[1].constraints["collapsed"] > 0


def test_what_is_not_a_number_never_reaches_optuna(journal: Path):
    script = {10: math.nan, 20: math.inf, 30: 7.0}
    ledger = Ledger.open(sweep(search={"trials": 1}), journal)
    run(ledger, lambda leg, images: {"fid": script.get(images, -math.inf), "coverage": math.nan})
    (told,) = as_optuna_sees(journal)
    assert (told.value, told.intermediate_values) == (7.0, dict.fromkeys(range(30, 91, 10), 7.0))
    assert told.constraints == {"coverage >= 0.5": 1.0}, "unmeasured counts as violated"
    assert ledger.best() is None


def test_a_trial_that_never_scored_is_still_told_a_number(journal: Path):
    ledger = Ledger.open(sweep(search={"trials": 1}), journal)
    run(ledger, lambda leg, images: {"fid": math.nan})
    (told,) = as_optuna_sees(journal)
    assert told.state == TrialState.COMPLETE and told.value == 0.0
    assert ledger.trial(0).score is None and ledger.best() is None


def test_a_crash_is_tried_again_and_then_fails_with_its_words(journal: Path):
    ledger = Ledger.open(sweep(search={"trials": 1}), journal)
    legs = []
    for _ in range(RETRIES["rank"] + 1):
        legs.append(next_leg(ledger))
        assert ledger.trial(0).state == "running"
        ledger.fail_leg(legs[-1], "CUDA error: out of memory")
    assert legs == [legs[0]] * (RETRIES["rank"] + 1)
    assert ledger.next_leg() == "done"
    assert as_optuna_sees(journal)[0].state == TrialState.FAIL
    trial = ledger.trial(0)
    assert (trial.state, trial.score, trial.error) == ("crashed", None, "CUDA error: out of memory")


def test_who_is_not_to_blame_keeps_the_retries(journal: Path):
    ledger = Ledger.open(sweep(search={"trials": 1}), journal)
    for _ in range(2 * RETRIES["rank"]):
        ledger.fail_leg(next_leg(ledger), "the bucket does not answer", blame=None)
    assert (ledger.trial(0).state, ledger.trial(0).failures) == ("running", {})


def test_each_class_of_failures_has_its_own_retries(journal: Path):
    ledger = Ledger.open(sweep(search={"trials": 1}), journal)
    for blame in ("lost", "hung", "rank", "memory", "lost", "hung"):
        assert (failed := ledger.fail_leg(next_leg(ledger), "again", blame)) and failed.state == "running"
    assert ledger.trial(0).failures == {"lost": 2, "hung": 2, "rank": 1, "memory": 1}
    assert (failed := ledger.fail_leg(next_leg(ledger), "again", "memory")) and failed.state == "crashed"


def test_the_sampler_learns_from_a_trial_that_needs_too_much_memory(journal: Path):
    ledger = Ledger.open(sweep(search={"trials": 2}), journal)
    for _ in range(RETRIES["memory"] + 1):
        ledger.fail_leg(next_leg(ledger), "CUDA error: out of memory", "memory")
    assert ledger.trial(0).state == "crashed" and ledger.trial(0).too_large
    seen = as_optuna_sees(journal)[0]
    assert (seen.state, seen.constraints) == (TrialState.COMPLETE, {"memory": 1.0})
    assert next_leg(ledger).trial == 1


def test_retries_count_per_leg(journal: Path):
    ledger = Ledger.open(sweep(search={"trials": 1}), journal)
    for rung in (1, 2):
        for _ in range(RETRIES["rank"]):
            ledger.fail_leg(next_leg(ledger), "killed")
        trial = train(ledger, next_leg(ledger))
        assert trial and (trial.state, trial.rung) == ("waiting", rung)


# -- what the sampler sees ---------------------------------------------------------------------------------------------


class Spy(RandomSampler):
    """Remembers the trials it was shown."""

    def __init__(self) -> None:
        super().__init__(seed=0)
        self.seen: list[FrozenTrial] = []

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, Any]:
        self.seen = study.get_trials()[:-1]
        return {}


def test_the_sampler_sees_waiting_trials_as_pruned_and_running_ones_as_running(
    journal: Path, monkeypatch: pytest.MonkeyPatch
):
    ledger = Ledger.open(sweep(search={"trials": 9}), journal)
    finished, collapsed, crashed = (next_leg(ledger) for _ in range(3))
    train(ledger, collapsed, lambda leg, images: {"verdict": "collapsed"})
    for _ in range(RETRIES["rank"] + 1):
        ledger.fail_leg(crashed, "killed")
    train(ledger, replace(finished, until=90))
    waiting, _running = next_leg(ledger), next_leg(ledger)
    train(ledger, waiting, lambda leg, images: {"fid": 99.0})
    spy = Spy()

    def sampler(*_: Any) -> BaseSampler:
        return spy

    monkeypatch.setattr(asking, "sampler_of", sampler)
    next_leg(ledger)
    complete, pruned, runs = TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING
    assert [t.state for t in spy.seen] == [complete, complete, pruned, runs], "a crash says nothing"
    assert spy.seen[2].intermediate_values == {10: 99.0}
    assert spy.seen[1].constraints["collapsed"] > 0
    assert as_optuna_sees(journal)[3].state == runs, "it was only a view"


def test_conditional_parameters_appear_only_when_active(journal: Path):
    ledger = Ledger.open(sweep(search={"trials": 12}), journal)
    params = [next_leg(ledger).params for _ in range(12)]
    assert {p["train.loss"] for p in params} == {"non_saturating", "hinge"}
    assert all(("train.r1_gamma" in p) == (p["train.loss"] == "hinge") for p in params)


def test_a_ledger_opened_again_proposes_what_an_open_one_would_have(tmp_path: Path):
    asked = sweep(search={"trials": 13, "seed": 3})

    def proposals(journal: Path, reopen: bool) -> list[dict[str, Any]]:
        ledger = Ledger.open(asked, journal)
        found: list[dict[str, Any]] = []
        while len(found) < 13:
            ledger = Ledger.open(asked, journal) if reopen else ledger
            leg = next_leg(ledger)
            found += [leg.params] if leg.trial == len(found) else []
            train(ledger, leg)
        return found

    open_, reopened = proposals(tmp_path / "a", False), proposals(tmp_path / "b", True)
    assert open_ == reopened
    assert len({p["train.generator_lr"] for p in open_}) == 13, "each trial has a seed of its own"


def test_settings_to_start_with_go_first(journal: Path):
    first = ({"train.loss": "hinge", "train.generator_lr": 2e-4, "train.r1_gamma": 1.0}, {"train.generator_lr": 3e-4})
    ledger = Ledger.open(sweep(search={"trials": 3, "start_with": first}), journal)
    one = next_leg(ledger)
    assert one.params == first[0]
    two = next_leg(Ledger.open(sweep(search={"trials": 3, "start_with": first}), journal))
    assert two == one, "interrupted, and not asked anew"
    assert next_leg(ledger).params["train.generator_lr"] == 3e-4, "the sampler fills in the rest"


# -- one name, one search ----------------------------------------------------------------------------------------------


def test_homes_that_share_a_store_have_folders_of_their_own(journal: Path, tmp_path: Path):
    mine, other = Ledger.open(sweep(), journal), Ledger.open(sweep(), tmp_path / "other.journal")
    assert mine.key.startswith("small-") and mine.key != other.key
    assert Ledger.open(sweep(), journal).key == mine.key


def test_a_ledger_without_a_trial_makes_way_for_other_settings(journal: Path):
    first = Ledger.open(sweep(), journal).id
    assert Ledger.open(sweep(), journal).id == first, "the same settings go on with it"
    other = Ledger.open(sweep(train={"images": 180}), journal)
    assert other.id != first and other.trials() == []


def test_another_search_space_under_the_same_name_is_refused_in_words(journal: Path):
    Ledger.open(sweep(), journal).next_leg()
    for other, part in [
        (sweep(search={"space": {"train.beta1": {"float": (0.0, 0.9)}}}), "space"),
        (sweep(objective={"minimize": "coverage"}), "objective"),
        (sweep(train={"images": 180}), "train"),
        (sweep(rungs=None), "rungs"),
    ]:
        with pytest.raises(UserError, match=rf"other settings under {part}; .*--name.*gansweep resume small"):
            Ledger.open(other, journal)


def test_what_does_not_touch_the_ranking_may_change(journal: Path):
    Ledger.open(sweep(), journal)
    Ledger.open(sweep(search={"trials": 99, "seed": 7}, resources={"max_concurrent_trials": 1}), journal)


def test_more_trials_extend_an_ended_sweep(journal: Path):
    ledger = Ledger.open(sweep(), journal)
    run(ledger)
    ledger.close()
    assert ledger.is_over() and ledger.next_leg() == "done"
    before = ledger.trials()
    extended = Ledger.open(sweep(search={"trials": 6}), journal)
    assert not extended.is_over()
    played = run(extended)
    assert {leg.trial for leg in played} == {3, 4, 5}, "what has ended stays as it is"
    assert extended.trials()[:3] == before
    assert len(extended.trials()) == 6


# -- confirmation on fresh seeds ---------------------------------------------------------------------------------------

CONFIRMED = sweep(confirm={"top": 2, "seeds": 3}, train={"seed": 40})


def lucky(leg: Leg, images: int) -> dict[str, Any]:
    """Trial 0 looks best in the search; on fresh seeds trial 1 is."""
    search = {0: 5.0, 1: 6.0, 2: 30.0}
    fresh = {0: {1040: 50.0, 1041: 9.0, 1042: 20.0}, 1: {1040: 6.0, 1041: 8.0, 1042: 7.0}}
    return {"fid": search[leg.trial] if leg.confirm_seed is None else fresh[leg.trial][leg.confirm_seed]}


def test_the_best_are_trained_again_on_fresh_seeds_and_the_confirmed_median_wins(journal: Path):
    ledger = Ledger.open(CONFIRMED, journal)
    played = run(ledger, lucky)
    again = [leg for leg in played if leg.confirm_seed is not None]
    assert [(leg.trial, leg.confirm_seed) for leg in again] == [(t, s) for t in (0, 1) for s in (1040, 1041, 1042)]
    assert all(leg.until == 90 and leg.params == ledger.trial(leg.trial).params for leg in again)
    assert played.index(again[0]) == len(played) - 6, "after the search"
    assert ledger.confirmations.summaries() == [
        {"trial": 0, "seeds": [1040, 1041, 1042], "scores": [50.0, 9.0, 20.0], "median": 20.0, "worst": 50.0},
        {"trial": 1, "seeds": [1040, 1041, 1042], "scores": [6.0, 8.0, 7.0], "median": 7.0, "worst": 8.0},
    ]
    best = ledger.best()
    assert best and best.id == 1
    assert (
        ledger.is_over()
        and Ledger.open(CONFIRMED, journal).confirmations.summaries() == ledger.confirmations.summaries()
    )


def test_maximizing_turns_worst_round(journal: Path):
    asked = sweep(
        confirm={"top": 1, "seeds": 3}, objective={"minimize": None, "maximize": "coverage", "require": {}}, rungs=None
    )
    ledger = Ledger.open(asked, journal)
    run(ledger, lambda leg, images: {"coverage": 0.5 + leg.trial / 10 + ((leg.confirm_seed or 0) - 1000) / 100})
    (summary,) = ledger.confirmations.summaries()
    assert summary["trial"] == 2
    assert (summary["median"], summary["worst"]) == pytest.approx((0.71, 0.70))


def test_an_interrupted_confirmation_goes_on_from_its_checkpoint(journal: Path):
    ledger = Ledger.open(CONFIRMED, journal)
    while (leg := next_leg(ledger)).confirm_seed is None:
        train(ledger, leg, lucky)
    ledger.report(leg, report(20, stored=("k/20",)))
    again = next_leg(Ledger.open(CONFIRMED, journal))
    assert again == replace(leg, checkpoints=("k/20",))
    assert next_leg(ledger).confirm_seed == 1041, "the first one is in flight"


def test_a_fresh_seed_that_collapses_or_crashes_leaves_the_median_open(journal: Path):
    def script(leg: Leg, images: int) -> dict[str, Any]:
        if leg.trial == 2:
            return {"fid": 30.0}
        return {**lucky(leg, images), "verdict": "collapsed" if leg.confirm_seed == 1041 else "healthy"}

    ledger = Ledger.open(sweep(confirm={"top": 2, "seeds": 3}, train={"seed": 40}, rungs=None), journal)
    while isinstance(leg := ledger.next_leg(), Leg):
        if (leg.trial, leg.confirm_seed) == (1, 1041):
            ledger.fail_leg(leg, "killed")
        else:
            train(ledger, leg, script)
    one, two, three = ledger.confirmations.summaries()
    assert (one["scores"], one["median"], one["worst"]) == ([50.0, None], None, None)
    assert (two["scores"], two["median"]) == ([6.0, None], None)
    crashed = next(c for c in ledger.confirmations.all() if (c.trial, c.seed) == (1, 1041))
    assert crashed.state == "crashed" and crashed.failures == {"rank": RETRIES["rank"] + 1}
    assert three["median"] == 30.0, "it takes the place of those that failed"
    best = ledger.best()
    assert best and best.id == 2


@pytest.mark.parametrize("says", [{"verdict": "collapsed"}, {"coverage": 0.1}])
def test_a_fresh_seed_must_be_as_good_as_a_trial_must_be(journal: Path, says: dict[str, Any]):
    """Whatever the settings stop on."""
    asked = sweep(confirm={"top": 1, "seeds": 1}, health={"stop": "never"}, rungs=None, search={"trials": 1})
    ledger = Ledger.open(asked, journal)
    run(ledger, lambda leg, images: {} if leg.confirm_seed is None else says)
    assert ledger.best() is None and ledger.is_over()


def test_the_median_of_two_is_their_middle_and_fewer_seeds_may_be_asked_later(journal: Path):
    asked = sweep(confirm={"top": 1, "seeds": 2}, rungs=None, search={"trials": 1})
    ledger = Ledger.open(asked, journal)
    run(ledger, lambda leg, images: {"fid": 5.0 + (leg.confirm_seed or 1000) % 2})
    fewer = asked.model_copy(update={"confirm": asked.confirm.model_copy(update={"seeds": 1})})
    for one in (ledger, Ledger.open(fewer, journal)):
        (summary,) = one.confirmations.summaries()
        assert (summary["median"], summary["worst"]) == (5.5, 6.0)


def test_a_confirmation_whose_last_report_is_known_is_over_though_its_driver_died(journal: Path):
    ledger = Ledger.open(CONFIRMED, journal)
    while (leg := next_leg(ledger)).confirm_seed is None:
        train(ledger, leg, lucky)
    ledger.report(leg, report(90, fid=9.0, stored=("k/90",)))
    again = Ledger.open(CONFIRMED, journal)
    assert again.confirmations.of(leg.trial)[0].score == 9.0
    assert next_leg(again).confirm_seed == 1041


# -- the best ----------------------------------------------------------------------------------------------------------


def test_the_best_keeps_every_constraint_and_is_healthy(journal: Path):
    ledger = Ledger.open(sweep(rungs=None), journal)
    scripts: list[dict[str, Any]] = [{"fid": 1.0, "coverage": 0.4}, {"fid": 2.0, "verdict": "suspect"}, {"fid": 3.0}]
    run(ledger, lambda leg, images: scripts[leg.trial])
    assert [t.state for t in ledger.trials()] == ["finished"] * 3
    best = ledger.best()
    assert best and best.id == 2


def test_the_runs_of_mlflow_and_the_state_are_remembered(journal: Path):
    ledger = Ledger.open(sweep(), journal)
    assert (ledger.state(), ledger.runs()) == ("interrupted", {})
    next_leg(ledger)
    ledger.set_run(None, "parent")
    ledger.set_run(0, "child")
    ledger.set_state("stopped")
    again = Ledger.open(sweep(), journal)
    assert (again.state(), again.runs(), again.trial(0).mlflow_run_id) == (
        "stopped",
        {None: "parent", 0: "child"},
        "child",
    )


def test_a_database_that_can_not_be_used_is_one_line_without_its_password(
    journal: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("LEDGER_PASSWORD", "hunter2")
    asked: Sweep = sweep(search={"storage": "postgresql+nodriver://me:$LEDGER_PASSWORD@127.0.0.1:1/ledger"})
    with pytest.raises(UserError, match=r"^the ledger's database .*check its URL") as caught:
        Ledger.open(asked, journal)
    assert "hunter2" not in str(caught.value) and "\n" not in str(caught.value)


def test_a_database_holds_a_ledger_as_well(tmp_path: Path):
    asked = sweep(search={"storage": f"sqlite:///{tmp_path}/ledger.db"})
    leg = next_leg(Ledger.open(asked, tmp_path / "unused"))
    ledger = Ledger.open(asked, tmp_path / "unused")
    assert next_leg(ledger) == leg
    train(ledger, leg, steady)
    assert Ledger.open(asked, tmp_path / "unused").trial(0).state == "waiting"
    assert not (tmp_path / "unused").exists()
