"""What a terminal shows while a sweep runs."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console
from rich.live import Live

from orchestrator import live
from orchestrator.search.ledger import Ledger
from tests.orchestrator.small import next_leg, report, run, sweep, train


def many(tmp_path: Path) -> Ledger:
    """Forty trials, the best of them trained again on two fresh seeds."""
    ledger = Ledger.open(
        sweep(search={"trials": 40}, rungs=None, confirm={"top": 1, "seeds": 2}), tmp_path / "ledger.journal"
    )
    run(ledger, lambda leg, images: {"fid": 50.0 - leg.trial})
    return ledger


def drawn(ledger: Ledger, height: int) -> list[str]:
    screen = Console(file=io.StringIO(), width=80, height=height, force_terminal=True, color_system=None)
    with screen.capture() as captured:
        screen.print(live.picture(ledger, "running", live.Pace(ledger), screen))
    return captured.get().splitlines()


@pytest.mark.parametrize("height", [12, 24])
def test_the_picture_fits_the_screen(tmp_path: Path, height: int):
    lines = drawn(many(tmp_path), height)
    assert len(lines) < height and max(map(len, lines)) <= 80
    assert lines[0].startswith("small: running") and lines[1].startswith("trial  state")
    assert lines[2].split()[:2] == ["*39", "finished"]
    assert "40 of 40 trials: 40 finished" in "\n".join(lines)
    assert lines[-1] == "trial 39 on fresh seeds: 11, 11 (median 11)"


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
    assert "2 of 2 trials: 1 finished, 1 running" in lines
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


def test_notes_stay_each_on_a_line_of_its_own():
    screen = Console(file=(seen := io.StringIO()), width=40, height=10, force_terminal=True, color_system=None)
    with Live(console=screen, auto_refresh=False) as shown:
        moving = live.Moving(shown)
        moving.note("MLflow: http://127.0.0.1:5000/with/an/address/longer/than/the/screen")
        moving.note("a second [note]")
    text = seen.getvalue()
    assert "MLflow: http://127.0.0.1:5000/with/an/address/longer/than/the/screen\n" in text
    assert "a second [note]\n" in text
