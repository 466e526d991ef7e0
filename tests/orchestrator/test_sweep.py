"""Whole sweeps with nothing replaced: Ray, two ranks over gloo, the MLflow server, the registry."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from infra.browser.walk import walk
from orchestrator.registry.card import LICENCE
from orchestrator.tracking.views import CHARTS, RUNS, page
from tests.orchestrator.sweeps import TINY, User

VIEWS = (RUNS, CHARTS)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> User:
    """A sweep that Ctrl-C cut short once, and that was then resumed to its end."""
    user = User(tmp_path_factory.mktemp("user"))
    sweep = user.start("submit", str(user.file))
    assert sweep.stdout is not None
    assert any("images/s" in line for line in sweep.stdout)
    sweep.send_signal(signal.SIGINT)
    output = sweep.communicate(timeout=120)[0]
    assert sweep.returncode == 130, output
    assert "gansweep resume tiny" in output
    assert user.status()["state"] == "interrupted"
    resumed = user.run("resume", "tiny")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    return user


def test_the_ledger_holds_what_was_asked_for(finished: User):
    document = finished.status()
    assert document["state"] == "finished"
    assert Counter(t["state"] for t in document["trials"]).keys() <= {"finished", "pruned"}
    assert len(document["trials"]) == 5
    assert any(t["images"] == 4_096 and t["state"] == "finished" for t in document["trials"])


def test_mlflow_has_one_run_per_trial_with_its_curve(finished: User):
    runs = _runs(finished.mlflow)
    children = {run.data.tags["gansweep.trial"]: run for run in runs if "gansweep.trial" in run.data.tags}
    assert set(children) == set("01234")
    document = finished.status()
    again = [run for run in runs if "gansweep.confirms" in run.data.tags]
    assert len(runs) == 1 + 5 + len(again)
    for run in again:
        confirmed = next(c for c in document["confirmed"] if str(c["trial"]) == run.data.tags["gansweep.confirms"])
        assert run.data.tags["mlflow.parentRunId"] == children[str(confirmed["trial"])].info.run_id
        assert int(run.data.params["train.seed"]) in confirmed["seeds"]
        _check_curve(finished.mlflow, run, {"images": 4_096})
    parent = next(run for run in runs if "mlflow.parentRunId" not in run.data.tags)
    assert parent.data.tags["gansweep.state"] == "finished"
    views = MlflowClient(finished.mlflow).get_experiment(parent.info.experiment_id).tags
    assert {name for name in views if "ViewState" in name} == {f"mlflow.sharedViewState.{view}" for view in VIEWS}
    assert all(f"viewStateShareKey={view}" in page("http://x", "1", view == CHARTS) for view in VIEWS)
    assert "5 trials: " in parent.data.tags["mlflow.note.content"] and parent.data.tags["git.commit"]
    files = [item.path for item in MlflowClient(finished.mlflow).list_artifacts(parent.info.run_id)]
    assert {"report.html", "sweep.yaml"} <= {*files}
    for trial in document["trials"]:
        assert "After " in children[str(trial["id"])].data.tags["mlflow.note.content"]
        run = children[str(trial["id"])]
        assert run.info.run_id == trial["mlflow_run_id"]
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.data.tags["gansweep.state"] == trial["state"]
        assert run.info.status == {"finished": "FINISHED", "pruned": "KILLED"}[trial["state"]]
        assert float(run.data.params["train.generator_lr"]) == trial["params"]["train.generator_lr"]
        _check_curve(finished.mlflow, run, trial)


def _check_curve(uri: str, run: Run, trial: dict[str, Any]) -> None:
    client = MlflowClient(uri)
    system = ("system/cpu_utilization_percentage", "system/collective_seconds")
    for metric in ("loss/generator", "loss/discriminator", "fid", "images_per_second", *system):
        steps = [point.step for point in client.get_metric_history(run.info.run_id, metric)]
        assert steps == list(range(1_024, trial["images"] + 1, 1_024)), f"{metric}: each report once"
    pictures = [f.path for f in client.list_artifacts(run.info.run_id, "images") if f.path.endswith(".png")]
    assert len(pictures) == 1 + trial["images"] // 1_024, "the first before the first step"
    assert "@" in run.data.tags["fid.extractor"]
    assert run.inputs and len(run.inputs.dataset_inputs) == 1


def test_the_best_is_promoted_and_loads_in_a_fresh_process(finished: User, tmp_path: Path):
    best = finished.status()["best"] or finished.status()["trials"][0]
    ended = {run.info.run_id: (run.info.status, run.info.end_time) for run in _runs(finished.mlflow)}
    done = finished.run("promote", "tiny", "--trial", str(best["id"]), "--force", "--reason", "a test", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    version = MlflowClient(finished.mlflow).get_model_version_by_alias("tiny", "champion")
    runs = {run.info.run_id: run for run in _runs(finished.mlflow)}
    trained = runs[version.run_id].data
    assert str(best["id"]) in (trained.tags.get("gansweep.trial"), trained.tags.get("gansweep.confirms"))
    assert version.tags["gansweep.seed"] == trained.params["train.seed"] == str(document["seed"])
    now = {run_id: (run.info.status, run.info.end_time) for run_id, run in runs.items()}
    assert now == ended, "its duration is that of its training"
    assert len(version.tags["gansweep.data.fingerprint"]) == 64
    about = MlflowClient(finished.mlflow).get_registered_model("tiny").description
    assert f'load_model("{document["uri"]}")' in about and LICENCE in about
    told = str(version.description)
    assert "](model-versions/get-artifact?name=tiny&version=1&path=artifacts%2Fsamples.png)" in about
    assert f"Trial {best['id']} of sweep **tiny**" in told and "| fid |" in told
    assert "Data: ring: 100,000 points of shape 2 to train on" in told
    made = finished.predict(document["uri"])
    drawn = finished.run("sample", document["uri"], "-n", "5", "-o", str(tmp_path / "drawn.npy"))
    assert drawn.returncode == 0, drawn.stderr
    assert np.array_equal(made, np.load(tmp_path / "drawn.npy")), "one face, one result"
    client = MlflowClient(finished.mlflow)
    client.update_registered_model("tiny", description=f"Mine.\n{about}")
    other = next(t["id"] for t in finished.status()["trials"] if t["checkpoint"] and t["id"] != best["id"])
    words = ("--trial", str(other), "--force", "--reason", "a test", "--licence", "CC BY 4.0")
    assert finished.run("promote", "tiny", *words).returncode == 0
    now = client.get_registered_model("tiny").description
    assert now == f"Mine.\n{about}".replace(LICENCE, "Licence: CC BY 4.0").replace("version=1", "version=2").replace(
        "of version 1", "of version 2"
    )
    assert "Licence: CC BY 4.0" in str(client.get_model_version("tiny", "2").description)


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no browser here (Debian package: chromium)")
@pytest.mark.timeout(600)
def test_a_browser_finds_on_each_page_what_is_promised(finished: User, capsys: pytest.CaptureFixture[str]):
    """After a promotion."""
    pages = finished.start("ui", "--port", "0")
    assert pages.stdout is not None
    server = next(line for line in pages.stdout if line.startswith("http")).strip()
    try:
        missing = walk(server, "tiny", patience=60)
        walked = [line.split()[1] for line in capsys.readouterr().out.splitlines()]
    finally:
        pages.send_signal(signal.SIGINT)
        pages.communicate(timeout=60)
    best = ["trial"] if finished.status()["best"] else []
    assert walked == ["list", "charts", "sweep", "report", *best, "other", "compare", "model", "version"]
    assert missing == 0


def test_what_was_deleted_in_mlflow_comes_back_with_a_promotion(finished: User):
    client = MlflowClient(finished.mlflow)
    trial = next(t for t in finished.status()["trials"] if t["checkpoint"])
    words = ("promote", "tiny", "--trial", str(trial["id"]), "--force", "--reason", "a test", "--model", "deleted")
    assert finished.run(*words).returncode == 0
    client.delete_run(trial["mlflow_run_id"])
    client.delete_registered_model("deleted")
    again = finished.run(*words)
    assert again.returncode == 0, again.stderr
    assert "its run had been deleted in MLflow and is restored" in again.stdout
    assert client.get_model_version_by_alias("deleted", "champion").run_id == trial["mlflow_run_id"]
    assert client.get_run(trial["mlflow_run_id"]).info.lifecycle_stage == "active"


def test_submitted_again_it_reuses_what_stands(finished: User):
    before = finished.status()
    again = finished.run("submit", str(finished.file))
    assert again.returncode == 0 and "trial at once" not in again.stdout
    assert finished.status() == before


def test_another_space_under_the_same_name_is_refused(finished: User):
    done = finished.run("submit", str(finished.file), "--set", "train.batch_size=32")
    assert done.returncode == 2 and "other settings under train" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.s3
def test_kills_of_driver_and_rank_lose_and_repeat_nothing(s3: Any, tmp_path: Path):
    """SIGKILL of the driver at three random moments and of a rank once, artifacts in a real S3 server."""
    chance = random.Random(7)
    user = User(tmp_path, TINY + f"artifacts: {{url: '{s3.url}/sweeps'}}\n")
    finished_at: dict[int, int] = {}
    for attempt in range(4):
        sweep = user.start("resume", "tiny") if attempt else user.start("submit", str(user.file))
        assert sweep.stdout is not None
        if attempt == 0:
            _wait_for_reports(sweep, 1)
            _kill_a_rank(sweep)
        if attempt < 3:
            _wait_for_reports(sweep, chance.randint(1, 4))
            time.sleep(chance.random())
            sweep.kill()
            sweep.wait()
            _check_ended_ones_stay(user, finished_at)
        else:
            output = sweep.communicate(timeout=240)[0]
            assert sweep.returncode == 0, output
    _check_ended_ones_stay(user, finished_at)
    document = user.status()
    assert document["state"] == "finished" and len(document["trials"]) == 5
    runs = _runs(user.mlflow)
    assert sorted(r.data.tags["gansweep.trial"] for r in runs if "gansweep.trial" in r.data.tags) == list("01234")
    again = [run for run in runs if "gansweep.confirms" in run.data.tags]
    assert len({(run.data.tags["gansweep.confirms"], run.data.tags["gansweep.seed"]) for run in again}) == len(again)
    for run in runs:
        if "gansweep.trial" in run.data.tags:
            _check_curve(user.mlflow, run, document["trials"][int(run.data.tags["gansweep.trial"])])
    for run in again:
        _check_curve(user.mlflow, run, {"images": 4_096})
    _check_no_secret(user, s3)


def _wait_for_reports(sweep: subprocess.Popen[str], number: int) -> None:
    assert sweep.stdout is not None
    seen = []
    for line in sweep.stdout:
        seen.append(line)
        number -= "images/s" in line
        if number == 0:
            return
    raise AssertionError("".join(seen))


def _kill_a_rank(sweep: subprocess.Popen[str]) -> None:
    ranks = [p for p in psutil.Process(sweep.pid).children(recursive=True) if "Rank" in " ".join(p.cmdline())]
    assert ranks, "the second rank is an actor of its own"
    ranks[0].kill()


def _check_ended_ones_stay(user: User, ended: dict[int, int]) -> None:
    """An ended trial keeps its images: nothing that finished is trained again."""
    trials = {t["id"]: t for t in user.status()["trials"]}
    assert all(trials[i]["images"] == images for i, images in ended.items())
    ended |= {i: t["images"] for i, t in trials.items() if t["state"] in ("finished", "pruned")}


def _check_no_secret(user: User, s3: Any) -> None:
    secret = os.environ["AWS_SECRET_ACCESS_KEY"].encode()
    files = [f for f in user.home.rglob("*") if f.is_file()]
    assert files and not [f for f in files if secret in f.read_bytes()]


def _runs(uri: str) -> list[Run]:
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("tiny")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], max_results=100))
