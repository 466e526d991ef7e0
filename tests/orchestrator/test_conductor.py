"""What passes between a leg's reports, the ledger and the spool."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from orchestrator.artifacts import open_store
from orchestrator.conductor import Conductor
from orchestrator.errors import (
    DataGoneError,
    LeaseLostError,
    NodeGoneError,
    OutOfMemoryError,
    StoreError,
    UntrainableError,
    UserError,
    WorkError,
)
from orchestrator.execution.order import LegOrder
from orchestrator.paths import RunKey, SweepPaths
from orchestrator.search.lease import Lease, lease_of
from orchestrator.search.ledger import Ledger
from orchestrator.search.trial import Leg, Trial
from orchestrator.spec import Sweep
from orchestrator.tracking.notes import NOTE
from orchestrator.tracking.spool import Spool
from tests.orchestrator.small import BASE, report, sweep


class Silent:
    """Shows nothing."""

    def note(self, text: str) -> None: ...
    def stage(self, doing: str) -> None: ...
    def moved(self, images: Mapping[RunKey, int]) -> None: ...
    def searching(self, ledger: Ledger, slots: int) -> None: ...
    def reported(self, leg: Leg, report: dict[str, Any]) -> None: ...
    def ended(self, leg: Leg, trial: Trial | None) -> None: ...


def a_lease(folder: Path) -> Lease:
    return lease_of(sweep(), SweepPaths("small", folder))


@pytest.fixture
def conductor(tmp_path: Path) -> Conductor:
    ledger = Ledger.open(sweep(), tmp_path / "ledger.journal")
    store = open_store("auto", tmp_path / "store")
    return Conductor(ledger, Spool(tmp_path / "spool.jsonl"), store, a_lease(tmp_path), Silent())


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
    events = [event for event, _ in conductor._mirror._spool.pending()]
    told = [e["tags"] for e in events if e["kind"] == "tags" and "gansweep.verdict" in e["tags"]]
    assert told == [
        {"gansweep.verdict.4": "suspect: it looks suspect", "gansweep.verdict": "suspect"}
        | {"gansweep.reasons": "it looks suspect"},
        {"gansweep.verdict.8": "healthy", "gansweep.verdict": "healthy", "gansweep.reasons": "none"},
        {"gansweep.verdict.10": "collapsed: it looks collapsed", "gansweep.verdict": "collapsed"}
        | {"gansweep.reasons": "it looks collapsed"},
    ]
    assert [e["metrics"]["health/verdict"] for e in events if e["kind"] == "report"] == [0, 1, 1, 0, 2]


def test_the_page_of_a_sweep_that_runs_tells_its_best_so_far(conductor: Conductor, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("orchestrator.mirror.EVERY", -1.0)
    conductor.open()
    leg = order(conductor)
    conductor.heard(leg, report(10, verdict="collapsed"))
    conductor.ended(leg)
    notes = [
        e["tags"][NOTE] for e, _ in conductor._mirror._spool.pending() if NOTE in e.get("tags", {}) and not e["trial"]
    ]
    assert "No trial yet" in notes[0] and "1 collapsed" in notes[-1]


def test_what_a_killed_driver_wrote_in_the_ledger_only_is_told_whole_by_the_next(tmp_path: Path) -> None:
    """The picture before the first step among it: no other report names it."""
    ledger, store = Ledger.open(sweep(), tmp_path / "ledger.journal"), open_store("auto", tmp_path / "store")
    told: list[list[Any]] = []
    for driver in ("lives", "is killed before it tells"):
        conductor = Conductor(ledger, Spool(tmp_path / driver), store, a_lease(tmp_path), Silent())
        if not told:
            leg = order(conductor)
            first = report(5) | {"untrained": f"{leg.prefix}/samples/0.png"}
            conductor.heard(leg, first | {"samples": f"{leg.prefix}/samples/5.png"})
            conductor.heard(leg, report(10))
        else:
            conductor.open()
        found = [e for e, _ in conductor._mirror._spool.pending() if (e["kind"], e["trial"]) == ("report", 0)]
        told.append(found)
    assert [e["images"] for e in told[0]] == [0, 5, 10] and told[0] == told[1]


def test_an_objective_that_nobody_can_measure_ends_the_sweep_with_the_reason(conductor: Conductor) -> None:
    told = report(10)
    told["metrics"] = {"fid": 9.0}
    told["health"]["reasons"] = ["no coverage: set evaluate.extractor to 'reader'"]
    conductor.heard(order(conductor), told)
    assert not conductor.stopping(), "one may have gone wrong by itself"
    conductor.heard(order(conductor), told)
    assert isinstance(conductor.failure, UserError) and str(conductor.failure) == (
        "objective: coverage could not be measured in 2 trials: no coverage: set evaluate.extractor to 'reader'. "
        "Mend that, or choose another measure"
    )


def test_an_objective_that_is_no_number_so_early_ends_nothing(conductor: Conductor) -> None:
    """As a correlation of samples that are all the same."""
    told = report(10) | {"metrics": {"fid": 9.0}}
    told["health"]["reasons"] = ["no coverage: it came out as nan"]
    for _ in range(3):
        conductor.heard(order(conductor), told)
    assert not conductor.stopping()


def test_a_measure_that_is_missing_now_and_then_ends_nothing(conductor: Conductor) -> None:
    conductor.heard(order(conductor), report(10))
    for _ in range(2):
        conductor.heard(order(conductor), report(10) | {"metrics": {"fid": 9.0}})
    assert not conductor.stopping()


def test_a_rewind_is_an_event_of_its_own(conductor: Conductor) -> None:
    leg = order(conductor)
    told = report(10, verdict="suspect") | {"rewind": "back to the state after 0 images"}
    told["health"] = {"verdict": "suspect", "reasons": ["diversity fell", told["rewind"]], "signals": {"rewinds": 1}}
    conductor.heard(leg, told)
    events = [event for event, _ in conductor._mirror._spool.pending()]
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
        Conductor(ledger, spool, open_store("auto", tmp_path / "store"), a_lease(tmp_path), Silent()).open()
    ends = [event for event, _ in Spool(tmp_path / "spool.jsonl").pending() if event["kind"] == "end"]
    assert [(event["trial"], event["tags"]["gansweep.state"]) for event in ends] == [(0, "diverged")]


CONFIRMING = sweep(rungs=None, search={"trials": 1}, confirm={"top": 1, "seeds": 1})


def play(conductor: Conductor, order: LegOrder, verdict: str = "healthy") -> None:
    """A leg of three reports, told as a slot tells it."""
    for images in (30, 60, 90):
        stored = (f"{order.prefix}/checkpoints/{images}",)
        conductor.heard(order, report(images, stored=stored, verdict=verdict))
    conductor.ended(order)


def told(folder: Path, kind: str, seed: int | None) -> list[dict[str, Any]]:
    """Events of trial 0 (None) or of its re-training on ``seed``."""
    events = [event for event, _ in Spool(folder / "spool.jsonl").pending()]
    return [e for e in events if e["kind"] == kind and e["trial"] == 0 and e.get("seed") == seed]


def drive(folder: Path, asked: Sweep = CONFIRMING) -> Conductor:
    ledger = Ledger.open(asked, folder / "ledger.journal")
    spool, store = Spool(folder / "spool.jsonl"), open_store("auto", folder / "store")
    return Conductor(ledger, spool, store, a_lease(folder), Silent())


def test_a_re_training_is_told_as_a_run_of_its_own(tmp_path: Path):
    conductor = drive(tmp_path)
    play(conductor, order(conductor))
    play(conductor, order(conductor), verdict="collapsed")
    assert conductor.close() == "finished"
    (start,) = told(tmp_path, "start", 1000)
    assert start["params"]["train.seed"] == 1000
    assert [e["images"] for e in told(tmp_path, "report", 1000)] == [30, 60, 90]
    (end,) = told(tmp_path, "end", 1000)
    assert end["tags"]["gansweep.verdict"] == "collapsed" and end["tags"]["gansweep.reasons"] == "it looks collapsed"
    assert (end["status"], end["tags"]["mlflow.runName"]) == ("KILLED", "small-000 seed 1000 collapsed")
    own = told(tmp_path, "report", None)
    assert [e["images"] for e in own if "fid" in e["metrics"]] == [30, 60, 90], "the trial has its own"
    assert [e["metrics"].get("score") for e in own] == [10.0, 10.0, 10.0]


def test_a_re_training_has_one_run_over_the_deaths_of_drivers(tmp_path: Path):
    first = drive(tmp_path)
    play(first, order(first))
    again = order(first)
    first.heard(again, report(30, stored=("k/30",)))  # and here the driver dies
    second = drive(tmp_path)
    leg = order(second)
    assert (leg.prefix, leg.checkpoints) == (again.prefix, ("k/30",))
    for images in (60, 90):
        second.heard(leg, report(images, stored=(f"k/{images}",)))
    second._ledger.end_leg(second._legs[leg.prefix])  # and here it dies again, before it tells
    for _ in range(2):
        drive(tmp_path).open()
    assert [e["images"] for e in told(tmp_path, "report", 1000)] == [30, 60, 90]
    assert len(told(tmp_path, "end", 1000)) == 1
    assert [e["metrics"] for e in told(tmp_path, "report", None) if "confirm/fid" in e["metrics"]] == [
        {"confirm/fid": 10.0}
    ]


def test_runs_end_with_their_last_report_and_show_how_they_ended(tmp_path: Path):
    conductor = drive(tmp_path, sweep(search={"trials": 2}))
    first, second = order(conductor), order(conductor)
    for leg, fid in ((first, 9.0), (second, 5.0)):
        conductor.heard(leg, report(10, fid=fid, stored=("k/10",)))
        conductor.ended(leg)
    for images in (30, 90):
        leg = order(conductor)
        conductor.heard(leg, report(images, stored=(f"k/{images}",)))
        conductor.ended(leg)
    conductor.close()
    events = [e for e, _ in Spool(tmp_path / "spool.jsonl").pending() if e["kind"] == "end" and e["trial"] is not None]
    assert [(e["trial"], e["status"], e["tags"].get("mlflow.runName"), e["time"]) for e in events] == [
        (1, "FINISHED", None, 1_700_000_090_000),
        (0, "KILLED", "small-000 pruned", 1_700_000_010_000),
    ]


def test_the_sweeps_own_run_has_its_course_over_device_seconds(tmp_path: Path):
    conductor = drive(tmp_path, sweep(search={"trials": 2}, rungs=None, confirm={"top": 0}))
    for fid, verdict in ((9.0, "healthy"), (5.0, "collapsed")):
        leg = order(conductor)
        for images in (30, 60, 90):
            conductor.heard(leg, report(images, fid=fid, verdict=verdict, stored=(f"k/{images}",)))
        conductor.ended(leg)
    conductor.close()
    stood = [e for e, _ in Spool(tmp_path / "spool.jsonl").pending() if e.get("id", "").startswith("stood/")]
    assert [e["metrics"]["best/fid"] for e in stood] == [9.0, 9.0, 9.0], "a collapsed trial is no best"
    assert stood[-1]["metrics"] | {"device_hours": 0.0} == {
        **{"trials/finished": 1.0, "trials/collapsed": 1.0, "best/fid": 9.0, "score": 9.0, "device_hours": 0.0}
    }
    first, second = (trial.device_seconds / 3600 for trial in conductor._ledger.trials())
    assert first > 0 and second > 0
    assert [e["metrics"]["device_hours"] for e in stood] == pytest.approx([first, *2 * [first + second]])


def test_what_was_pruned_is_counted_when_the_sweep_ends(tmp_path: Path):
    conductor = drive(tmp_path, sweep(search={"trials": 2}, confirm={"top": 0}))
    legs = order(conductor), order(conductor)
    for leg, fid in zip(legs, (9.0, 5.0), strict=True):
        conductor.heard(leg, report(10, fid=fid, stored=("k/10",)))
        conductor.ended(leg)
    for images in (30, 90):
        leg = order(conductor)
        conductor.heard(leg, report(images, fid=5.0, stored=(f"k/{images}",)))
        conductor.ended(leg)
    conductor.close()
    stood = [e for e, _ in Spool(tmp_path / "spool.jsonl").pending() if e.get("id", "").startswith("stood/sweep/")]
    assert [e["metrics"]["trials/pruned"] for e in stood] == [1.0]


def test_what_can_not_be_trained_is_not_tried_again(conductor: Conductor) -> None:
    conductor.failed(order(conductor), UntrainableError("train.batch_size: 33 can't be shared by 2 ranks"))
    trial = conductor._ledger.trial(0)
    assert (trial.state, trial.error) == ("crashed", "train.batch_size: 33 can't be shared by 2 ranks")


def test_data_that_a_worker_can_not_read_end_the_sweep_and_no_trial(conductor: Conductor) -> None:
    """A lost mount, or a node without it: what was trained stays, and nothing is thrown away for it."""
    for _ in range(3):
        assert not conductor.stopping()
        conductor.failed(order(conductor), DataGoneError("data.path: '/mnt/faces' is not a folder"))
    assert conductor.failure is not None and "'/mnt/faces' is not a folder" in str(conductor.failure)
    trial = conductor._ledger.trial(0)
    assert (trial.state, trial.failures) == ("running", {})


def test_a_store_that_takes_nothing_ends_the_sweep_though_legs_report(conductor: Conductor) -> None:
    """A leg's first report comes before its upload has failed."""
    for _ in range(3):
        assert not conductor.failure
        leg = order(conductor)
        conductor.heard(leg, report(10))
        conductor.failed(leg, StoreError("the bucket is read-only"))
    assert isinstance(conductor.failure, StoreError) and "the bucket is read-only" in str(conductor.failure)


def test_a_store_that_is_back_is_forgiven(conductor: Conductor) -> None:
    for images in (10, 20, 30):
        leg = order(conductor)
        conductor.heard(leg, report(images, stored=(f"k/{images}",)))
        conductor.failed(leg, StoreError("the bucket does not answer"))
    assert conductor.failure is None


def test_nodes_that_go_use_up_no_retry_and_a_checkpoint_made_in_time_is_gone_on_from(conductor: Conductor) -> None:
    prefix = (going := order(conductor)).prefix
    conductor.failed(going, NodeGoneError("node gpu-7 was preempted", f"{prefix}/checkpoints/15"))
    for _ in range(10):
        again = order(conductor)
        assert again.checkpoints == (f"{prefix}/checkpoints/15",)
        conductor.failed(again, NodeGoneError("node gpu-7 was lost"))
    trial = conductor._ledger.trial(0)
    assert (trial.state, trial.failures, trial.error) == ("running", {}, "node gpu-7 was lost")
    assert not conductor.stopping()


def test_too_little_memory_is_tried_once_more_and_told_with_advice(conductor: Conductor) -> None:
    for state in ("running", "crashed"):
        conductor.failed(order(conductor), OutOfMemoryError("CUDA out of memory; lower train.batch_size"))
        trial = conductor._ledger.trial(0)
        assert (trial.state, trial.error) == (state, "CUDA out of memory; lower train.batch_size")


def test_the_ledgers_password_is_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger.open(sweep(), tmp_path / "ledger.journal")
    asked = sweep(search={**BASE["search"], "storage": "postgresql://me:hunter2@db/ledger"})
    monkeypatch.setattr(ledger, "sweep", asked)
    store = open_store("auto", tmp_path / "store")
    Conductor(ledger, Spool(tmp_path / "spool.jsonl"), store, a_lease(tmp_path), Silent()).open()
    told = (tmp_path / "spool.jsonl").read_text()
    assert "postgresql://me:***@db/ledger" in told and "hunter2" not in told


def test_an_interrupted_sweep_leaves_no_run_that_seems_to_train(conductor: Conductor) -> None:
    first, second = order(conductor), order(conductor)
    conductor.heard(first, report(10))
    conductor.interrupted = True
    assert conductor.close() == "interrupted"
    events = [event for event, _ in conductor._mirror._spool.pending()]
    assert [e["trial"] for e in events if e["kind"] == "pause"] == [0, 1], "at a rung, or cut short"
    assert second.prefix.endswith("/trials/1")


def test_who_lost_the_ledger_neither_writes_nor_tells(conductor: Conductor, tmp_path: Path) -> None:
    leg = order(conductor)
    conductor.heard(leg, report(5))
    told = (tmp_path / "spool.jsonl").read_bytes(), (tmp_path / "ledger.journal").read_bytes()
    conductor._lease.lost = LeaseLostError("'small' was taken over")
    assert conductor.stopping() and conductor.next_leg() == "done"
    conductor.ended(leg)
    assert conductor.close() == "failed" and conductor.failure is conductor._lease.lost
    assert told == ((tmp_path / "spool.jsonl").read_bytes(), (tmp_path / "ledger.journal").read_bytes())


def test_a_copy_is_introduced_with_its_origin_when_it_trains_and_has_no_run_before(tmp_path: Path):
    asked = sweep(rungs=None, population={"every_images": 30}, search={"trials": 4}, confirm={"top": 0})
    conductor = drive(tmp_path, asked)
    legs = [order(conductor) for _ in range(4)]
    for fid, leg in enumerate(legs, start=1):
        conductor.heard(leg, report(30, fid=float(fid), stored=(f"{fid}/30",)))
        conductor.ended(leg)
    order(conductor)
    conductor.interrupted = True
    conductor.close()
    events = [event for event, _ in conductor._mirror._spool.pending()]
    assert {e["trial"] for e in events if e["kind"] == "pause"} == {0, 1, 2}, "nobody has seen trial 4"
    again = drive(tmp_path, asked)
    while order(again).prefix.rpartition("/")[2] != "4":
        pass
    events = [event for event, _ in again._mirror._spool.pending()]
    (start,) = (e for e in events if e["kind"] == "start" and e["trial"] == 4)
    assert start["tags"]["gansweep.origin"] == "goes on from trial 0 after 30 images, in place of trial 3"
    end = [e for e in events if e["kind"] == "end" and e["trial"] == 3][-1]
    assert end["tags"]["gansweep.state"] == "pruned"
