"""What is on its way to MLflow, and what a death leaves of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.tracking import events
from orchestrator.tracking.spool import Spool
from tests.orchestrator.small import report


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool.jsonl"


def numbers(spool: Spool) -> list[int]:
    return [event["number"] for event, _ in spool.pending()]


def test_events_come_out_as_they_went_in(path: Path):
    spool = Spool(path)
    assert spool.empty
    event = {"kind": "tags", "trial": 3, "tags": {"words": "ünï ☃\nline", "number": 0.1}}
    spool.append(event)
    assert [found for found, _ in spool.pending()] == [event]
    assert not spool.empty


def test_what_is_marked_is_not_sent_again_and_the_rest_is(path: Path):
    spool = Spool(path)
    for number in range(3):
        spool.append({"number": number})
    position = [behind for _, behind in spool.pending()][1]
    spool.mark(position)
    for reader in (spool, Spool(path)):
        assert numbers(reader) == [2]
    spool.append({"number": 3})
    assert numbers(Spool(path)) == [2, 3]


def test_without_its_mark_everything_is_sent_again(path: Path):
    spool = Spool(path)
    spool.append({"number": 0})
    spool.mark(path.stat().st_size)
    assert spool.empty
    (mark,) = (file for file in path.parent.iterdir() if file != path)
    mark.unlink()
    assert numbers(Spool(path)) == [0]


def test_a_line_torn_by_a_death_is_dropped_and_the_next_one_is_whole(path: Path):
    Spool(path).append({"number": 0})
    with path.open("a") as file:
        file.write('{"numb')
    spool = Spool(path)
    spool.append({"number": 1})
    assert numbers(spool) == [0, 1]


def test_a_line_still_being_written_waits(path: Path):
    spool = Spool(path)
    spool.append({"number": 0})
    with path.open("a") as file:
        file.write('{"number":1')
        file.flush()
        assert numbers(spool) == [0]
        file.write("}\n")
    assert numbers(spool) == [0, 1]


def test_a_report_trained_again_after_a_death_is_kept_once(path: Path):
    first = events.reported(4, report(10, fid=3.0))
    for _ in range(2):
        Spool(path).append(first)
    spool = Spool(path)
    spool.append(first | {"time": first["time"] + 5_000})
    spool.append(events.reported(4, report(20)))
    spool.append(events.reported(5, report(10)))
    assert [(event["trial"], event["images"]) for event, _ in spool.pending()] == [(4, 10), (4, 20), (5, 10)]
    assert next(spool.pending())[0]["time"] == first["time"], (
        "the time of the first, so that points stay where they are"
    )


def test_metrics_have_the_names_of_the_contract():
    event = events.reported(0, report(50, fid=2.0, kid=0.1, diversity=0.9))
    assert event["metrics"].keys() == {
        *("loss/generator", "loss/discriminator", "fid", "kid", "coverage", "diversity", "images_per_second"),
        *("health/verdict", "images"),  # the column of a table (decision 0020)
        "system/cpu_utilization_percentage",
    }
    assert (event["images"], event["time"]) == (50, 1_700_000_050_000)


def test_half_a_line_that_a_full_disk_left_does_not_spoil_the_next(tmp_path: Path):
    spool = Spool(tmp_path / "spool.jsonl")
    spool.append({"kind": "tags", "n": 1})
    with (tmp_path / "spool.jsonl").open("a") as file:
        file.write('{"kind": "ta')
    spool.append({"kind": "tags", "n": 2})
    assert [event["n"] for event, _ in spool.pending()] == [1, 2]
    assert [event["n"] for event, _ in Spool(tmp_path / "spool.jsonl").pending()] == [1, 2]
