"""What passes between a leg's reports, the ledger and the spool."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.artifacts import open_store
from orchestrator.conductor import Conductor
from orchestrator.errors import StoreError, WorkError
from orchestrator.execution.order import LegOrder
from orchestrator.search.ledger import Ledger
from orchestrator.search.trial import Leg, Trial
from orchestrator.tracking.spool import Spool
from tests.orchestrator.small import BASE, report, sweep


class Silent:
    """Shows nothing."""

    def note(self, text: str) -> None: ...
    def searching(self, ledger: Ledger, slots: int) -> None: ...
    def reported(self, leg: Leg, report: dict[str, Any]) -> None: ...
    def ended(self, leg: Leg, trial: Trial | None) -> None: ...


@pytest.fixture
def conductor(tmp_path: Path) -> Conductor:
    ledger = Ledger.open(sweep(), tmp_path / "ledger.journal")
    store = open_store("auto", tmp_path / "store")
    return Conductor(ledger, Spool(tmp_path / "spool.jsonl"), store, tmp_path / "stop", Silent())


def order(conductor: Conductor) -> LegOrder:
    leg = conductor.next_leg()
    assert isinstance(leg, tuple)
    return leg[1]


def test_values_measured_otherwise_stop_the_sweep_and_say_what_differs(conductor: Conductor) -> None:
    first, second = order(conductor), order(conductor)
    conductor.heard(first, report(10))
    other = report(10) | {"provenance": {"extractor": "digits-cnn@2", "n_fake": 1000}}
    conductor.heard(second, other)
    assert isinstance(conductor.failure, WorkError)
    assert "extractor is digits-cnn@1 (this sweep so far), digits-cnn@2 (trial 1 now)" in str(conductor.failure)
    assert conductor.stopping()
    assert conductor._ledger.trial(1).reports == {}, "it is not ranked"


def test_every_change_of_the_verdict_is_told_at_once_with_its_reasons(conductor: Conductor) -> None:
    leg = order(conductor)
    for images, verdict in ((2, "healthy"), (4, "suspect"), (6, "suspect"), (8, "healthy"), (10, "collapsed")):
        conductor.heard(leg, report(images, verdict=verdict))
    events = [event for event, _ in conductor._spool.pending()]
    told = [e["tags"] for e in events if e["kind"] == "tags" and "gansweep.verdict" in e["tags"]]
    assert told == [
        {"gansweep.verdict.4": "suspect: it looks suspect", "gansweep.verdict": "suspect"}
        | {"gansweep.reasons": "it looks suspect"},
        {"gansweep.verdict.8": "healthy", "gansweep.verdict": "healthy", "gansweep.reasons": "none"},
        {"gansweep.verdict.10": "collapsed: it looks collapsed", "gansweep.verdict": "collapsed"}
        | {"gansweep.reasons": "it looks collapsed"},
    ]
    assert [e["metrics"]["health/verdict"] for e in events if e["kind"] == "report"] == [0, 1, 1, 0, 2]


def test_a_rewind_is_an_event_of_its_own(conductor: Conductor) -> None:
    leg = order(conductor)
    told = report(10, verdict="suspect") | {"rewind": "back to the state after 0 images"}
    told["health"] = {"verdict": "suspect", "reasons": ["diversity fell", told["rewind"]], "signals": {"rewinds": 1}}
    conductor.heard(leg, told)
    events = [event for event, _ in conductor._spool.pending()]
    (tags,) = [e["tags"] for e in events if e["kind"] == "tags" and "gansweep.rewind.10" in e["tags"]]
    assert tags["gansweep.rewind.10"] == "diversity fell; back to the state after 0 images"
    (seen,) = [e for e in events if e["kind"] == "report"]
    assert seen["metrics"]["health/rewinds"] == 1


def test_a_leg_at_its_end_is_settled_though_the_sweep_is_stopping(conductor: Conductor) -> None:
    first, second = order(conductor), order(conductor)
    conductor.heard(first, report(10, stored=("k/10",)))
    conductor.interrupted = True
    conductor.ended(first)
    conductor.ended(second)
    conductor.close()
    assert [trial.state for trial in conductor._ledger.trials()] == ["waiting", "running"]


def test_a_store_that_is_down_at_the_end_loses_only_the_last_checkpoint(
    conductor: Conductor, monkeypatch: pytest.MonkeyPatch
) -> None:
    leg = order(conductor)
    conductor.heard(leg, report(5, stored=("k/5",)) | {"checkpoint": "k/6"})

    def down(key: str) -> bool:
        raise StoreError("the bucket does not answer")

    monkeypatch.setattr(conductor._store, "exists", down)
    conductor.interrupted = True
    assert conductor.close() == "interrupted"
    assert conductor._ledger.trial(0).checkpoints == ("k/5",)


def test_an_end_that_was_written_but_not_told_is_told_by_the_next_driver(conductor: Conductor, tmp_path: Path) -> None:
    leg = order(conductor)
    conductor.heard(leg, report(10, verdict="diverged"))
    conductor._ledger.end_leg(conductor._legs[leg.prefix])  # and here the driver dies
    for _ in range(2):
        ledger = Ledger.open(sweep(), tmp_path / "ledger.journal")
        spool = Spool(tmp_path / "spool.jsonl")
        Conductor(ledger, spool, open_store("auto", tmp_path / "store"), tmp_path / "stop", Silent()).open()
    ends = [event for event, _ in Spool(tmp_path / "spool.jsonl").pending() if event["kind"] == "end"]
    assert [(event["trial"], event["tags"]["gansweep.state"]) for event in ends] == [(0, "diverged")]


def test_the_ledgers_password_is_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger.open(sweep(), tmp_path / "ledger.journal")
    asked = sweep(search={**BASE["search"], "storage": "postgresql://me:hunter2@db/ledger"})
    monkeypatch.setattr(ledger, "sweep", asked)
    store = open_store("auto", tmp_path / "store")
    Conductor(ledger, Spool(tmp_path / "spool.jsonl"), store, tmp_path / "stop", Silent()).open()
    told = (tmp_path / "spool.jsonl").read_text()
    assert "postgresql://me:***@db/ledger" in told and "hunter2" not in told
