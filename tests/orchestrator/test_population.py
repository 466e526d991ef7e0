"""Population based training, on hand-made trials, on a ledger with a script in place of trainings, and for real."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from orchestrator.search.ledger import Ledger
from orchestrator.search.population import Exploit, Population, explored, schedule, words
from orchestrator.search.rungs import Continue, Rules
from orchestrator.search.trial import Leg, Origin, State, Trial
from orchestrator.settings.dimension import Dimension, inside
from orchestrator.settings.groups import Objective
from orchestrator.spec import loads
from tests.orchestrator.small import next_leg, run, sweep, train
from tests.orchestrator.sweeps import TINY, User
from trainers.reading.document import SettingsError

LEVELS = (10, 20, 30)


def decide(trials: list[Trial], in_flight: frozenset[int] = frozenset(), most: int = 0, share: float = 0.25) -> Any:
    rules = Rules(LEVELS, 2, keep=1, objective=Objective(minimize="fid"))
    return Population(rules, share, 0, trials).decide(in_flight, len(trials) < most)


def trial(number: int, fid: float | None, state: State = "waiting", rung: int = 1) -> Trial:
    level = LEVELS[rung - 1]
    reports = {} if fid is None else {level: {"fid": fid}}
    scores, stored = (() if fid is None else (fid,)), (f"{number}/{level}",)
    return Trial(number, {}, state, level, level, rung, checkpoints=stored, reports=reports, scores=scores)


def copy(number: int, of: Trial, replaced: int) -> Trial:
    origin = Origin(of.id, of.images, of.checkpoint or "", replaced)
    return Trial(number, {}, "waiting", of.target, of.images, of.rung, checkpoints=of.checkpoints, origin=origin)


FOUR = [trial(0, 5.0), trial(1, 4.0), trial(2, 9.0), trial(3, 6.0)]


def test_all_members_come_before_anybody_goes_on():
    assert decide(FOUR[:3], most=4) == "ask"
    running = trial(3, None, "running", rung=1)
    assert decide([*FOUR[:3], running], frozenset({3})) == "wait"
    assert decide([*FOUR[:3], running]) == Continue(running, 10), "interrupted"


def test_the_best_takes_the_place_of_the_worst_and_then_all_go_on():
    assert decide(FOUR) == Exploit(FOUR[1], FOUR[2])
    new = copy(4, FOUR[1], replaced=2)
    assert decide([*FOUR, new]) == Continue(FOUR[0], 20), "though the end of the worst is not written yet"
    ahead = replace(FOUR[0], state="running", target=20)
    rest = [ahead, FOUR[1], replace(FOUR[2], state="pruned"), FOUR[3], new]
    assert decide(rest, frozenset({0})) == Continue(FOUR[1], 20)
    assert decide([ahead, replace(new, id=1)], frozenset({0})) == Continue(replace(new, id=1), 20)


def test_whoever_ended_badly_is_replaced_first_and_beyond_the_share():
    dead = [trial(0, 1.0, "collapsed"), trial(1, 4.0), trial(2, None, "crashed", rung=1), trial(3, 6.0)]
    assert decide(dead) == Exploit(dead[1], dead[0])
    one = copy(4, dead[1], replaced=0)
    assert decide([*dead, one]) == Exploit(dead[1], dead[2])
    two = copy(5, dead[1], replaced=2)
    assert decide([*dead, one, two]) == Continue(dead[1], 20), "the worst of those that live is left alone then"


def test_where_nobody_is_left_to_copy_it_is_over():
    assert decide([trial(n, 1.0, "collapsed") for n in range(4)]) == "done"
    assert decide([trial(n, 1.0, "finished", rung=3) for n in range(4)]) == "done", "at the end nobody is replaced"


def test_where_only_copies_are_left_they_go_on():
    """Somebody ended the one that they are copies of."""
    gone = replace(FOUR[1], state="pruned")
    copies = [copy(4 + n, FOUR[1], replaced=n) for n in (0, 2, 3)]
    dead = [trial(n, None, "collapsed") for n in (0, 2, 3)]
    assert decide([*dead, gone, *copies]) == Continue(copies[0], 20)


def test_whom_somebody_ended_is_no_member():
    assert decide([*FOUR[:2], replace(FOUR[2], state="pruned"), FOUR[3]]) == Exploit(FOUR[1], FOUR[3])


def test_a_latecomer_catches_up():
    late = trial(4, 3.0)
    ahead = [trial(n, 2.0 + n, rung=2) for n in range(4)]
    assert decide([*ahead, late]) == Continue(late, 20)


SPACE = {
    "train.generator_lr": Dimension(float=(1e-4, 1e-2), log=True),
    "train.r1_gamma": Dimension(float=(0.0, 10.0)),
    "train.n_dis": Dimension(int=(1, 5)),
    "train.beta1": Dimension(float=(0.0, 0.9), step=0.1),
    "train.loss": Dimension(choice=("hinge", "wasserstein")),
    "train.batch_size": Dimension(int=(32, 64)),
    "model.width": Dimension(int=(8, 64)),
}
POINT = {
    "train.generator_lr": 1e-3,
    "train.r1_gamma": 5.0,
    "train.n_dis": 3,
    "train.beta1": 0.5,
    "train.loss": "hinge",
    "train.batch_size": 32,
    "model.width": 16,
}


def test_explored_settings_lie_in_the_space_and_are_mostly_a_fifth_off():
    found = [explored(SPACE, POINT, 0, number) for number in range(400)]
    assert all(inside(SPACE, params) for params in found)
    assert all(params[name] == POINT[name] for params in found for name in list(POINT)[4:]), "shapes and choices stay"
    near = [
        p["train.generator_lr"]
        for p in found
        if any(math.isclose(p["train.generator_lr"], 1e-3 * f) for f in (0.8, 1.2))
    ]
    assert 0.7 < len(near) / 400 < 0.8
    rates = [params["train.generator_lr"] for params in found if params["train.generator_lr"] not in near]
    assert min(rates) < 2e-4 and max(rates) > 5e-3, "the rest over the whole interval, by its logarithm"
    assert 0.3 < sum(rate < 1e-3 for rate in rates) / len(rates) < 0.7
    assert {params["train.n_dis"] for params in found} == {1, 2, 3, 4, 5}
    assert found == [explored(SPACE, POINT, 0, number) for number in range(400)]
    assert found != [explored(SPACE, POINT, 1, number) for number in range(400)]


SMALL = sweep(rungs=None, population={"every_images": 30}, search={"trials": 8}, confirm={"top": 1, "seeds": 2})


def noted(leg: Leg, images: int) -> dict[str, Any]:
    """Later trials are better, so copies are copied."""
    return {"fid": 50 - leg.trial + 10 / images}


@pytest.fixture
def ended(tmp_path: Path) -> tuple[Ledger, list[Leg]]:
    ledger = Ledger.open(SMALL, tmp_path / "journal")
    played = run(ledger, noted)
    ledger.close()
    return ledger, played


def test_a_population_keeps_its_size_and_its_copies_go_on_from_checkpoints(ended: tuple[Ledger, list[Leg]]):
    ledger, played = ended
    trials = ledger.trials()
    copies = [t for t in trials if t.origin]
    assert [t.begun for t in copies] == [30, 30, 60, 60], "a quarter of eight at each of two levels"
    assert len(ledger.founders()) == 8 == sum(t.state == "finished" for t in trials)
    assert ledger.spent().trials == 8 + 2
    for new in copies:
        assert new.origin is not None
        leg = next(leg for leg in played if leg.trial == new.id)
        assert leg.checkpoints == (f"{new.origin.trial}/None/{new.begun}",) and min(new.reports) == new.begun + 10
        assert trials[new.origin.replaced].state == "pruned" and trials[new.origin.replaced].images == new.begun
        assert (
            trials[new.origin.trial].params.keys() == new.params.keys()
            and trials[new.origin.trial].params != new.params
        )
        again = [
            leg
            for leg in played
            if leg.trial == new.origin.trial and leg.until > new.begun and leg.confirm_seed is None
        ]
        assert all(new.origin.checkpoint in leg.shared for leg in again), "its parent does not delete it"
    shown = sum(t.images - t.begun for t in trials)
    assert shown == 8 * 90, "no image is counted twice"


def test_confirmation_trains_through_the_settings_that_a_copy_was_trained_with(ended: tuple[Ledger, list[Leg]]):
    ledger, played = ended
    best = ledger.best()
    assert best is not None
    legs = [leg for leg in played if leg.confirm_seed == 1000]
    parts = schedule(best, ledger.trials())
    assert [(leg.until, leg.params) for leg in legs] == [(min(until, 90), params) for until, params in parts]
    assert len({repr(leg.params) for leg in legs}) == len(parts) == 3, "the winner is the copy of a copy"
    assert words(best, ledger.trials()).count("train.generator_lr") == len(parts)


def test_a_confirmation_that_dies_in_a_part_goes_on_in_it(tmp_path: Path):
    ledger = Ledger.open(SMALL, tmp_path / "journal")
    while (leg := next_leg(ledger)).confirm_seed is None:
        train(ledger, leg, noted)
    train(ledger, leg, noted)
    second = next_leg(ledger)
    again = Ledger.open(SMALL, tmp_path / "journal")
    assert second.until > leg.until and next_leg(again) == second


def test_a_budget_that_is_too_small_for_all_brings_the_best_to_its_end(tmp_path: Path):
    asked = SMALL.model_copy(update={"budget": SMALL.budget.model_copy(update={"device_hours": 1.0})})
    now = [0.0]

    def timed(leg: Leg, images: int) -> dict[str, Any]:
        now[0] += 60.0  # a report a minute: 80 are wanted, and the hour has 60
        return noted(leg, images)

    ledger = Ledger.open(asked, tmp_path / "journal", clock=lambda: now[0])
    run(ledger, timed)
    ledger.close()
    assert ledger.spent().device_hours <= 1.05 and ledger.best() is not None, "the best is trained to the end"


def test_trials_that_are_added_later_are_a_population_of_their_own(ended: tuple[Ledger, list[Leg]], tmp_path: Path):
    more = SMALL.model_copy(update={"search": SMALL.search.model_copy(update={"trials": 14})})
    ledger = Ledger.open(more, tmp_path / "journal")
    run(ledger, noted)
    added = ledger.trials()[12:]
    assert len(ledger.founders()) == 14 and sum(t.state == "finished" for t in added) == 6
    assert [t.begun for t in added if t.origin] == [30, 60]
    assert all(t.origin.trial >= 12 and t.origin.replaced >= 12 for t in added if t.origin)


TEXT = """
name: small
model: {generator: mlp, discriminator: mlp}
train: {images: 90}
evaluate: {every_images: 10}
population: {every_images: 30}
search: {trials: 4, space: {train.generator_lr: {float: [1.0e-5, 1.0e-1]}}}
"""


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("name: small", "name: small\nrungs: {reduction: 3}", "population.*leave one of them out"),
        ("every_images: 30", "every_images: 5", "comes before the first evaluation"),
        ("every_images: 30", "every_images: 90", "nobody is replaced before the end"),
        ("train.generator_lr", "model.width", "nothing in search.space can change"),
        ("trials: 4", "trials: 3", "search.trials.*too small"),
        ("every_images: 30", "every_images: 30, replace: 0.6", "replace.*less than or equal to 0.5"),
    ],
)
def test_a_population_that_can_not_be_is_refused(old: str, new: str, says: str):
    text = TEXT.replace(old, new, 1) if "[1.0e-5" not in new else TEXT
    text = text.replace("{float: [1.0e-5, 1.0e-1]}", "{int: [8, 64]}") if "width" in new else text
    with pytest.raises(SettingsError, match=says):
        loads(text, "sweep.yaml")
    loads(TEXT, "sweep.yaml")


# -- for real ----------------------------------------------------------------------------------------------------------


def test_a_population_trains_and_the_copy_of_a_copy_is_promoted(tmp_path: Path):
    user = User(
        tmp_path, TINY.replace("rungs: {first_images: 1_024, reduction: 2}", "population: {every_images: 1_024}")
    )
    done = user.run("submit", str(user.file))
    assert done.returncode == 0, done.stdout + done.stderr
    said = (done.stdout + done.stderr).splitlines()
    assert any(line.startswith("warning: population.every_images: ") for line in said), "as submit warns of any setting"
    trials = user.status()["trials"]
    copies = [t for t in trials if t["origin"]]
    assert [t["origin"]["images"] for t in copies] == [1_024, 2_048, 3_072] and len(trials) == 8
    assert "from" in done.stdout and f"{copies[0]['origin']['trial']} at 1,024" in done.stdout
    last = copies[-1]
    run = MlflowClient(user.mlflow).get_run(last["mlflow_run_id"])
    assert run.data.tags["gansweep.origin"].startswith(
        f"goes on from trial {last['origin']['trial']} after 3,072 images"
    )
    assert float(run.data.params["train.generator_lr"]) == pytest.approx(last["params"]["train.generator_lr"])
    report = user.run("report", "tiny", "-o", str(tmp_path / "report.html"))
    assert report.returncode == 0, report.stderr
    promoted = user.run("promote", "tiny", "--trial", str(last["id"]), "--force", "--reason", "to see a copy", "--json")
    assert promoted.returncode == 0, promoted.stderr
    version = MlflowClient(user.mlflow).get_model_version("tiny", str(json.loads(promoted.stdout)["version"]))
    assert "up to 3,072 images" in version.tags["gansweep.schedule"] and "on the way" in (version.description or "")
    assert user.predict("models:/tiny@champion").shape == (5, 2)
