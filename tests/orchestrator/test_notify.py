"""Who does not watch is told; who can't be told does the sweep no harm."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from orchestrator.artifacts import open_store
from orchestrator.conductor import Conductor
from orchestrator.errors import LeaseLostError, UserError
from orchestrator.paths import SweepPaths
from orchestrator.search.lease import lease_of
from orchestrator.search.ledger import Ledger
from orchestrator.search.trial import Leg
from orchestrator.tracking.spool import Spool
from orchestrator.watching import notify
from orchestrator.watching.notify import notified
from tests.orchestrator.small import next_leg, sweep, train
from tests.orchestrator.test_exporter import Notes


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger.open(sweep(rungs={"first_images": 90}), tmp_path / "ledger.journal")


def play(ledger: Ledger, folder: Path) -> list[str]:
    """Three trials of which the second collapses and the third is the best; what the user was told."""
    store, lease = open_store("auto", folder / "store"), lease_of(ledger.sweep, SweepPaths("small", folder))
    conductor, notes = Conductor(ledger, Spool(folder / "spool.jsonl"), store, lease, Notes()), Notes()
    conductor.progress = notes

    def script(leg: Leg, images: int) -> Mapping[str, Any]:
        return {"fid": 30.0 - 10 * leg.trial, "verdict": "collapsed" if leg.trial == 1 and images > 30 else "healthy"}

    with notified(conductor, ledger) as tell:
        for _ in range(3):
            leg = next_leg(ledger)
            conductor.progress.ended(leg, train(ledger, leg, script))
        tell("finished")
    return notes.said


@pytest.fixture
def webhook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A URL, and what was posted there."""
    posted: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/", posted
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_driver_whose_sweep_another_has_tells_nobody_that_it_ended(
    ledger: Ledger, tmp_path: Path, webhook: tuple[str, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
):
    url, posted = webhook
    monkeypatch.setenv("GANSWEEP_NOTIFY", url)
    lease = lease_of(ledger.sweep, SweepPaths("small", tmp_path))
    conductor = Conductor(ledger, Spool(tmp_path / "spool.jsonl"), open_store("auto", tmp_path), lease, Notes())
    conductor.failure = LeaseLostError("'small' was taken over by ada@node7")
    with notified(conductor, ledger) as tell:
        tell("failed")
    assert posted == []


def test_a_webhook_hears_of_the_best_of_collapse_and_of_the_end(
    ledger: Ledger, tmp_path: Path, webhook: tuple[str, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
):
    url, posted = webhook
    monkeypatch.setenv("GANSWEEP_NOTIFY", url)
    assert play(ledger, tmp_path) == []
    assert [(each["event"], each["trial"]) for each in posted] == [
        ("best", 0),
        ("collapse", 1),
        ("best", 2),
        ("end", 2),
    ]
    assert posted[1]["text"] == "sweep 'small': trial 1 collapsed: it looks collapsed"
    assert posted[3]["text"] == "sweep 'small': finished; best trial 2, fid 10"


def test_a_command_gets_the_events_that_were_chosen(ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "told"
    monkeypatch.setenv("GANSWEEP_NOTIFY", f"(cat; echo \" $GANSWEEP_EVENT\") >> '{file}'")
    monkeypatch.setenv("GANSWEEP_NOTIFY_ON", "end, collapse")
    assert play(ledger, tmp_path) == []
    documents = [json.loads(line.rpartition(" ")[0]) for line in file.read_text().splitlines()]
    assert [document["event"] for document in documents] == ["collapse", "end"]
    assert file.read_text().splitlines()[1].endswith(" end")


@pytest.mark.parametrize("receiver", ["echo no room >&2; exit 3", "http://127.0.0.1:9/"])
def test_who_can_not_be_told_is_named_once_and_the_sweep_goes_on(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, receiver: str
):
    monkeypatch.setenv("GANSWEEP_NOTIFY", receiver)
    (said,) = play(ledger, tmp_path)
    reason = "status 3: no room" if "exit" in receiver else "Connection refused"
    assert said.startswith("warning: GANSWEEP_NOTIFY does not work (") and reason in said
    assert [trial.state for trial in ledger.trials()] == ["finished", "collapsed", "finished"]


@pytest.mark.parametrize("receiver", ["sleep 9 # hunter2", "http://127.0.0.1:1/a b/hunter2"])
def test_the_receiver_is_a_secret_also_when_it_does_not_work(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, receiver: str
):
    monkeypatch.setattr(notify, "TIMEOUT", 0.2)
    monkeypatch.setenv("GANSWEEP_NOTIFY", receiver)
    monkeypatch.setenv("GANSWEEP_NOTIFY_ON", "collapse")
    (said,) = play(ledger, tmp_path)
    assert "does not work" in said and "hunter2" not in said


def test_an_event_that_there_is_none_of_is_told_before_anything_starts(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("GANSWEEP_NOTIFY_ON", "end,colapse")
    with pytest.raises(UserError, match="GANSWEEP_NOTIFY_ON names colapse; known: end, collapse, best"):
        play(ledger, tmp_path)
    assert ledger.trials() == []
