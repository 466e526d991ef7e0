"""The driver's metrics, and the dashboard that reads them."""

from __future__ import annotations

import json
import re
import urllib.request
from pathlib import Path

import pytest
import ray
from prometheus_client.parser import text_string_to_metric_families

from orchestrator.artifacts import open_store
from orchestrator.conductor import Conductor
from orchestrator.errors import UserError
from orchestrator.paths import SweepPaths
from orchestrator.search.lease import lease_of
from orchestrator.search.ledger import Ledger
from orchestrator.tracking.spool import Spool
from orchestrator.watching.exporter import exported
from tests.orchestrator.small import report, sweep

DASHBOARD = json.loads(Path("infra/grafana/gansweep.json").read_text())
RAYS_OWN = (Path(ray.__file__).parent / "dashboard/modules/reporter/reporter_agent.py").read_text()


class Notes:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)

    def stage(self, *_: object) -> None: ...
    def moved(self, *_: object) -> None: ...
    def searching(self, *_: object) -> None: ...
    def reported(self, *_: object) -> None: ...
    def ended(self, *_: object) -> None: ...


@pytest.fixture
def conductor(tmp_path: Path) -> Conductor:
    ledger = Ledger.open(sweep(), tmp_path / "ledger.journal")
    store = open_store("auto", tmp_path / "store")
    return Conductor(
        ledger, Spool(tmp_path / "spool.jsonl"), store, lease_of(sweep(), SweepPaths("small", tmp_path)), Notes()
    )


def spool_of(conductor: Conductor) -> Spool:
    return conductor._mirror._spool


def scraped(conductor: Conductor) -> dict[str, float]:
    """Every sample of the endpoint that the conductor has told of, by name and its labels but the sweep's."""
    address = conductor.progress._progress.said[-1].removeprefix("metrics: ")  # type: ignore[attr-defined]
    text = urllib.request.urlopen(address, timeout=5).read().decode()
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = [value for name, value in sample.labels.items() if name != "sweep"]
            found[" ".join([sample.name, *labels])] = sample.value
    return found


def test_what_a_leg_reports_is_counted_and_the_dashboard_knows_every_name(
    conductor: Conductor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANSWEEP_METRICS", "0")
    with exported(conductor, "small", spool_of(conductor)):
        conductor.progress.searching(conductor._ledger, 4)
        conductor.places = lambda: 4
        leg = conductor.next_leg()
        assert isinstance(leg, tuple)
        told = {"seconds": 2.0, "checkpoint": "b", "system": {"collective_seconds": 0.25}}
        conductor.heard(leg[1], report(10, stored=("a",)) | told)
        now = scraped(conductor)
        assert (now["gansweep_trials running"], now["gansweep_slots"], now["gansweep_legs_running"]) == (1, 4, 1)
        assert (now["gansweep_images_total"], now["gansweep_device_seconds_total"]) == (10, 2)
        assert (now["gansweep_step_seconds_sum"], now["gansweep_uploads_pending"]) == (2, 1)
        assert now["gansweep_collective_seconds_sum"] == 0.25
        assert now["gansweep_recording_backlog_bytes"] > 0 and now["gansweep_recording_lag_seconds"] > 0
        conductor.places = lambda: 0  # the nodes have gone
        assert scraped(conductor)["gansweep_slots"] == 0
        conductor.moved({leg[1].prefix: 12})
        assert scraped(conductor)["gansweep_legs_training"] == 1
        conductor.ended(leg[1])
        now = scraped(conductor)
        assert (now["gansweep_trials running"], now["gansweep_trials waiting"]) == (0, 1)
        assert (now["gansweep_legs_total waiting"], now["gansweep_legs_running"]) == (1, 0)

    ours = {name.split()[0] for name in now}
    read = {name for panel in DASHBOARD["panels"] for target in panel.get("targets", ()) for name in _names(target)}
    rays = {name for name in read if name.startswith("ray_")}
    assert read - rays <= ours
    assert {name for name in rays if f'"{name.removeprefix("ray_")}"' not in RAYS_OWN} == set()
    unseen = {name for name in ours if name.startswith("gansweep_") and not name.endswith("_created")} - read
    assert unseen == set(), "what is exported and shown nowhere"


def _names(target: dict[str, str]) -> list[str]:
    return re.findall(r"\b(?:gansweep|ray|process)_\w+", target["expr"])


def test_off_unless_asked_for_and_a_port_in_use_is_said(conductor: Conductor, monkeypatch: pytest.MonkeyPatch) -> None:
    before = conductor.progress
    with exported(conductor, "small", spool_of(conductor)):
        assert conductor.progress is before
    monkeypatch.setenv("GANSWEEP_METRICS", "0")
    with exported(conductor, "small", spool_of(conductor)):
        assert isinstance(before, Notes)
        port = re.findall(r":(\d+)/metrics", before.said[-1])[0]
        monkeypatch.setenv("GANSWEEP_METRICS", port)
        with exported(conductor, "small", spool_of(conductor)):
            said = before.said[-2:]
            assert said[0] == f"GANSWEEP_METRICS={port}: the port is taken, by another sweep maybe"
            assert said[1].startswith("metrics: http://127.0.0.1:") and f":{port}/" not in said[1]
    for odd in ("here", "127.0.0.1:http"):
        monkeypatch.setenv("GANSWEEP_METRICS", odd)
        with (
            pytest.raises(UserError, match="give PORT, or HOST:PORT"),
            exported(conductor, "small", spool_of(conductor)),
        ):
            raise AssertionError
