"""What people do in MLflow's UI to what the recorder made, tried on a real server; and what MLflow refuses."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import ViewType
from mlflow.tracking import MlflowClient

from orchestrator.paths import Home
from orchestrator.tracking import events, recorder
from orchestrator.tracking.experiment import experiment_of
from orchestrator.tracking.server import embedded
from orchestrator.tracking.target import PATIENCE, Target, runs_page
from tests.orchestrator.small import report
from tests.orchestrator.test_recorder import DATASET, Desk, _comparable, tell


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with embedded(Home.open(tmp_path_factory.mktemp("home"))) as running:
        running.wait()
        yield running.url


@pytest.fixture
def client(server: str) -> MlflowClient:
    return MlflowClient(server)


@pytest.fixture(autouse=True)
def _patient_environment(monkeypatch: pytest.MonkeyPatch):
    """The recorder sets these for its whole process."""
    for name, value in PATIENCE.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(recorder, "PERIOD", 0.05)


def recorded_desk(folder: Path, name: str, server: str) -> Desk:
    """A sweep whose records all are in MLflow."""
    desk = Desk(folder, name, server)
    tell(desk)
    assert desk.send().unsent is None and not desk.said
    return desk


def go_on(desk: Desk) -> None:
    """Another report of trial 0, after a resume."""
    desk.spool.append(events.started(0, {"train.seed": 0}, {"gansweep.state": "running"}, DATASET))
    desk.spool.append(events.reported(0, report(30, fid=1.0)))
    desk.spool.append(events.tagged(1, {"late": "yes"}))
    one = desk.send()
    assert (one.trouble, one.unsent) == (None, None)


def check_whole(desk: Desk, client: MlflowClient) -> None:
    """Everything once, in the experiment that people see."""
    seen = desk.recorded()
    assert seen.keys() == {f"sweep {desk.name}", f"{desk.name}-000", f"{desk.name}-001"}
    assert [point[0] for point in seen[f"{desk.name}-000"]["metrics"]["fid"]] == [10, 20, 30]
    assert seen[f"{desk.name}-001"]["tags"]["late"] == "yes"
    experiment = experiment_of(client, desk.name, desk.id)
    assert experiment is not None and experiment.lifecycle_stage == "active"
    assert len(client.search_runs([experiment.experiment_id], run_view_type=ViewType.ALL)) == 3
    assert not desk.spool.aside.exists()


def test_a_deleted_experiment_is_restored_and_said(tmp_path: Path, server: str, client: MlflowClient):
    desk = recorded_desk(tmp_path, "binned", server)
    experiment = experiment_of(client, desk.name, desk.id)
    assert experiment is not None
    client.delete_experiment(experiment.experiment_id)
    go_on(desk)
    assert desk.said == ["experiment 'binned' had been deleted in MLflow and is restored"]
    check_whole(desk, client)


def test_an_experiment_deleted_while_a_sweep_runs_is_restored(tmp_path: Path, server: str, client: MlflowClient):
    desk = recorded_desk(tmp_path, "binned-live", server)
    one = desk.record()
    one._connect()
    client.delete_experiment(one._runs.experiment)
    desk.spool.append(events.reported(0, report(30, fid=1.0)))
    desk.spool.append(events.tagged(1, {"late": "yes"}))
    one._send()
    assert len(desk.said) == 1 and "is restored" in desk.said[0]
    check_whole(desk, client)


@pytest.mark.parametrize("known", [True, False], ids=["known", "forgotten"])
def test_a_deleted_run_is_restored_and_said(tmp_path: Path, server: str, client: MlflowClient, known: bool):
    desk = recorded_desk(tmp_path, f"binned-run-{known}", server)
    for key in (0, 1):
        client.delete_run(desk.runs[key])
    if not known:
        desk.runs.clear()
    go_on(desk)
    back = "had been deleted in MLflow and is restored"
    assert sorted(desk.said) == [f"run '{desk.name}-00{key}' {back}" for key in (0, 1)]
    check_whole(desk, client)


def test_what_is_gone_for_good_is_recorded_again_from_the_spool(tmp_path: Path, server: str, client: MlflowClient):
    """A run removed by ``mlflow gc``, or another server under the same address."""
    desk = recorded_desk(tmp_path, "gone", server)
    before = _comparable(desk.recorded())
    desk.runs.update(dict.fromkeys(desk.runs, "0" * 32))
    experiment = experiment_of(client, desk.name, desk.id)
    assert experiment is not None
    client.rename_experiment(experiment.experiment_id, "gone-before")
    go_on(desk)
    assert desk.said == ["runs of this sweep are gone from MLflow for good; all its records are sent again"]
    check_whole(desk, client)
    assert len(_comparable(desk.recorded())) == len(before)


@pytest.mark.parametrize("binned", [False, True], ids=["there", "deleted"])
def test_another_ones_experiment_of_the_same_name_is_left_alone(
    tmp_path: Path, server: str, client: MlflowClient, binned: bool
):
    name = f"popular-{binned}"
    theirs = client.create_experiment(name)
    if binned:
        client.delete_experiment(theirs)
    desk = Desk(tmp_path, name, server)
    for _ in range(2):
        desk.spool.append(events.started(0, {}, {}, DATASET))
        assert desk.send().trouble is None
    unique = f"{name}-{desk.id[:8]}"
    assert desk.said == [
        f"MLflow has an experiment '{name}' that is not this sweep's; this one is recorded in '{unique}'"
    ]
    ours = experiment_of(client, name, desk.id)
    assert ours is not None and ours.name == unique
    assert len(client.search_runs([ours.experiment_id])) == 2
    assert not client.search_runs([theirs], run_view_type=ViewType.ALL)


def test_an_experiment_of_an_older_version_is_known_by_its_runs(tmp_path: Path, server: str, client: MlflowClient):
    """It has no tag of ours."""
    desk = Desk(tmp_path, "older", server)
    client.create_run(client.create_experiment("older"), tags={"gansweep.id": desk.id})
    desk.spool.append(events.started(None, {}, {}, DATASET))
    assert desk.send().trouble is None and not desk.said
    assert len(desk.recorded()) == 1


def test_of_a_batch_only_what_mlflow_refuses_is_set_aside(tmp_path: Path, server: str):
    desk = Desk(tmp_path, "refused", server)
    tags: dict[str, Any] = {"good": 1, "b" * 300: 2, "better": 3}
    for _ in range(2):
        desk.spool.append(events.started(0, {"train.seed": 1, "x" * 300: 1, "z": 2}, tags, DATASET))
        desk.spool.append(events.reported(0, report(10, fid=3.0) | {"metrics": {"m" * 300: 0.5, "fid": 3.0}}))
        desk.spool.append(events.tagged(0, {"behind": "it"}))
        one = desk.send()
        assert (one.trouble, one.unsent) == (None, None)
    run = desk.recorded()["refused-000"]
    assert run["params"] == {"train.seed": "1", "z": "2"}
    assert run["tags"].items() >= {"good": "1", "better": "3", "behind": "it"}.items()
    assert [point[0] for point in run["metrics"]["fid"]] == [10]
    aside = [json.loads(line) for line in desk.spool.aside.read_text().splitlines()]
    assert [(record["run"], record["kind"], record["key"][0]) for record in aside] == [
        ("0", "Param", "x"),
        ("0", "RunTag", "b"),
        ("0", "Metric", "m"),
    ]
    assert all(record["why"] for record in aside)
    assert str(desk.spool.aside) in desk.said[0] and len(desk.said) == 2, "once in each life of a recorder"


def test_a_damaged_picture_holds_nothing_up(tmp_path: Path, server: str):
    desk = Desk(tmp_path, "damaged", server)
    key = desk.picture(0, 10)
    (tmp_path / "damaged" / "artifacts" / key).write_bytes(b"no picture")
    desk.spool.append(events.reported(0, report(10, fid=3.0) | {"samples": key}))
    desk.spool.append(events.tagged(0, {"behind": "it"}))
    assert desk.send().unsent is None
    assert desk.recorded()["damaged-000"]["tags"]["behind"] == "it"
    assert json.loads(desk.spool.aside.read_text())["samples"] == key


def test_records_that_wait_are_known_though_nothing_ever_failed(tmp_path: Path, server: str):
    """The server is still starting when the sweep ends."""
    desk = Desk(tmp_path, "waiting", server)
    tell(desk)
    starting = True

    def ready() -> None:
        while starting:
            time.sleep(0.01)

    one = desk.record(Target(server, ready, desk.target.artifact_root))
    assert one.unsent == "it has not answered yet"
    one.start()
    one.close(timeout=0.1)
    assert one.unsent == "it has not answered yet"
    starting = False
    one._thread.join(30)
    assert not one._thread.is_alive()
    assert desk.send().unsent is None


def test_the_end_of_a_sweep_waits_for_a_server_that_is_still_starting(
    tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(recorder, "QUIET", 3.0)  # a slow machine takes seconds for the first record
    desk = Desk(tmp_path, "patient", server)
    tell(desk)
    pages: list[str] = []
    one = desk.record(Target(server, lambda: time.sleep(5), desk.target.artifact_root, shown=pages.append))
    one.start()
    one.close()
    assert one.unsent is None
    assert pages == [runs_page(server, desk.name, desk.id)]
    assert len(desk.recorded()) == 3
