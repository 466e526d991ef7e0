"""``rungs: auto``: the first trials, trained to the end, tell where trials are compared first."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.planning.estimate import stages
from orchestrator.report.numbers import numbers
from orchestrator.search import ledger as ledger_module
from orchestrator.search.first_rung import measured
from orchestrator.search.known import FIRST_RUNG, Reading
from orchestrator.search.ledger import Ledger
from orchestrator.search.trial import Leg, Trial
from orchestrator.spec import Sweep, loads
from orchestrator.terminal.planned import plan
from tests.orchestrator.small import Script, next_leg, run, sweep, train
from trainers.settings import SettingsError

END, THIRD = 180, 60
STARTUP = 10


def asked(**groups: Any) -> Sweep:
    search = {"trials": 14, **groups.pop("search", {})}
    return sweep(
        rungs={"first_images": "measured", "reduction": 3},
        train={"images": END},
        search=search,
        confirm={"top": 0},
        **groups,
    )


def settles_at(moment: int) -> Script:
    """Scores are in the reverse of their last order before ``moment``: a median of three turns one evaluation later."""

    def script(leg: Leg, images: int) -> Mapping[str, Any]:
        distance = abs(leg.params["train.generator_lr"] - 1e-3)
        return {"fid": 50 + (100 * distance if images >= moment else -100 * distance)}

    return script


def opened(home: Path, wanted: Sweep | None = None) -> Ledger:
    return Ledger.open(wanted or asked(), home / "ledger.journal")


def ended(ledger: Ledger) -> list[tuple[str, int, int]]:
    return [(trial.state, trial.images, trial.rung) for trial in ledger.trials()]


@pytest.mark.parametrize(("moment", "first"), [(0, 30), (40, 50), (160, THIRD)])
def test_the_first_rung_goes_where_ranks_hold_else_to_a_third(tmp_path: Path, moment: int, first: int):
    ledger = opened(tmp_path)
    legs = run(ledger, settles_at(moment))
    assert [leg.until for leg in legs[:STARTUP]] == [END] * STARTUP
    assert legs[STARTUP].until == first
    assert ledger.ranked.rung_images() == {30: [30, 90, 180], 50: [50, 150, 180], THIRD: [60, 180]}[first]
    assert len(ledger.trials()) == 14


def test_start_up_trials_count_at_the_new_rungs(tmp_path: Path):
    ledger = opened(tmp_path)
    for _ in range(STARTUP):
        train(ledger, next_leg(ledger), settles_at(0))
    train(ledger, leg := next_leg(ledger), lambda leg, images: {"fid": 1000})
    train(ledger, best := next_leg(ledger), lambda leg, images: {"fid": 1})
    assert (leg.trial, best.trial, leg.until) == (10, 11, 30)
    on = next_leg(ledger)
    assert (on.trial, on.until) == (11, 90), "the best of 12, though only two came to the rung since it exists"
    assert {trial.rung for trial in ledger.trials()[:STARTUP]} == {3}


def test_what_is_under_way_when_the_rung_is_found_trains_to_the_end(tmp_path: Path):
    ledger = opened(tmp_path)
    legs = [next_leg(ledger) for _ in range(12)]
    for leg in legs[:STARTUP]:
        assert ledger.first_rung is None
        train(ledger, leg, settles_at(0))
    assert ledger.first_rung
    assert [train(ledger, leg, settles_at(0)).rung for leg in legs[STARTUP:]] == [3, 3]  # type: ignore[union-attr]
    assert next_leg(ledger).until == 30


def test_a_driver_that_dies_at_any_time_decides_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "calm").mkdir()
    calm, script = opened(tmp_path / "calm"), settles_at(40)
    run(calm, script)

    def dies(name: str, value: Any) -> None:
        raise KeyboardInterrupt(name)

    deaths = 0
    while isinstance(leg := (ledger := opened(tmp_path)).next_leg(), Leg):
        if leg.trial == STARTUP - 1 and not deaths:
            monkeypatch.setattr(ledger, "_set", dies)
            with pytest.raises(KeyboardInterrupt, match=FIRST_RUNG):
                train(ledger, leg, script)
            deaths += 1
        else:
            train(ledger, leg, script)
    assert deaths and ledger.first_rung == calm.first_rung and ended(ledger) == ended(calm)
    assert Reading(asked(), tmp_path / "ledger.journal").first_rung == calm.first_rung


def test_it_is_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    ledger = opened(tmp_path)
    for _ in range(STARTUP):
        train(ledger, next_leg(ledger), settles_at(0))
    monkeypatch.setattr(ledger_module, "measured", lambda sweep, trials: pytest.fail("measured again"))
    run(opened(tmp_path), settles_at(160))


def test_a_collapse_counts_last_and_until_it_came():
    """Six good ones in order; four that looked better than all of them until they collapsed at 100 images.
    Batches end a little later than evaluations are due.
    """

    def trial(number: int, bad: bool) -> Trial:
        reports = {i + 4: {"fid": float(number), "coverage": 0.9} for i in range(10, 101 if bad else END + 1, 10)}
        state = "collapsed" if bad else "finished"
        scores = () if bad else (float(number),)
        return Trial(number, {}, state, END, max(reports), scores=scores, reports=reports)  # type: ignore[arg-type]

    trials = [trial(number, bad=number < 4) for number in range(STARTUP)]
    assert measured(asked(), trials[:-1]) is None
    found = measured(asked(), trials)
    assert found
    at = {one["images"]: (one["trials"], one["correlation"]) for one in found["correlations"]}
    assert at[90][0] == 10 and at[90][1] < 0
    assert at[100] == (6, pytest.approx(1))
    assert found["images"] == 100


def test_all_that_shows_a_sweep_shows_what_was_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    ledger = opened(tmp_path)
    assert "no rungs yet: the first 10 trials to end tell where they go" in ledger.notes
    run(ledger, settles_at(40))
    [note] = [note for note in ledger.notes if note.startswith("first rung at 50 images, the first that ranks")]
    assert "-1.00 at 30 (10 trials)" in note and "1.00 at 50 (10 trials)" in note
    document = numbers(ledger, "finished")
    assert document["first_rung"]["images"] == 50 and note in document["notes"]
    assert [rung["images"] for rung in document["rungs"]] == [50, 150, 180]
    assert [stage.trainings for _, stage in stages(asked())] == [14, 10 + 4 // 3, 0]
    plan(asked(), None)
    assert "60 -> 180 images, or where the first 10 trials, trained to the end, put them" in " ".join(
        capsys.readouterr().out.split()
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"search": {"trials": 12}}, "too few trials to measure the first rung: 10 are trained to the end"),
        ({"budget": {"trials": 12}}, "take at least 13"),
        ({"evaluate": {"every_images": 36}}, "set evaluate.every_images to 30 or less"),
    ],
)
def test_too_little_to_measure_is_refused_when_the_file_is_read(changes: dict[str, Any], message: str):
    values = yaml.safe_load(asked().to_yaml())
    assert loads(yaml.safe_dump(values | {"rungs": "auto"}), "sweep.yaml").startup == STARTUP
    for group, settings in changes.items():
        values[group] = {**(values[group] or {}), **settings}
    with pytest.raises(SettingsError) as caught:
        loads(yaml.safe_dump(values), "sweep.yaml")
    assert [problem.where for problem in caught.value.problems] == ["rungs"] and message in str(caught.value)
