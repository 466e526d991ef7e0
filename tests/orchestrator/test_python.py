"""``import gansweep``: what Python can call, beside the command line that is made of it."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gansweep
import numpy as np
import pytest
import torch
import yaml

from orchestrator import commands
from orchestrator.artifacts import store_of
from orchestrator.paths import Home
from tests.orchestrator.small import sweep
from tests.orchestrator.sweeps import TINY
from tests.orchestrator.test_cli import stand
from trainers.errors import UnusableSettingError

ON_ONE = {**yaml.safe_load(TINY), "resources": {"workers_per_trial": 1}, "confirm": {"top": 0}}
SHORT: dict[str, Any] = {**ON_ONE, "train": {**ON_ONE["train"], "images": 2_048}}


@pytest.fixture(autouse=True)
def _commands_name_no_home_of_another_test() -> Iterator[None]:
    yield
    commands.used.clear()


# -- the module --------------------------------------------------------------------------------------------------------


def test_it_imports_nothing_heavy_and_warns_of_nothing():
    """Each of these costs more than all of it may: 0.3 s."""
    heavy = "{'torch', 'numpy', 'pandas', 'ray', 'mlflow', 'optuna', 'pydantic', 'typer'}"
    code = f"import sys, gansweep; assert not {heavy} & set(sys.modules), {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, env=_path())


def test_what_type_checkers_see_is_what_there_is():
    module = ast.parse(Path(gansweep.__file__).read_text())
    block = next(node for node in module.body if isinstance(node, ast.If))
    seen = {alias.asname or "" for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert seen == {name for name in dir(gansweep) if name != "__version__"}
    assert all(getattr(gansweep, name).__name__ == name for name in seen)
    with pytest.raises(AttributeError, match="no attribute 'sumbit'"):
        gansweep.sumbit  # type: ignore[attr-defined]  # noqa: B018
    assert Path(gansweep.__file__).with_name("py.typed").exists()


def test_a_type_checker_complains_of_a_name_that_is_not_there(tmp_path: Path):
    """As for a user, whose settings of mypy are not ours."""
    file = tmp_path / "mine.py"
    file.write_text("import gansweep\n\nversion: str = gansweep.__version__\ngansweep.submit\ngansweep.sumbit\n")
    options = ["--config-file=", "--follow-imports=skip", "--cache-dir", str(tmp_path)]
    command = [sys.executable, "-m", "mypy", *options, "-m", "gansweep", "-m", "mine"]
    places = {"MYPYPATH": os.pathsep.join([str(Path(gansweep.__file__).parents[1]), str(tmp_path)])}
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **places}, check=False)
    (found,) = [line for line in done.stdout.splitlines() if ": error: " in line]
    assert "mine.py:5: " in found and 'Module has no attribute "sumbit"' in found


def _path() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path.cwd()), str(Path(gansweep.__file__).parents[1])])}


# -- a sweep that stands -----------------------------------------------------------------------------------------------


def test_trials_are_a_table(tmp_path: Path):
    ledger = stand(tmp_path, lambda leg, images: {"fid": 50.0 / images + leg.trial})
    handle = gansweep.load("small", home=tmp_path)
    trials = handle.trials
    assert list(trials.index) == [t.id for t in ledger.trials()]
    assert trials.loc[0, "params.train.generator_lr"] == ledger.trials()[0].params["train.generator_lr"]
    assert trials.loc[0, "metrics.fid"] == ledger.trials()[0].metrics["fid"]
    assert handle.best == ledger.best() and handle.best is not None
    assert repr(handle) == f"Handle('small': finished, 3 trials, best fid {handle.best.score:.4g} (trial 0))"
    assert [h.name for h in gansweep.sweeps(home=tmp_path)] == ["small"]


def test_every_report_comes_once_those_of_one_training_in_order(tmp_path: Path):
    ledger = stand(tmp_path, lambda leg, images: {"fid": 50.0 / images + leg.trial}, confirm={"top": 1, "seeds": 1})
    reports = list(gansweep.load("small", home=tmp_path))
    of_first = [report.images for report in reports if (report.trial, report.seed) == (0, None)]
    assert of_first == sorted(ledger.trials()[0].reports)
    assert {report.seed for report in reports} == {None, *(run.seed for run in ledger.confirmations.all())}
    assert len({report[:3] for report in reports}) == len(reports)


def test_a_report_has_the_verdict_of_its_time(tmp_path: Path):
    stand(tmp_path, lambda leg, images: {"fid": 5.0 + leg.trial, "verdict": "slow" if images == 10 else "healthy"})
    told = {(report.trial, report.images): report.verdict for report in gansweep.load("small", home=tmp_path)}
    assert told[0, 10] == "slow" and told[0, 20] == "healthy"


def test_single_trials_are_asked_for_and_ended(tmp_path: Path):
    stand(tmp_path, lambda leg, images: {"fid": 5.0 + leg.trial})
    handle = gansweep.load("small", home=tmp_path)
    assert handle.add_trial({"train.generator_lr": 1.5e-3}).startswith("it is tried when the sweep goes on: ")
    with pytest.raises(gansweep.UserError, match="generator_lr"):
        handle.add_trial({"train.generator_lr": 7})
    with pytest.raises(gansweep.UserError, match="trial 0"):
        handle.stop_trial(0)


def test_an_order_that_there_is_not_is_refused(tmp_path: Path):
    stand(tmp_path, lambda leg, images: {"fid": 5.0 + leg.trial})
    order: Any = "fid"
    with pytest.raises(gansweep.UserError, match=r"^by: there is no order 'fid'; known: score, verdict$"):
        gansweep.load("small", home=tmp_path).samples(tmp_path / "wall.html", by=order)
    assert not (tmp_path / "wall.html").exists()


def test_a_notebook_shows_the_table_and_the_grid_of_the_best(tmp_path: Path):
    ledger = stand(tmp_path, lambda leg, images: {"fid": 50.0 / images + leg.trial})
    handle, best = gansweep.load("small", home=tmp_path), ledger.best()
    assert best is not None
    without = handle._repr_html_()  # its grid is lost
    assert "<b>small</b>: finished, 3 trials" in without and "params.train.generator_lr" in without
    assert "<img" not in without
    (tmp_path / "grid.png").write_bytes(b"a picture")
    key = f"{ledger.key}/trials/{best.id}/samples/{best.images}.png"
    store_of(ledger.sweep, Home.open(tmp_path)).put(tmp_path / "grid.png", key)
    assert "data:image/png;base64,YSBwaWN0dXJl" in handle._repr_html_()


def test_watching_without_a_notebook_is_watching_on_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    stand(tmp_path, lambda leg, images: {"fid": 50.0 / images + leg.trial})
    gansweep.load("small", home=tmp_path).watch()
    assert "small: finished" in capsys.readouterr().out


def test_what_is_not_there_is_told_with_what_is(tmp_path: Path):
    stand(tmp_path, lambda leg, images: {})
    with pytest.raises(gansweep.UserError, match=r"no sweep 'smal' in .*; sweeps there: small"):
        gansweep.load("smal", home=tmp_path)
    with pytest.raises(gansweep.UserError, match=r"neither a registered model .* nor a checkpoint folder"):
        gansweep.Generator.load(tmp_path / "nowhere")
    with pytest.raises(gansweep.UserError, match="a forced promotion needs its reason"):
        gansweep.load("small", home=tmp_path).promote(force=True)


def test_variables_for_a_job_are_refused_where_the_driver_runs_here(tmp_path: Path):
    where: dict[str, Any] = {"home": tmp_path, "env": ["WANDB_KEY"]}
    for address in (None, "head:6379"):
        with pytest.raises(gansweep.UserError, match="env needs address='http"):
            gansweep.submit(ON_ONE, address=address, **where)
    stand(tmp_path, lambda leg, images: {})
    with pytest.raises(gansweep.UserError, match="env needs address='http"):
        gansweep.load("small", home=tmp_path).resume(env=["WANDB_KEY"])


def test_a_sweep_that_has_failed_is_not_waited_for(tmp_path: Path):
    stand(tmp_path, lambda leg, images: {}).set_state("failed")
    with pytest.raises(gansweep.WorkError, match="sweep 'small' failed; see why with: gansweep resume small --home"):
        gansweep.load("small", home=tmp_path).wait()


# -- settings ----------------------------------------------------------------------------------------------------------


def test_a_plan_of_a_file_a_dict_and_a_sweep_is_the_same(tmp_path: Path):
    file = tmp_path / "tiny.yaml"
    file.write_text(yaml.safe_dump(ON_ONE))
    as_file = gansweep.plan(file, home=tmp_path)
    assert gansweep.plan(str(file), home=tmp_path) == gansweep.plan(ON_ONE, home=tmp_path) == as_file
    asked = gansweep.Sweep.model_validate(ON_ONE)
    assert gansweep.plan(asked, home=tmp_path) == as_file
    changed = gansweep.plan(asked, set={"train.batch_size": 32}, home=tmp_path)
    assert changed["sweep"]["train"].pop("batch_size") == 32
    assert as_file["sweep"]["train"].pop("batch_size") == 64 and changed["sweep"] == as_file["sweep"]


def test_settings_may_come_from_numpy_and_pathlib(tmp_path: Path):
    given = {**ON_ONE, "train": {"images": np.int64(4_096), "generator_lr": np.float64(1e-4), "loss": "hinge"}}
    given["data"] = {"name": "images", "path": tmp_path}
    resolved = gansweep.plan(given, home=tmp_path)["sweep"]
    assert (resolved["train"]["images"], resolved["data"]["path"]) == (4_096, str(tmp_path))


def test_all_that_is_wrong_with_a_dict_is_told_at_once(tmp_path: Path):
    wrong = {**ON_ONE, "train": {"images": "many", "batch_sise": 3}}
    with pytest.raises(gansweep.SettingsError) as told:
        gansweep.submit(wrong, home=tmp_path)
    first, second = str(told.value).splitlines()
    assert first.startswith("settings: train.images: ") and "did you mean 'batch_size'" in second


# -- a training, and a sweep that runs ---------------------------------------------------------------------------------


def test_one_training_and_its_generator(tmp_path: Path):
    heard: list[Any] = []
    trained = gansweep.train(SHORT, out=tmp_path / "out", heard=heard.append, set={"train.seed": 3})
    assert [report.images for report in heard] == [1_024, 2_048] and trained.reports == tuple(heard)
    generator = trained.generator
    assert generator.config.train.seed == 3
    made = generator.sample(5)
    assert made.shape == (5, 2) and (generator.sample(seeds=[3, 4]) == made[3:]).all()
    with pytest.raises(UnusableSettingError, match="give one of both"):
        generator.sample(4, seeds=[1])
    points = generator(torch.zeros(2, 8))
    assert points.shape == (2, 2) and not points.requires_grad
    assert generator._repr_png_().startswith(b"\x89PNG")
    again = gansweep.train(trained.generator.config, out=tmp_path / "out")
    assert again.reports == () and again.verdict == trained.verdict
    code = f"import sys, gansweep; gansweep.Generator.load({str(trained.reports[-1].checkpoint)!r}).sample(3)"
    subprocess.run([sys.executable, "-c", f"{code}; assert 'mlflow' not in sys.modules"], check=True, env=_path())


def test_a_sweep_runs_behind_python_and_its_generator_is_promoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PYTHONPATH", str(Path.cwd()))
    monkeypatch.setenv("GANSWEEP_NOTIFY", f"(cat; echo) >> '{tmp_path}/told'")
    asked = {**SHORT, "search": {**SHORT["search"], "trials": 2}}
    handle = gansweep.submit(asked, home=tmp_path)
    assert handle.state == "running"
    with pytest.raises(gansweep.UserError, match=r"sweep 'tiny' is being run by .* gansweep stop tiny --home"):
        gansweep.submit(asked, home=tmp_path)
    reports = list(handle)
    assert {report.trial for report in reports} == {0, 1}
    assert handle.wait().state == "finished" and len(handle.trials) == 2
    told = json.loads((tmp_path / "told").read_text().splitlines()[-1])
    assert told["event"] == "end" and told["text"].startswith("sweep 'tiny': finished; ")
    promoted = handle.promote(force=True, reason="a test", model="points")
    generator = gansweep.Generator.load(promoted["uri"], home=tmp_path)
    assert (generator.sample(6) == handle.sample(6)).all()
    assert (generator.sample(6)[[2, 5]] == handle.sample(seeds=[2, 5])).all()
    forked = handle.fork("tiny-two", {"search.trials": 1, "confirm": {"top": 0}})
    assert forked.wait().state == "finished" and len(forked.trials) == 1
    assert gansweep.submit(asked, home=tmp_path).state == "finished"
    assert "sweep 'tiny'" not in (tmp_path / "sweeps/tiny/driver.log").read_text().splitlines()[-1]


def test_what_a_driver_could_not_do_is_raised_where_it_was_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PYTHONPATH", str(Path.cwd()))
    stand(tmp_path, lambda leg, images: {})
    other = sweep(search={"space": {"train.generator_lr": {"float": (1e-5, 1e-2), "log": True}}})
    with pytest.raises(gansweep.UserError, match=r"sweep 'small'.*its output: .*driver.log"):
        gansweep.submit(other, home=tmp_path)
