"""Sweeps that change while they live, and those that begin with what another knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest
from optuna.trial import TrialState

from orchestrator import lifecycle, spec
from orchestrator.artifacts.directory import DirectoryStore
from orchestrator.conductor import Conductor
from orchestrator.errors import UserError
from orchestrator.paths import Home
from orchestrator.search.known import SPACES, Reading
from orchestrator.search.lease import lease_of
from orchestrator.search.ledger import Ledger
from orchestrator.search.trial import Leg
from orchestrator.search.trial_requests import TrialRequests
from orchestrator.settings.dimension import Dimension, inside
from orchestrator.settings.presets import PRESETS
from orchestrator.spec import Sweep
from orchestrator.terminal.live import Quiet
from orchestrator.tracking.spool import Spool
from tests.orchestrator.small import BASE, next_leg, report, run, sweep, train
from trainers.reading.document import Document, override
from trainers.settings import SettingsError

RATE = {"train.generator_lr": {"float": (1e-5, 1e-1), "log": True}}
LOSS = {"train.loss": {"choice": ("non_saturating", "hinge")}}
HINGE = {"train.loss": {"choice": ("hinge",)}}
NEW_LOSSES = {"train.loss": {"choice": ("hinge", "relativistic")}}


def searching(space: dict[str, Any], trials: int = 12, **groups: Any) -> Sweep:
    return sweep(**{"search": {"space": space, "trials": trials}, "confirm": {"top": 0}, **groups})


def by_number(leg: Leg, images: int) -> dict[str, Any]:
    return {"fid": 10.0 + leg.trial}


@pytest.fixture(params=["journal", "sqlite"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    return {} if request.param == "journal" else {"storage": f"sqlite:///{tmp_path}/ledger.db"}


def stored(asked: Sweep, storage: dict[str, Any]) -> Sweep:
    return asked.model_copy(update={"search": asked.search.model_copy(update=storage)})


# -- another space -----------------------------------------------------------------------------------------------------


def test_a_point_of_a_space_has_the_values_and_the_settings_that_it_switches_on():
    space = {name: Dimension.model_validate(one) for name, one in BASE["search"]["space"].items()}
    assert inside(space, {"train.generator_lr": 1e-3, "train.loss": "non_saturating"})
    assert inside(space, {"train.generator_lr": 1e-3, "train.loss": "hinge", "train.r1_gamma": 0.1})
    for wrong in (
        {"train.generator_lr": 1e-3, "train.loss": "hinge"},
        {"train.generator_lr": 1e-3, "train.loss": "non_saturating", "train.r1_gamma": 0.1},
        {"train.generator_lr": 1.0, "train.loss": "non_saturating"},
        {"train.generator_lr": 1e-3, "train.loss": "minimax"},
        {"train.generator_lr": 1e-3, "train.loss": "non_saturating", "train.beta1": 0.5},
    ):
        assert not inside(space, wrong), wrong


def test_a_narrower_space_keeps_what_lies_in_it(tmp_path: Path, storage: dict[str, Any]):
    first = Ledger.open(stored(searching({**RATE, **LOSS}, trials=6), storage), tmp_path / "journal")
    run(first, by_number)
    out = [t.id for t in first.trials() if t.params["train.loss"] != "hinge"]
    assert 0 < len(out) < 6
    narrow = stored(searching({**RATE, **HINGE}), storage)
    with pytest.raises(UserError, match=r"space.train.loss.*or change its space: gansweep resume small --set 'search"):
        Ledger.open(narrow, tmp_path / "journal")
    second = Ledger.open(narrow, tmp_path / "journal", new_space=True)
    assert [t.id for t in second.trials() if t.outside] == out
    assert {t.id for t in second.front()}.isdisjoint(out)
    legs = run(second, by_number)
    assert len(second.trials()) == 12 and {leg.trial for leg in legs}.isdisjoint(out)
    assert {t.params["train.loss"] for t in second.trials()[6:]} == {"hinge"}
    assert f"counted no more: trial {', '.join(map(str, out))}" in second.notes[0]
    again = Ledger.open(narrow, tmp_path / "journal")
    assert [t.outside for t in again.trials()] == [t.outside for t in second.trials()]


def test_a_wider_space_keeps_all_and_both_are_written_down(tmp_path: Path, storage: dict[str, Any]):
    before = stored(searching({**RATE, **HINGE}, trials=4), storage)
    run(Ledger.open(before, tmp_path / "journal"), by_number)
    wide = stored(searching({**RATE, **NEW_LOSSES}, trials=30), storage)
    ledger = Ledger.open(wide, tmp_path / "journal", new_space=True)
    assert not any(trial.outside for trial in ledger.trials())
    run(ledger, by_number)
    assert {t.params["train.loss"] for t in ledger.trials()[4:]} == {"hinge", "relativistic"}
    assert ledger._attrs[SPACES] == [before.comparable()["space"]]


def test_a_trial_outside_is_neither_promoted_nor_shown_to_the_sampler(tmp_path: Path):
    ledger = Ledger.open(searching({**RATE, **LOSS}, trials=3), tmp_path / "journal")
    for _ in range(3):
        train(ledger, next_leg(ledger), by_number)
    lost = {t.params["train.loss"] for t in ledger.trials()}
    assert lost == {"hinge", "non_saturating"}
    narrow = Ledger.open(searching({**RATE, **HINGE}, trials=3), tmp_path / "journal", new_space=True)
    seen = narrow._view.of(narrow._writer.trials, seed=0)
    assert [one.params["train.loss"] for one in seen] == ["hinge"] * len(seen)
    assert all(one.state == TrialState.PRUNED for one in seen)
    legs = run(narrow, by_number)
    assert {leg.params["train.loss"] for leg in legs} == {"hinge"}
    assert all(t.state == "pruned" for t in narrow.close() if t.outside)


def test_a_space_that_keeps_no_trial_is_refused(tmp_path: Path):
    run(Ledger.open(searching({**RATE, **HINGE}, trials=3), tmp_path / "journal"), by_number)
    other = searching({**RATE, "train.loss": {"choice": ("relativistic",)}})
    with pytest.raises(UserError, match="none of the 3 trials of sweep 'small' lies in the new space"):
        Ledger.open(other, tmp_path / "journal", new_space=True)


def test_nothing_but_the_space_may_change(tmp_path: Path):
    run(Ledger.open(searching({**RATE, **LOSS}, trials=3), tmp_path / "journal"), by_number)
    other = searching({**RATE, **HINGE}, train={"batch_size": 20})
    with pytest.raises(UserError, match=r"other settings under .*train"):
        Ledger.open(other, tmp_path / "journal", new_space=True)


def test_set_reaches_a_setting_of_the_space():
    document = Document("file", {"search": {"space": {"train.beta1": {"choice": [0.0]}}}})
    override(document, "search.space.train.generator_lr={float: [0.1, 0.2]}")
    override(document, "train.beta1=0.5")
    assert document.values["search"]["space"] == {
        "train.beta1": {"choice": [0.0]},
        "train.generator_lr": {"float": [0.1, 0.2]},
    }
    assert document.values["train"] == {"beta1": 0.5}


def test_resume_changes_the_space_the_budget_and_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    home, asked = Home.open(tmp_path / "home"), searching({**RATE, **LOSS})
    home.make()
    home.sweep("small").root.mkdir(parents=True)
    home.sweep("small").spec.write_text(asked.to_yaml())
    given: list[Any] = []
    monkeypatch.setattr(lifecycle, "submit", lambda *arguments, **named: given.append((arguments, named)))
    changes = ["search.space.train.loss={choice: [hinge]}", "budget.hours=3", "search.trials=40"]
    lifecycle.resume("small", home, Quiet(), changes)
    ((changed, *_), named) = given[0]
    assert (changed.budget.hours, changed.search.trials, named) == (3, 40, {"new_space": True})
    assert changed.search.space["train.loss"].choice == ("hinge",)
    with pytest.raises(UserError, match=r"a sweep keeps its name; begin another .* gansweep fork small other"):
        lifecycle.resume("small", home, Quiet(), ["name=other"])
    with pytest.raises(SettingsError, match=r"search.space.train.generator_lr"):
        lifecycle.resume("small", home, Quiet(), ["search.space.train.generator_lr={float: [2, 1]}"])
    lifecycle.fork("small", "other", home, Quiet(), ["train.batch_size=20"])
    ((forked, *_), named) = given[1]
    assert (forked.name, forked.train.batch_size, named) == ("other", 20, {"warm_start": "small"})
    with pytest.raises(UserError, match="there is a sweep 'small' already"):
        lifecycle.fork("small", "small", home, Quiet())
    with pytest.raises(UserError, match=r"fork sends no job to http://head:8265: .* with --warm-start small"):
        lifecycle.fork("small", "third", home, Quiet(), address="http://head:8265")


# -- a warm start ------------------------------------------------------------------------------------------------------


def known(tmp_path: Path, asked: Sweep) -> Reading:
    """A sweep whose trials 0 to 19 have come to their rungs, a third of them collapsed."""

    def script(leg: Leg, images: int) -> dict[str, Any]:
        bad = leg.trial % 3 == 0
        return {"verdict": "collapsed"} if bad else {"fid": 1e3 * abs(leg.params["train.generator_lr"] - 1e-3)}

    run(Ledger.open(asked, tmp_path / "before"), script)
    return Reading(asked, tmp_path / "before")


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
@pytest.mark.parametrize("aim", [{}, {"objective": {"maximize": ("coverage",)}}], ids=["one", "two"])
def test_a_warm_start_shows_the_sampler_what_another_sweep_knows(tmp_path: Path, sampler: str, aim: dict[str, Any]):
    before = known(tmp_path, searching({**RATE, **LOSS}, trials=20, **aim))
    asked = sweep(name="new", search={"sampler": sampler, "trials": 9}, confirm={"top": 0}, **aim)
    ledger = Ledger.open(asked, tmp_path / "journal", before=before)
    seen = ledger._view.of(ledger._writer.trials, seed=0)
    inside = [t for t in before.trials() if t.params["train.loss"] == "non_saturating"]
    assert len(seen) == len(inside), "hinge has a penalty here that the file says there: 0 lies outside"
    assert ledger._view.known == len(seen)
    violated = sum(any(v > 0 for v in one.constraints.values()) for one in seen)
    assert violated == sum(t.state == "collapsed" for t in inside)
    run(ledger, by_number)
    assert len(ledger.trials()) == 9 and all(t.id < 9 for t in ledger.trials())
    again = Ledger.open(asked, tmp_path / "journal")
    assert len(again._view.of(again._writer.trials, seed=0)) == len(seen) + 9, "also after the other is gone"


def test_it_begins_where_the_other_was_good(tmp_path: Path):
    """Without a start of its own by Sobol."""
    before = known(tmp_path, searching(RATE, trials=60))
    new = searching(RATE, trials=8).model_copy(update={"name": "new"})
    warm, cold = Ledger.open(new, tmp_path / "warm", before=before), Ledger.open(new, tmp_path / "cold")
    rates = [sorted(next_leg(one).params["train.generator_lr"] for _ in range(8)) for one in (warm, cold)]
    assert rates[0][4] < 4e-3 < rates[1][-2], "most are below, where a Sobol sequence goes to the ends"


def test_a_warm_start_from_another_kind_of_sweep_is_refused(tmp_path: Path):
    before = known(tmp_path, searching(RATE, trials=3))
    other = searching(RATE, objective={"minimize": None, "maximize": "coverage"}).model_copy(update={"name": "new"})
    with pytest.raises(UserError, match=r"--warm-start small: .*to minimize fid .*this sweep to maximize coverage"):
        Ledger.open(other, tmp_path / "journal", before=before)
    beta = {"train.beta1": {"float": (0.8, 0.9)}}
    with pytest.raises(UserError, match=r"none of its 3 trials has a score and lies in this space"):
        Ledger.open(searching(beta).model_copy(update={"name": "new"}), tmp_path / "journal", before=before)


# -- presets -----------------------------------------------------------------------------------------------------------


def test_presets_are_settings_that_training_knows():
    for name, preset in PRESETS.items():
        for setting, value in preset.items():
            group, key = setting.split(".")
            assert getattr(getattr(sweep().trial_config(preset), group), key) == value, name


def test_a_space_takes_what_it_has_of_a_preset(tmp_path: Path):
    space = {"train.generator_lr": RATE["train.generator_lr"], "train.beta1": {"choice": (0.0, 0.9)}}
    first = ("sngan-F", {"train.beta1": 0.0, "train.generator_lr": 1e-3}, "sngan-A")
    ledger = Ledger.open(sweep(search={"space": space, "trials": 4, "start_with": first}), tmp_path / "journal")
    params = [next_leg(ledger).params for _ in range(3)]
    assert params[0] == {"train.generator_lr": 1e-3, "train.beta1": 0.9}
    assert params[1] == first[1]
    assert params[2]["train.generator_lr"] == 1e-4, "beta1 = .5 is no choice, so the sampler's own"


@pytest.mark.parametrize(
    ("preset", "words"),
    [("sngan-G", "no preset 'sngan-G'; did you mean 'sngan-"), ("r3gan", "the space holds none of the settings of")],
)
def test_a_preset_that_is_not_there_or_says_nothing_is_refused(preset: str, words: str):
    space = {"train.ema_half_life": {"float": [10, 20]}}
    with pytest.raises(SettingsError, match=words):
        spec.load({"name": "a", "search": {"space": space, "start_with": [preset]}})


def test_presets_and_settings_come_back_from_the_file():
    space = {"train.generator_lr": {"float": [1e-5, 1e-1], "log": True}}
    first = ["dcgan", {"train.generator_lr": 0.01}]
    asked = spec.load({"name": "a", "search": {"space": space, "start_with": first}})
    assert spec.loads(asked.to_yaml(), "text").search.starts == [{"train.generator_lr": 2e-4}, first[1]]


# -- single trials -----------------------------------------------------------------------------------------------------


class At(NamedTuple):
    """A home in which a sweep stands, and its driver without slots."""

    home: Home
    asked: Sweep

    def driven(self) -> Conductor:
        paths = self.home.sweep("small")
        ledger = Ledger.open(self.asked, paths.ledger)
        requests = TrialRequests(self.asked, paths.ledger)
        store = DirectoryStore(self.home.artifacts)
        return Conductor(ledger, Spool(paths.spool), store, lease_of(self.asked, paths), Quiet(), requests)


@pytest.fixture
def at(tmp_path: Path, storage: dict[str, Any]) -> At:
    home, asked = Home.open(tmp_path / "home"), stored(searching({**RATE, **LOSS}, trials=2, rungs=None), storage)
    home.make()
    home.sweep("small").root.mkdir(parents=True)
    home.sweep("small").spec.write_text(asked.to_yaml())
    Ledger.open(asked, home.sweep("small").ledger)
    return At(home, asked)


def handed_out(conductor: Conductor) -> Leg:
    found = conductor.next_leg()
    assert isinstance(found, tuple)
    return conductor._legs[found[0]]


def test_settings_that_somebody_adds_are_tried_next_and_once(at: At):
    assert "when the sweep goes on: gansweep resume small" in lifecycle.add_trial(
        "small", ["train.generator_lr=0.02"], at.home
    )
    lifecycle.add_trial("small", ["train.loss=hinge", "train.generator_lr=3e-2"], at.home)
    conductor = at.driven()
    conductor.listen()
    first, second = (handed_out(conductor).params for _ in range(2))
    assert first["train.generator_lr"] == 0.02 and first["train.loss"] in LOSS["train.loss"]["choice"]
    assert second == {"train.generator_lr": 0.03, "train.loss": "hinge"}
    assert conductor.next_leg() == "wait", "each is tried once"
    again = at.driven()
    again.listen()
    assert len(again._ledger.trials()) == 2 and again._ledger._attrs["gansweep.added"] == []


def test_a_sweep_that_is_over_tries_what_is_added(at: At):
    ledger = at.driven()._ledger
    run(ledger, by_number)
    assert ledger.is_over()
    lifecycle.add_trial("small", ["train.generator_lr=0.02"], at.home)
    conductor = at.driven()
    conductor.listen()
    assert not conductor._ledger.is_over()
    assert handed_out(conductor).params["train.generator_lr"] == 0.02


def test_a_trial_that_somebody_stops_ends_after_its_report_as_pruned(at: At):
    conductor = at.driven()
    found = conductor.next_leg()
    assert isinstance(found, tuple)
    order = found[1]
    assert not conductor.unwanted(order.prefix)
    lifecycle.stop_trial("small", 0, at.home)
    conductor._requests._looked = -9.0  # type: ignore[union-attr]
    conductor.heard(order, report(10))
    assert conductor.unwanted(order.prefix)
    conductor.ended(order)
    assert conductor._ledger.trial(0).state == "pruned"
    with pytest.raises(UserError, match="trial 0 of sweep 'small' has ended already: pruned"):
        lifecycle.stop_trial("small", 0, at.home)


def test_one_that_nobody_trains_ends_at_once_and_its_driver_may_die_in_between(at: At):
    ledger = at.driven()._ledger
    next_leg(ledger)
    lifecycle.stop_trial("small", 0, at.home)
    conductor = at.driven()
    conductor.listen()
    assert conductor._ledger.trial(0).state == "pruned"
    assert at.driven()._ledger.trial(0).state == "pruned"


def test_requests_that_can_not_be_are_refused(at: At):
    run(at.driven()._ledger, by_number)
    tried = at.driven()._ledger.trial(0).params
    for given, words in (
        (["train.generator_lr=3"], "train.generator_lr: 3 lies outside search.space.train.generator_lr"),
        (["train.beta1=0.5"], "give settings of search.space as KEY=VALUE"),
        (["train.generator_lt=0.1"], "did you mean 'train.generator_lr'"),
        (["train.generator_lr={"], "'{' is not valid YAML"),
        (["train.loss"], "give settings of search.space as KEY=VALUE"),
        ([f"{name}={value}" for name, value in tried.items()], "a trial of the sweep has just these settings"),
    ):
        with pytest.raises(UserError, match=words):
            lifecycle.add_trial("small", given, at.home)
    with pytest.raises(UserError, match="has no trial 9; it has 2, from 0 on"):
        lifecycle.stop_trial("small", 9, at.home)
