"""What a terminal shows while a sweep runs."""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.live import Live

from orchestrator.search.ledger import Ledger
from orchestrator.terminal import live
from tests.orchestrator.small import next_leg, report, run, sweep, train


def many(tmp_path: Path) -> Ledger:
    """Forty trials, the best of them trained again on two fresh seeds."""
    ledger = Ledger.open(
        sweep(search={"trials": 40}, rungs=None, confirm={"top": 1, "seeds": 2}), tmp_path / "ledger.journal"
    )
    run(ledger, lambda leg, images: {"fid": 50.0 - leg.trial})
    return ledger


def drawn(ledger: Ledger, height: int, pace: live.Pace | None = None) -> list[str]:
    screen = Console(file=io.StringIO(), width=80, height=height, force_terminal=True, color_system=None)
    with screen.capture() as captured:
        screen.print(live.picture(ledger, "running", pace or live.Pace(ledger), screen))
    return captured.get().splitlines()


@pytest.mark.parametrize("height", [12, 24])
def test_the_picture_fits_the_screen(tmp_path: Path, height: int):
    lines = drawn(many(tmp_path), height)
    assert len(lines) < height and max(map(len, lines)) <= 80
    assert lines[0].startswith("small: running") and lines[1].startswith("trial  state")
    assert lines[2].split()[:2] == ["*39", "finished"]
    assert "40 of 40 trials: 40 finished" in "\n".join(lines)
    assert lines[-1] == "trial 39 on fresh seeds: 11, 11 (median 11, 50% interval 11 to 11)"


def test_the_best_ten_are_shown_and_the_images_counted(tmp_path: Path):
    lines = drawn(many(tmp_path), 60)
    assert [line.split()[0] for line in lines[2:12]] == ["*39", *map(str, range(38, 29, -1))]
    assert len(lines) == 2 + live.BEST + 3
    assert "3,780 of 3,780 images" in lines[-2]


def test_what_runs_comes_first_also_where_it_is_a_training_on_a_fresh_seed(tmp_path: Path):
    asked = sweep(search={"trials": 2}, rungs=None, confirm={"top": 1, "seeds": 2})
    ledger = Ledger.open(asked, tmp_path / "ledger.journal")
    first, second = next_leg(ledger), next_leg(ledger)
    train(ledger, first)
    ledger.report(second, report(10))
    again = next_leg(ledger)
    lines = drawn(ledger, 24)
    assert "2 of 2 trials: 1 finished, 1 running; trial 0 on fresh seeds" in lines
    assert lines[2].split()[:2] == ["1", "running"]
    assert lines[3].split()[:4] == ["0,", "seed", str(again.confirm_seed), "running"]
    assert lines[4].split()[:2] == ["*0", "finished"]


def test_the_time_left_is_told_once_a_speed_is_known(tmp_path: Path):
    ledger = Ledger.open(sweep(search={"trials": 2}, rungs=None, confirm={"top": 0}), tmp_path / "ledger.journal")
    pace, leg = live.Pace(ledger), next_leg(ledger)
    looks = [pace.look()]
    for images in (10, 20):
        ledger.report(leg, report(images))
        looks.append(pace.look())
    assert [(look.done, look.total) for look in looks] == [(0, 180), (10, 180), (20, 180)]
    assert [look.left.startswith("about ") for look in looks] == [False, False, True]


def test_what_workers_say_between_reports_is_shown_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    ledger = Ledger.open(sweep(search={"trials": 2}, rungs=None, confirm={"top": 0}), tmp_path / "ledger.journal")
    pace, leg, other = live.Pace(ledger), next_leg(ledger), next_leg(ledger)
    for images in (20, 20, 40):
        pace.going.take({leg.run: images, other.run: 0})
        clock[0] += 10
    lines = drawn(ledger, 24, pace)
    assert lines[2].split()[:7] == ["0", "running", "0", "40", "-", "unjudged", "1"], "20 images in 20 seconds"
    assert lines[3].split()[:7] == ["1", "running", "0", "0", "-", "unjudged", "-"]
    assert "40 of 180 images" in lines[-1]
    ledger.report(leg, report(50))
    pace.going.forget(leg.run)
    clock[0] += 10
    assert pace.look().done == 50


def test_a_training_on_a_fresh_seed_is_heard_of_by_its_own_name(tmp_path: Path):
    asked = sweep(search={"trials": 1}, rungs=None, confirm={"top": 1, "seeds": 2})
    ledger = Ledger.open(asked, tmp_path / "ledger.journal")
    pace = live.Pace(ledger)
    train(ledger, next_leg(ledger))
    again = next_leg(ledger)
    pace.going.take({again.run: 30})
    lines = drawn(ledger, 24, pace)
    assert lines[2].split()[:4] == ["0,", "seed", str(again.confirm_seed), "running"] and " 30 " in lines[2]
    assert "1 of 1 trials: 1 finished; trial 0 on fresh seeds" in lines
    assert "120 of 270 images" in lines[-2] + lines[-1]


def test_a_pipe_hears_of_a_long_leg_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any):
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    ledger = Ledger.open(sweep(search={"trials": 2}, rungs=None, confirm={"top": 0}), tmp_path / "ledger.journal")
    lines, leg = live.Lines(), next_leg(ledger)
    lines.searching(ledger, 2)
    for images in range(0, 80, 2):  # a word of the workers every 3 seconds
        lines.moved({leg.run: images})
        clock[0] += 3
    told = capsys.readouterr().out.splitlines()
    assert told == [
        "2 trials at once, each on 1 worker",
        "40 of 180 images  about 3 min 30 s left",
    ]


@pytest.mark.parametrize("doing", ["reading the data", "starting Ray"])
def test_before_legs_run_the_screen_says_what_goes_on(doing: str):
    screen = Console(file=(seen := io.StringIO()), width=40, height=10, force_terminal=True, color_system=None)
    with Live(console=screen, auto_refresh=False) as shown:
        moving = live.Moving(shown)
        moving.stage(doing)
        assert f"{doing} …" in seen.getvalue()


def test_notes_stay_each_on_a_line_of_its_own():
    screen = Console(file=(seen := io.StringIO()), width=40, height=10, force_terminal=True, color_system=None)
    with Live(console=screen, auto_refresh=False) as shown:
        moving = live.Moving(shown)
        moving.note("MLflow: http://127.0.0.1:5000/with/an/address/longer/than/the/screen")
        moving.note("a second [note]")
    text = seen.getvalue()
    assert "MLflow: http://127.0.0.1:5000/with/an/address/longer/than/the/screen\n" in text
    assert "a second [note]\n" in text
