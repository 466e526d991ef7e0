"""A sweep belongs to no machine: real processes, each with a home of its own, drive one ledger in a real PostgreSQL."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from orchestrator import status as standing
from orchestrator import sweep as story
from orchestrator.client.handle import Handle
from orchestrator.errors import UserError
from orchestrator.paths import Home
from orchestrator.search.database import Database
from orchestrator.search.rowlease import RowLease
from orchestrator.terminal.live import Quiet
from orchestrator.tracking import recorder
from orchestrator.tracking.target import PATIENCE
from tests.orchestrator.test_cli import Terminal, gansweep
from tests.orchestrator.test_recorder import _contents

__all__ = ["gansweep"]

EXPIRY = 2.0


@dataclass(frozen=True)
class Lab:
    """A profile that several machines share; ``folder`` has a home for each of them."""

    folder: Path
    url: str

    def track(self, database: str) -> Path:
        """In this MLflow from now on."""
        (self.folder / "config.toml").write_text(
            f'[profiles.lab]\nledger = "{self.url}"\ntracking = "sqlite:///{self.folder}/{database}"\n'
            f'artifacts = "{self.folder}/artifacts"\n'
        )
        return self.folder / database

    def home(self, machine: str) -> Home:
        return Home.open(self.folder / machine, "lab")

    @contextmanager
    def drive(self, machine: str, pause: float = 0.0, expiry: float = EXPIRY) -> Iterator[subprocess.Popen[str]]:
        arguments = (str(self.folder / machine), str(expiry), str(pause))
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.orchestrator.driver", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    def lapse(self, expiry: float = EXPIRY) -> float:
        """Wait until the sweep can be taken over; returns after how many seconds."""
        lease, since = RowLease(self.url, "small", lambda holder: UserError(holder.who)), time.monotonic()
        while (found := lease.holder()) and found.age < expiry:
            assert time.monotonic() - since < 60
            time.sleep(0.05)
        return time.monotonic() - since

    def finish(self, machine: str) -> None:
        with self.drive(machine) as process:
            output, message = process.communicate(timeout=200)
            assert process.returncode == 0, output + message

    def everything(self) -> dict[str, list[Any]]:
        """Each row of the ledger but the lease's."""
        engine = sa.create_engine(self.url)
        with engine.connect() as connection:
            names = [name for name in sa.inspect(engine).get_table_names() if name != "gansweep_leases"]
            return {name: sorted(map(str, connection.execute(sa.text(f"SELECT * FROM {name}")))) for name in names}


@pytest.fixture
def lab(postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setenv("GANSWEEP_CONFIG", str(tmp_path / "config.toml"))
    found = Lab(tmp_path, postgres)
    found.track("mlflow.db")
    return found


def read(process: subprocess.Popen[str], lines: int) -> None:
    assert process.stdout
    for _ in range(lines):
        assert process.stdout.readline(), process.stderr.read() if process.stderr else ""


def whole(lab: Lab) -> None:
    """Every trial ended once, every report stands once, and it is over."""
    ledger, paths = standing.ledger_of("small", lab.home("anywhere"))
    assert standing.state(ledger, paths) == "finished"
    assert len(ledger.trials()) == 6 and all(trial.ended for trial in ledger.trials())
    assert [run.done for run in ledger.confirmations.all()] == [True]
    study = Database(lab.url).find("small")
    assert study and all(trial.state.is_finished() for trial in study.trials)


def test_a_driver_that_sleeps_and_wakes_up_writes_nothing_and_says_why(lab: Lab) -> None:
    with lab.drive("first", pause=0.05) as first:
        read(first, 6)
        os.kill(first.pid, signal.SIGSTOP)
        lab.lapse()
        lab.finish("second")
        whole(lab)
        before = lab.everything()
        os.kill(first.pid, signal.SIGCONT)
        output, message = first.communicate(timeout=100)
        assert first.returncode == 1
        (line,) = message.splitlines()
        assert line.startswith("gansweep: 'small' was taken over by ") and "(process " in line, line
        assert lab.everything() == before
    ledger, _ = standing.ledger_of("small", lab.home("anywhere"))
    asleep = lab.home("first").sweep(ledger.key).spool.read_text()
    assert '"state":"failed"' not in asleep and output.count("\n") <= 2, "what it does not own it does not tell"
    Handle("small", lab.home("third")).delete()
    assert standing.sweeps(lab.home("anywhere")) == [] and Database(lab.url).find("small") is None


def test_a_killed_driver_is_followed_by_another_as_soon_as_its_lease_is_over(lab: Lab) -> None:
    with lab.drive("first", pause=0.05) as first:
        read(first, 9)
        first.kill()
        first.wait()
        assert lab.lapse() < EXPIRY + 5
        lab.finish("second")
    whole(lab)


def test_a_living_driver_is_stopped_from_another_machine_and_resumed_there(lab: Lab, gansweep: Terminal) -> None:
    with lab.drive("first", pause=0.2) as first:
        read(first, 3)
        answer = gansweep.type("status", "small", "--json", "--profile", "lab")
        assert answer.document["state"] == "running"
        told = gansweep.type("stop", "small", "--profile", "lab").out
        assert told.startswith("sweep 'small' ends after its current reports; go on with: gansweep resume small --prof")
        assert first.wait(100) == 0
    assert gansweep.type("list", "--profile", "lab", "--json").document[0]["state"] == "stopped"
    assert gansweep.type("stop", "small", "--profile", "lab").out == "sweep 'small' is not running\n"
    handle = Handle("small", Home.at(None, "lab"))
    assert handle.state == "stopped" and len(handle.trials) == len(handle.status()["trials"]) > 0
    assert [(report.trial, report.images) for report in handle], "a handle reads what another machine wrote"
    answer = gansweep.type("status", "smal", "--profile", "lab")
    assert answer.message == "no sweep 'smal' in the profile's ledger; sweeps there: small"
    with lab.drive("second") as second:
        assert second.wait(200) == 0
    whole(lab)


def test_a_sweep_file_that_names_another_ledger_is_refused(lab: Lab, gansweep: Terminal) -> None:
    storage = "search.storage=sqlite:///other.db"
    answer = gansweep.type("submit", "configs/digits.yaml", "--profile", "lab", "--set", storage)
    assert answer.status == 2 and answer.message.startswith("search.storage names a ledger of its own")


def test_no_password_is_kept_in_the_ledger(lab: Lab) -> None:
    with lab.drive("first") as first:
        assert first.wait(200) == 0
    study = Database(lab.url).find("small")
    assert study and "name: small" in study.attrs["gansweep.sweep"]


def test_mlflow_is_drawn_again_from_the_ledger_each_point_once(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in PATIENCE.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(recorder, "PERIOD", 0.05)
    lab.finish("first")
    monkeypatch.chdir(lab.folder)  # where MLflow puts the files of runs in a database
    mlflow, pictures = lab.folder, []
    places = [("first", "old.db"), ("second", "new.db"), ("second", "new.db"), ("third", "new.db")]
    for machine, database in places:  # the first knows what was told as it happened, the others the ledger alone
        mlflow = lab.track(database)
        assert story.sync("small", lab.home(machine), Quiet()) is None
        pictures.append(drawn(mlflow))
    first = pictures[0]
    assert len(first) == 8 and all(run["metrics"] for name, run in first.items() if name != "sweep small")
    for picture in pictures[1:]:
        for name, run in picture.items():
            for part in run:
                assert run[part] == first[name][part], (name, part)
    ledger, _ = standing.ledger_of("small", lab.home("anywhere"))
    made = {run.info.run_id for run in runs(mlflow)}
    assert all(trial.mlflow_run_id in made for trial in ledger.trials()), "and promote finds them"


def drawn(database: Path) -> dict[str, Any]:
    """All that MLflow has of the sweep, by run, but when the sweep's own run was last ended."""
    client, found = MlflowClient(f"sqlite:///{database}"), runs(database)
    names = {run.info.run_id: run.info.run_name for run in found}
    assert len(set(names.values())) == len(names)
    picture = {run.info.run_name: _contents(client, run, names) for run in found}
    del picture["sweep small"]["ended"]
    return picture


def runs(database: Path) -> list[Run]:
    client = MlflowClient(f"sqlite:///{database}")
    (experiment,) = (e for e in client.search_experiments() if e.name == "small")
    return list(client.search_runs([experiment.experiment_id]))
