"""From the ledger to what is handed to the registry; the registry itself is played."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from orchestrator import promotion
from orchestrator.errors import WorkError
from orchestrator.paths import checkpoint_key, trial_key
from orchestrator.promotion import WEIGHTS
from orchestrator.registry.models import Evidence, RunGoneError
from orchestrator.search.ledger import Ledger
from orchestrator.search.trial import Leg
from orchestrator.spec import Sweep
from tests.orchestrator.small import next_leg, report, sweep

ASKED = sweep(rungs=None, search={"trials": 1}, confirm={"top": 1, "seeds": 3}, objective={"require": {}})
LUCKY = {None: 112.0, 1000: 85.0, 1001: 99.0, 1002: 120.0}
"""FID of one configuration by seed; None is the search's own."""


class FakeStore:
    """A store in which everything lies, each file with its own key in it."""

    def get(self, key: str, target: Path) -> Path:
        if key.endswith(".png"):
            target.write_text(key)
            return target
        target.mkdir()
        for name in WEIGHTS:
            (target / name).write_text(key)
        return target


class Desk:
    """A sweep, and a registry that remembers what it was given."""

    def __init__(self, folder: Path, asked: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ledger = Ledger.open(asked, folder / "ledger.journal")
        self.given: dict[str, Any] = {}
        monkeypatch.setattr(promotion, "publish", self._publish)

    def play(self, fid: Mapping[int | None, float], **says: Any) -> None:
        """Every leg there is, with ``says`` in the reports of all of them."""
        while isinstance(leg := self.ledger.next_leg(), Leg):
            prefix = trial_key(self.ledger.key, leg.trial, leg.confirm_seed)
            key = checkpoint_key(prefix, 90)
            told = {"misfit": 0.1, **says, **says.get(f"seed {leg.confirm_seed}", {})}
            told = {name: value for name, value in told.items() if not name.startswith("seed ")}
            self.ledger.report(leg, report(90, fid[leg.confirm_seed], stored=(key,), **told))
            self.ledger.end_leg(leg)
            self.ledger.set_run(leg.run, f"run {leg.run}")

    def promote(self, **wanted: Any) -> dict[str, Any]:
        wanted = {"number": None, "forced_reason": None, "licence": None, **wanted}
        return promotion.promote(self.ledger, FakeStore(), "uri", "small", "champion", assure=lambda: None, **wanted)  # type: ignore[arg-type]

    def _publish(
        self, uri: str, model: str, alias: str, run_id: str, evidence: Evidence, assure: Any
    ) -> dict[str, Any]:
        assert evidence.samples is not None
        files = {(evidence.generator / name).read_text() for name in WEIGHTS}
        self.given = {"run": run_id, "files": files, "grid": evidence.samples.read_text(), **evidence.tags}
        return {"evidence": dict(evidence.tags)}


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(tmp_path, ASKED, monkeypatch)


def test_the_best_generator_of_the_confirmed_configuration_is_promoted_whatever_its_seed(desk: Desk):
    desk.play(LUCKY)
    document = desk.promote()
    assert (document["trial"], document["seed"]) == (0, 1000)
    folder = f"{desk.ledger.key}/confirm/0-1000"
    assert desk.given["files"] == {f"{folder}/checkpoints/90"} and desk.given["grid"] == f"{folder}/samples/90.png"
    assert desk.given["run"] == "run (0, 1000)"
    assert desk.given["gansweep.checkpoint"] == f"{folder}/checkpoints/90"
    assert desk.given["gansweep.score"] == "85" and desk.given["gansweep.metric.fid"] == "85"
    assert desk.given["gansweep.seed.scores"] == "seed 0: 112, seed 1000: 85, seed 1001: 99, seed 1002: 120"
    assert desk.given["gansweep.seed.why"] == ("the best score of those that the gate lets pass: 4 of 4 trainings")
    assert desk.given["gansweep.confirmed.median"] == "99", "what the configuration is worth"


def test_the_original_stays_the_champion_where_it_is_the_best(desk: Desk):
    desk.play({**LUCKY, None: 80.0})
    assert desk.promote()["seed"] == 0
    assert desk.given["run"] == "run 0"


@pytest.mark.parametrize("says", [{"verdict": "suspect"}, {"misfit": 0.95}], ids=["ill", "noise"])
def test_a_re_training_that_the_gate_would_refuse_is_passed_over(desk: Desk, says: dict[str, Any]):
    desk.play(LUCKY, **{"seed 1000": says})
    assert desk.promote()["seed"] == 1001
    assert "3 of 4 trainings" in desk.given["gansweep.seed.why"]


def test_a_champion_of_noise_is_refused_and_can_be_forced(desk: Desk):
    desk.play(LUCKY, misfit=1.2)
    with pytest.raises(WorkError, match=r"as far from the data as noise .*misfit 1.2 .*--force --reason TEXT"):
        desk.promote()
    assert desk.promote(forced_reason="a test")["seed"] == 0, "the search's own"
    assert "misfit 1.2" in desk.given["gansweep.forced.refused"]


def test_of_a_sweep_too_short_to_be_judged_nothing_is_promoted_but_by_force_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    asked = sweep(rungs=None, search={"trials": 3}, objective={"require": {}})
    desk = Desk(tmp_path, asked, monkeypatch)
    for fid in (20.0, 10.0, 15.0):
        leg = next_leg(desk.ledger)
        key = checkpoint_key(trial_key(desk.ledger.key, leg.trial), 90)
        desk.ledger.report(leg, report(90, fid, verdict="unjudged", stored=(key,), misfit=0.1))
        desk.ledger.end_leg(leg)
        desk.ledger.set_run(leg.run, f"run {leg.run}")
    words = (
        r"3 trials finished, and all ended unjudged \(trial 0: it looks unjudged\); train longer or evaluate more "
        r"often, so that it can be judged, search further, or take the best by score all the same: "
        r".*gansweep promote small --force --reason TEXT"
    )
    with pytest.raises(WorkError, match=words):
        desk.promote()
    assert desk.promote(forced_reason="a try")["trial"] == 1
    assert desk.given["gansweep.forced.refused"].startswith("its last verdict is unjudged: it looks unjudged")


def test_a_trial_that_failed_on_a_fresh_seed_is_not_promoted_and_the_reason_is_said(desk: Desk):
    desk.play(LUCKY, **{"seed 1001": {"verdict": "collapsed"}})
    with pytest.raises(WorkError, match=r"did not survive re-training on a fresh seed \(0\)"):
        desk.promote()
    with pytest.raises(WorkError, match="did not survive re-training on seed 1001"):
        desk.promote(number=0)


def test_weights_of_a_home_that_made_no_run_of_a_re_training_belong_to_the_trials_run(desk: Desk):
    desk.play(LUCKY)
    runs = desk.ledger.runs()
    desk.ledger.runs = lambda: {key: run for key, run in runs.items() if not isinstance(key, tuple)}  # type: ignore[method-assign]
    assert desk.promote()["seed"] == 1000
    assert desk.given["run"] == "run 0"


def test_a_sweep_without_confirmation_promotes_its_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    desk = Desk(tmp_path, sweep(rungs=None, search={"trials": 1}, confirm={"top": 0}), monkeypatch)
    desk.play(LUCKY)
    assert desk.promote()["seed"] == 0
    assert desk.ledger.next_leg() == "done"


def test_a_running_confirmation_holds_the_promotion_up(desk: Desk):
    leg = next_leg(desk.ledger)
    desk.ledger.report(leg, report(90, 5.0, stored=("k",), misfit=0.1))
    desk.ledger.end_leg(leg)
    with pytest.raises(WorkError, match="not confirmed on 3 fresh seeds"):
        desk.promote()


def test_a_sweep_whose_run_is_gone_from_mlflow_is_recorded_again(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    def gone(*arguments: Any) -> None:
        raise RunGoneError("the run 7 is gone from MLflow")

    desk.play(LUCKY)
    monkeypatch.setattr(promotion, "publish", gone)
    with pytest.raises(WorkError, match=r"run 7 is gone from MLflow; .*gansweep sync small"):
        desk.promote()
