"""The recorder against a real MLflow store (SQLite, no server), dying between any two of its calls."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from mlflow.tracking import MlflowClient
from PIL import Image

from orchestrator.artifacts.directory import DirectoryStore
from orchestrator.errors import LeaseLostError, UserError, WorkError
from orchestrator.paths import RunKey
from orchestrator.tracking import events, recorder
from orchestrator.tracking.recorder import Recorder
from orchestrator.tracking.spool import Spool
from orchestrator.tracking.target import PATIENCE, Target, check
from tests.orchestrator.small import report
from trainers.report import Verdict

DATASET = {"name": "digits", "digest": "0123456789abcdef", "source": '{"name": "digits"}', "profile": '{"examples": 7}'}


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One database for all: making it costs seconds. Each test has an experiment of its own."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"


@pytest.fixture(autouse=True)
def _patient_environment(monkeypatch: pytest.MonkeyPatch):
    """The recorder sets these for its whole process."""
    for name, value in PATIENCE.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(recorder, "PERIOD", 0.05)


class Desk:
    """The files of one sweep, and what its ledger knows of runs."""

    def __init__(self, folder: Path, name: str, uri: str) -> None:
        self.name, self._folder = name, folder / name
        self._folder.mkdir(parents=True)
        self.id = f"{name}-id"
        self.said: list[str] = []
        self.store = DirectoryStore(self._folder / "artifacts")
        self.target = Target(uri, lambda: None, str(self._folder / "mlflow"))
        self.runs: dict[RunKey, str] = {}
        self.spool = Spool(self._folder / "spool.jsonl")

    def record(self, target: Target | None = None) -> Recorder:
        """A recorder over what the files say now, as after a start."""
        self.spool = Spool(self._folder / "spool.jsonl")
        return Recorder(
            self.spool,
            target or self.target,
            self.store,
            self.name,
            self.id,
            self.runs,
            self.runs.__setitem__,
            self.said.append,
        )

    def send(self) -> Recorder:
        """A whole life of a recorder."""
        one = self.record()
        one.start()
        one.close()
        return one

    def forget_mark(self) -> None:
        (self._folder / "spool.jsonl.sent").unlink(missing_ok=True)

    def picture(self, trial: int, images: int) -> str:
        file = self._folder / "grid.png"
        Image.new("L", (8, 8), images % 256).save(file)
        key = f"{trial}/samples/{images}.png"
        self.store.put(file, key)
        return key

    def recorded(self) -> dict[str, Any]:
        """Everything MLflow has of the sweep, without what differs from run to run."""
        client = MlflowClient(self.target.uri)
        experiment = client.get_experiment_by_name(self.name)
        assert experiment is not None
        found = client.search_runs([experiment.experiment_id])
        names = {run.info.run_id: run.info.run_name for run in found}
        assert len(set(names.values())) == len(names), f"runs stand twice: {sorted(names.values())}"
        return {run.info.run_name: _contents(client, run, names) for run in found}


def _contents(client: MlflowClient, run: Any, names: dict[str, str]) -> dict[str, Any]:
    own = run.info  # whose description links to its own report
    tags = {key: names.get(v, v).replace(own.run_id, own.run_name) for key, v in run.data.tags.items()}
    tags.pop("mlflow.loggedImages", None)
    pictures = [item.path for item in client.list_artifacts(run.info.run_id, "images")]
    history = {key: client.get_metric_history(run.info.run_id, key) for key in run.data.metrics}
    return {
        "status": run.info.status,
        "ended": run.info.end_time,
        "params": run.data.params,
        "tags": tags,
        "metrics": {key: [(m.step, m.value, m.timestamp) for m in points] for key, points in sorted(history.items())},
        "inputs": [(i.dataset.name, i.dataset.digest, i.tags[0].value) for i in run.inputs.dataset_inputs],
        "pictures": sorted(path.split("+timestamp")[0] for path in pictures if path.endswith(".png")),
        "thumbnails": sum(path.endswith("+compressed.webp") for path in pictures),
        "texts": [item.path for item in client.list_artifacts(run.info.run_id) if not item.is_dir],
    }


def tell(desk: Desk) -> None:
    """The events of a small sweep: a trial with two reports and pictures, and one that diverged."""
    append = desk.spool.append
    append(events.started(None, {"search.trials": 2}, {"gansweep.state": "running"}, DATASET))
    append(events.text(None, "sweep.yaml", "name: x\n"))
    for trial in (0, 1):
        append(events.started(trial, {"train.seed": trial}, {"gansweep.state": "running"}, DATASET))
    for images in (10, 20):
        append(events.reported(0, report(images, fid=30.0 / images) | {"samples": desk.picture(0, images)}))
    append(events.reported(1, report(10, fid=9.0) | {"losses": {"generator": math.nan, "discriminator": math.inf}}))
    append(events.tagged(0, {"fid.extractor": "raw@abc"}))
    append(events.ended(0, "FINISHED", {"gansweep.verdict": "healthy", "gansweep.score": 1.5}))
    append(events.ended(1, "FAILED", {"gansweep.verdict": "diverged"}))
    append(events.ended(None, "FINISHED", {"gansweep.state": "finished", "gansweep.best": 0}))


def test_a_sweep_as_mlflow_shows_it(uri: str, tmp_path: Path):
    desk = Desk(tmp_path, "shown", uri)
    tell(desk)
    assert desk.send().trouble is None
    assert desk.spool.empty
    seen = desk.recorded()
    assert seen.keys() == {"sweep shown", "shown-000", "shown-001"}
    parent, first, second = seen["sweep shown"], seen["shown-000"], seen["shown-001"]
    assert parent["params"] == {"search.trials": "2"} and parent["texts"] == ["sweep.yaml"]
    assert (
        parent["tags"].items()
        >= {"gansweep.sweep": "shown", "gansweep.state": "finished", "gansweep.best": "0"}.items()
    )
    expected = {"gansweep.trial": "0", "gansweep.verdict": "healthy", "fid.extractor": "raw@abc"}
    assert first["tags"].items() >= {"mlflow.parentRunId": "sweep shown", **expected}.items()
    assert first["metrics"]["fid"] == [(10, 3.0, 1_700_000_010_000), (20, 1.5, 1_700_000_020_000)], "step = images"
    assert first["metrics"].keys() >= {"loss/generator", "loss/discriminator", "coverage", "images_per_second"}
    assert first["pictures"] == ["images/samples+step+10", "images/samples+step+20"]
    assert [run["status"] for run in (parent, first, second)] == ["FINISHED", "FINISHED", "FAILED"]
    assert math.isnan(second["metrics"]["loss/generator"][0][1])
    assert all(run["inputs"] == [("digits", "0123456789abcdef", "training")] for run in seen.values())
    assert desk.runs.keys() == {None, 0, 1}, "the ledger has heard of each"


def test_a_re_training_has_a_run_of_its_own_under_its_trials(uri: str, tmp_path: Path):
    desk = Desk(tmp_path, "confirmed", uri)
    again = (0, 1001)
    tell(desk)
    desk.spool.append(events.started(again, {"train.seed": 1001}, {"gansweep.state": "running"}, DATASET))
    for images in (10, 20):
        told = report(images, fid=40.0 / images, verdict="slow") | {"samples": desk.picture(7, images)}
        desk.spool.append(events.reported(again, told))
    desk.spool.append(events.ended(again, "FINISHED", {"gansweep.verdict": "slow"}, at=1_700_000_020.5))
    assert desk.send().trouble is None
    seen = desk.recorded()
    run = seen["confirmed-000 seed 1001"]
    assert run["tags"].items() >= {"gansweep.confirms": "0", "gansweep.seed": "1001"}.items()
    assert run["tags"]["mlflow.parentRunId"] == "confirmed-000"
    assert "gansweep.trial" not in run["tags"], "it is not another trial"
    assert run["metrics"]["fid"] == [(10, 4.0, 1_700_000_010_000), (20, 2.0, 1_700_000_020_000)]
    assert run["metrics"]["health/verdict"][0][1] == 0.5
    assert run["pictures"] == ["images/samples+step+10", "images/samples+step+20"]
    assert (run["status"], run["ended"]) == ("FINISHED", 1_700_000_020_500)
    assert seen["confirmed-000"]["metrics"]["fid"][-1][1] == 1.5, "the trial's own curve is left alone"
    assert desk.runs.keys() == {None, 0, 1, again}


def test_an_event_without_a_seed_is_the_trials():
    """As version 0.1.0 spooled them."""
    assert [events.run_key(event) for event in ({"trial": None}, {"trial": 3})] == [None, 3]


def test_a_run_lasts_from_its_first_leg_to_its_last_report(uri: str, tmp_path: Path):
    """However late the recorder hears of it, and however late the sweep ends."""
    desk = Desk(tmp_path, "lasting", uri)
    started = events.started(0, {}, {}, DATASET) | {"time": 1_700_000_000_000}
    desk.spool.append(started)
    desk.spool.append(events.ended(0, "KILLED", {"mlflow.runName": "lasting-000 pruned"}, at=1_700_000_020.0))
    assert desk.send().trouble is None
    run = MlflowClient(uri).get_run(desk.runs[0]).info
    assert (run.run_name, run.status) == ("lasting-000 pruned", "KILLED")
    assert (run.start_time, run.end_time) == (1_700_000_000_000, 1_700_000_020_000)


def test_a_run_that_nobody_trains_now_says_so_until_it_goes_on(uri: str, tmp_path: Path):
    desk = Desk(tmp_path, "cut", uri)
    desk.spool.append(events.started(0, {}, {}, DATASET))
    desk.spool.append(events.paused(0))
    assert desk.send().trouble is None
    client = MlflowClient(uri)
    info = client.get_run(desk.runs[0]).info
    assert (info.status, info.end_time) == ("SCHEDULED", None)
    desk.spool.append(events.started(0, {}, {}, DATASET))
    assert desk.send().trouble is None
    assert client.get_run(desk.runs[0]).info.status == "RUNNING"


def test_verdicts_as_a_metric_keep_their_old_numbers_and_rise_with_what_is_wrong():
    assert list(events.VERDICTS) == list(get_args(Verdict))
    assert list(events.VERDICTS.values()) == sorted(events.VERDICTS.values())
    assert [events.VERDICTS[word] for word in ("healthy", "suspect", "collapsed", "diverged")] == [0, 1, 2, 3]


def test_sending_everything_again_changes_nothing(uri: str, tmp_path: Path):
    """The mark and what the ledger knew of the runs are lost."""
    desk = Desk(tmp_path, "again", uri)
    tell(desk)
    desk.send()
    once, runs = desk.recorded(), dict(desk.runs)
    desk.forget_mark()
    desk.runs.clear()
    assert desk.send().trouble is None
    assert _comparable(desk.recorded()) == _comparable(once)
    assert desk.runs == runs


class Killed(BaseException):
    """What no ``except Exception`` sees, as SIGKILL."""


class Mortal(MlflowClient):
    """Dies before or after the call numbered ``dies_at``."""

    calls, dies_at, after = 0, -1, False


def _mortal(name: str) -> Callable[..., Any]:
    alive = getattr(MlflowClient, name)

    def call(self: Mortal, *arguments: Any, **named: Any) -> Any:
        Mortal.calls += 1
        dies = Mortal.calls == Mortal.dies_at
        if dies and not Mortal.after:
            raise Killed
        answer = alive(self, *arguments, **named)
        if dies:
            raise Killed
        return answer

    return call


WRITES = (
    *("create_experiment", "create_run", "log_batch", "log_inputs", "log_text", "log_artifact"),
    *("update_run", "set_terminated"),
)
for _name in WRITES:
    setattr(Mortal, _name, _mortal(_name))


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_dying_at_any_call_leaves_one_run_per_trial(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: bool
):
    """At each call in turn: killed, started again without its mark; in the end all is as if nothing had been."""
    monkeypatch.setattr(recorder, "MlflowClient", Mortal)
    monkeypatch.setattr(Mortal, "calls", 0)
    monkeypatch.setattr(Mortal, "dies_at", -1)
    monkeypatch.setattr(Mortal, "after", after)
    undisturbed = Desk(tmp_path, f"whole-{after}", uri)
    tell(undisturbed)
    undisturbed.send()
    expected, total = _comparable(undisturbed.recorded()), Mortal.calls
    assert total > 12
    torn = Desk(tmp_path, f"torn-{after}", uri)
    tell(torn)
    for number in range(1, total + 1):
        once = Desk(tmp_path, f"thrown-{after}-{number}", uri)
        tell(once)
        for desk in (torn, once):
            Mortal.calls, Mortal.dies_at = 0, number
            _die(desk)
        Mortal.dies_at = -1
        assert once.send().trouble is None
        assert _comparable(once.recorded()) == expected
    assert torn.send().trouble is None
    assert _comparable(torn.recorded()) == expected


def _die(desk: Desk) -> None:
    """One life in this thread, which ends in death unless fewer calls were left to make."""
    one = desk.record()
    one._closing.set()
    try:
        one._work()
    except Killed:
        desk.forget_mark()


def _comparable(recorded: dict[str, Any]) -> list[str]:
    """In words, since NaN is not equal to itself; each sweep has its own name and moment of ending."""
    return [repr({k: v for k, v in run.items() if k not in ("ended", "tags")}) for _, run in sorted(recorded.items())]


def test_a_picture_whose_upload_is_under_way_is_waited_for_and_logged_once(uri: str, tmp_path: Path):
    desk = Desk(tmp_path, "late", uri)
    one = desk.record()
    one.start()
    desk.spool.append(events.started(0, {}, {}, DATASET))
    _wait(lambda: desk.spool.empty)
    desk.spool.append(events.reported(0, report(10) | {"samples": desk.picture(0, 10)}))
    desk.spool.append(events.reported(0, report(20) | {"samples": "0/samples/20.png"}))
    _wait(lambda: one.trouble is not None)
    assert one.trouble and "0/samples/20.png" in one.trouble
    desk.picture(0, 20)
    _wait(lambda: desk.spool.empty)
    one.close()
    assert desk.recorded()["late-000"]["pictures"] == ["images/samples+step+10", "images/samples+step+20"]


def test_a_picture_that_is_waited_for_holds_up_its_own_run_only(uri: str, tmp_path: Path):
    desk = Desk(tmp_path, "aside", uri)
    one = desk.record()
    one.start()
    for trial in (0, 1):
        desk.spool.append(events.started(trial, {}, {}, DATASET))
    desk.spool.append(events.reported(0, report(10) | {"samples": "0/samples/10.png"}))
    desk.spool.append(events.reported(1, report(10)))
    desk.spool.append(events.ended(1, "FINISHED", {"gansweep.verdict": "healthy"}))
    _wait(lambda: 1 in desk.runs and MlflowClient(uri).get_run(desk.runs[1]).info.status == "FINISHED")
    assert not desk.spool.empty
    desk.picture(0, 10)
    _wait(lambda: desk.spool.empty)
    one.close()
    seen = desk.recorded()
    assert seen["aside-000"]["pictures"] == ["images/samples+step+10"]
    assert [len(seen[f"aside-00{trial}"]["metrics"]["fid"]) for trial in (0, 1)] == [1, 1]


def test_a_driver_that_slept_and_lost_the_sweep_writes_nothing(uri: str, tmp_path: Path):
    """It wakes with the start of a trial unsent, which its heir has recorded to its end meanwhile."""
    desk = Desk(tmp_path, "slept", uri)
    tell(desk)
    heir = desk.record()
    heir.begin(2)
    heir.start()
    heir.close()
    recorded = desk.recorded()
    desk.forget_mark()

    def lost() -> None:
        raise LeaseLostError("'slept' was taken over by ada@node7")

    sleeper = Recorder(
        Spool(tmp_path / "slept" / "spool.jsonl"), desk.target, desk.store, desk.name, desk.id, {}, print, print, lost
    )
    sleeper.begin(0)
    sleeper.start()
    sleeper.close()
    assert sleeper.unsent == "'slept' was taken over by ada@node7"
    assert _comparable(desk.recorded()) == _comparable(recorded)


def test_many_runs_have_one_parent(uri: str, tmp_path: Path):
    """Which none of their events names: its own was sent by a driver that the ledger did not hear of."""
    desk = Desk(tmp_path, "many", uri)
    for trial in range(12):
        desk.spool.append(events.started(trial, {}, {}, DATASET))
        desk.spool.append(events.reported(trial, report(10)))
    assert desk.send().trouble is None
    seen = desk.recorded()
    assert len(seen) == 13
    assert {run["tags"].get("mlflow.parentRunId") for run in seen.values()} == {None, "sweep many"}


def test_a_re_training_has_its_trial_and_its_sweep_above_it_though_neither_is_known(uri: str, tmp_path: Path):
    """Their runs could not be made before it: MLflow did not answer for a moment."""
    desk = Desk(tmp_path, "orphan", uri)
    desk.spool.append(events.started((0, 1001), {}, {}, DATASET))
    one = desk.record()
    one.start()
    one.close(timeout=20)
    assert one.unsent is None
    parents = {name: run["tags"].get("mlflow.parentRunId") for name, run in desk.recorded().items()}
    assert parents == {"orphan-000 seed 1001": "orphan-000", "orphan-000": "sweep orphan", "sweep orphan": None}


def test_a_picture_that_was_never_stored_holds_nothing_up_at_the_end(uri: str, tmp_path: Path):
    desk = Desk(tmp_path, "lost", uri)
    desk.spool.append(events.reported(0, report(10) | {"samples": "0/samples/10.png"}))
    assert desk.send().trouble is None
    assert desk.spool.empty
    assert desk.recorded()["lost-000"]["metrics"]["fid"][0][:2] == (10, 10.0)


def test_an_extended_sweep_goes_on_in_its_run(uri: str, tmp_path: Path):
    """MLflow refuses a parameter that changes; that must not hold up everything behind it."""
    desk = Desk(tmp_path, "extended", uri)
    tell(desk)
    desk.send()
    desk.spool.append(
        events.started(None, {"search.trials": 9, "train.new": 1}, {"gansweep.state": "running"}, DATASET)
    )
    desk.spool.append(events.text(None, "sweep.yaml", "search: {trials: 9}\n"))
    assert desk.send().trouble is None
    parent = desk.recorded()["sweep extended"]
    assert (parent["status"], parent["params"]) == ("RUNNING", {"search.trials": "2", "train.new": "1"})


def test_a_server_that_does_not_answer_yet_loses_nothing(uri: str, tmp_path: Path):
    desk = Desk(tmp_path, "patient", uri)
    answers = False

    def ready() -> None:
        if not answers:
            raise WorkError("the MLflow server does not answer")

    one = desk.record(Target(uri, ready, desk.target.artifact_root))
    one.start()
    tell(desk)
    _wait(lambda: one.trouble is not None)
    assert one.trouble == "the MLflow server does not answer"
    one.close(timeout=0.2)
    assert desk.spool.sent == 0
    answers = True
    assert desk.send().trouble is None
    assert desk.recorded()["patient-000"]["status"] == "FINISHED"


def test_an_unreachable_server_never_blocks_who_appends(uri: str, tmp_path: Path):
    desk = Desk(tmp_path, "unreachable", uri)
    one = desk.record(Target("http://me:hunter2@127.0.0.1:1", lambda: None))
    one.start()
    slowest = 0.0
    for number in range(200):
        before = time.perf_counter()
        desk.spool.append(events.tagged(None, {"number": number}))
        slowest = max(slowest, time.perf_counter() - before)
    _wait(lambda: one.trouble is not None)
    one.close(timeout=0.1)
    assert slowest < 0.5, "a call over the network would have waited for its retries"
    assert len(list(Spool(tmp_path / "unreachable" / "spool.jsonl").pending())) == 200
    assert one.trouble and "hunter2" not in one.trouble and "\n" not in one.trouble


@pytest.mark.parametrize(
    "uri", ["http://me:hunter2@127.0.0.1:1", "postgresql+nodriver://me:hunter2@127.0.0.1:1/mlflow"]
)
def test_a_tracking_uri_that_can_not_be_used_is_one_line_without_its_password(
    uri: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(UserError, match=r"^tracking.uri .*:\*\*\*@.* can't be used .*or use 'auto'$") as caught:
        check(uri)
    assert "hunter2" not in str(caught.value)


def test_a_name_that_mlflow_does_not_allow_holds_nothing_up(uri: str, tmp_path: Path):
    desk = Desk(tmp_path, "odd-names", uri)
    desk.spool.append(events.started(None, {}, {}, DATASET))
    desk.spool.append(events.started(0, {"x" * 300: 1}, {}, DATASET))  # too long a name: the record is left out
    desk.spool.append(events.reported(0, report(10, fid=3.0) | {"metrics": {"acc@1": 0.5, "fid": 3.0}}))
    assert desk.send().trouble is None
    assert desk.spool.empty
    (run,) = [run for run in desk.recorded().values() if "acc_1" in run["metrics"]]
    assert "fid" in run["metrics"]


def _wait(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
