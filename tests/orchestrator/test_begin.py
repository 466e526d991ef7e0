"""The way in: ``init``, ``help settings`` and what the shell completes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from orchestrator import spec
from orchestrator.errors import UserError
from orchestrator.planning import begin, explained, look
from orchestrator.planning.estimate import estimate
from tests.benchmarks.reach import draw
from tests.orchestrator.test_cli import Terminal, stand
from trainers.data import DATASETS
from trainers.data.pack import pack
from trainers.families.gan.check import NAMES
from trainers.losses import LOSSES


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Terminal:
    for name, value in {"GANSWEEP_HOME": str(tmp_path / "home"), "GANSWEEP_DEBUG": "", "COLUMNS": "200"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return Terminal(monkeypatch, capsys, tmp_path / "home")


# -- init --------------------------------------------------------------------------------------------------------------


def test_a_folder_becomes_a_sweep_file_that_fits_it(
    terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(begin, "_speed", lambda values, looked: 100.0)
    monkeypatch.setattr(begin, "_machine", lambda: begin.Machine(0, 2, "no GPU, 2 CPU cores"))
    draw(tmp_path / "My Shapes!", 30)
    answer = terminal.type("init", "images", "My Shapes!", "--minutes", "60")
    assert answer.status == 0, answer.err
    assert "30 pictures in My Shapes!" in answer.out and "sizes 32x32; modes RGB (30)" in answer.out
    assert "written: my-shapes.yaml; next: gansweep submit my-shapes.yaml" in answer.out
    sweep = spec.load(tmp_path / "my-shapes.yaml", here=True)
    assert (sweep.data.resolution, sweep.data.channels, sweep.evaluate.samples) == (32, 3, 30)
    assert "evaluate.samples" not in dict(spec.warnings(sweep)), "too few samples for its measure"
    assert sweep.train.augment and sweep.resources.gpus_per_worker == 0
    # 60 minutes of which 60 % train, at 200 images/s over two slots
    assert estimate(sweep).images == pytest.approx(0.6 * 3_600 * 200, rel=0.15)
    assert "is there already; name another with -o FILE" in terminal.type("init", "images", "My Shapes!").err


def test_a_machine_that_is_slow_is_given_longer_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(begin, "_speed", lambda values, looked: 10.0)
    monkeypatch.setattr(begin, "_machine", lambda: begin.Machine(0, 2, "no GPU, 2 CPU cores"))
    draw(tmp_path / "shapes", 12)
    said: list[str] = []
    file = begin.fit("images", str(tmp_path / "shapes"), tmp_path / "s.yaml", 1, said.append)
    sweep = spec.load(file)
    minutes = round(estimate(sweep).images / (0.6 * 60 * 20))
    assert minutes > 1 and f"takes about {minutes} minutes" in file.read_text()
    assert said[-1] == f"1 min would be too short for 12 reports a trial: this sweep takes about {minutes} min"


def test_the_commands_in_a_file_name_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(begin, "_speed", lambda values, looked: 10.0)
    draw(tmp_path / "shapes", 12)
    file = begin.fit("images", str(tmp_path / "shapes"), tmp_path / "other.yaml", 1, lambda line: None)
    assert f"gansweep submit {file} " in file.read_text()


def test_the_speed_is_that_of_a_training_on_these_pictures(tmp_path: Path):
    for number in range(12):
        Image.new("L", (8, 9), 20 * number).save(tmp_path / f"{number}.png")
    seen = look.look("images", str(tmp_path))
    assert (seen.channels, seen.side) == (1, 8)
    values = begin._values("s", "images", seen, begin.Machine(0, 1, ""), 8)
    assert begin._speed(values | {"width": 4}, seen) > 1


def test_no_more_pictures_are_read_than_were_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Of 60,000 large ones, the time of a user who waits would go into decoding."""
    monkeypatch.setattr(look, "SAMPLE", 12)
    for number in range(24):
        Image.new("L", (8, 8), 10 * number).save(tmp_path / f"{number:02}.png")
    (tmp_path / "01.png").write_bytes(b"broken, and not among the twelve")
    seen = look.look("images", str(tmp_path))
    folder = begin._saved(seen, tmp_path / "saved")
    assert [f.read_bytes() for f in sorted(folder.iterdir(), key=lambda f: int(f.stem))] == [
        (tmp_path / f"{number:02}.png").read_bytes() for number in range(0, 24, 2)
    ]


def test_a_batch_that_the_gpu_can_not_hold_is_halved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def speed(values: dict[str, Any], looked: look.Looked) -> float:
        if values["batch_size"] > most:
            raise torch.OutOfMemoryError
        return 1_000.0

    monkeypatch.setattr(begin, "_speed", speed)
    monkeypatch.setattr(begin, "_machine", lambda: begin.Machine(1, 1, "1 GPU"))
    draw(tmp_path / "shapes", 100)
    said: list[str] = []
    most = 20
    file = begin.fit("images", str(tmp_path / "shapes"), tmp_path / "s.yaml", 20, said.append)
    assert spec.load(file).train.batch_size == 16
    assert [line for line in said if "does not fit" in line] == [
        f"a batch of {size} does not fit into the GPU's memory; trying half of it …" for size in (64, 32)
    ]
    most = 3
    with pytest.raises(UserError, match="not even a batch of 4 pictures fits"):
        begin.fit("images", str(tmp_path / "shapes"), tmp_path / "t.yaml", 20, said.append)


def test_classes_modes_and_broken_files_are_seen_in_folders_and_in_shards(tmp_path: Path):
    for number in range(24):
        file = tmp_path / "sky" / ("fog", "rain")[number % 2] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new(("RGB", "L")[number % 2], (20 + number, 30)).save(file)
    (tmp_path / "sky/fog/x.png").write_bytes(b"no picture")
    seen = look.look("images", str(tmp_path / "sky"))
    assert seen.told()[2:] == ["2 classes: fog, rain", "1 of 25 looked at can't be read"]
    assert (seen.pictures, seen.channels, seen.side) == (25, 3, 21)
    pack(tmp_path / "sky", str(tmp_path / "shards"), 0.1)
    packed = look.look("parquet", str(tmp_path / "shards"))
    assert (packed.pictures, packed.channels, packed.classes, packed.side) == (24, 3, ("fog", "rain"), 21)


@pytest.mark.parametrize(
    ("kind", "where", "message"),
    [
        ("images", "empty", "no image files below 'empty'"),
        ("images", "few", "few: 1 image file; at least 10 are needed"),
        ("images", "nowhere", "'nowhere' is not a folder"),
        ("parquet", "empty", "no Parquet files"),
        ("parquet", "gs://bucket", "is no place that can be read"),
    ],
)
def test_what_can_not_be_begun_is_one_message(terminal: Terminal, tmp_path: Path, kind: str, where: str, message: str):
    (tmp_path / "empty").mkdir()
    (tmp_path / "few").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "few/1.png")
    answer = terminal.type("init", kind, where)
    assert answer.status == 2 and message in answer.message
    assert not list(tmp_path.glob("*.yaml"))


def test_a_folder_that_memory_can_not_hold_is_to_be_packed(tmp_path: Path):
    draw(tmp_path / "shapes", 12)
    enormous = look.look("images", str(tmp_path / "shapes"))._replace(pictures=10**10)
    assert "pack them with 'gansweep data import'" in (look.too_large(enormous, 32) or "")
    assert look.too_large(enormous._replace(pictures=10**4), 32) is None


def test_sweep_files_come_with_the_package(terminal: Terminal, tmp_path: Path):
    assert "next: gansweep submit digits.yaml" in terminal.type("init", "digits").out
    assert (tmp_path / "digits.yaml").read_text() == begin.shipped()["digits"]
    answer = terminal.type("init", "digist")
    known = ", ".join(sorted(begin.shipped()))
    assert answer.message == f"init digist: there is none of that name; begin with: {known}, images DIR, parquet PLACE"
    assert "of which pictures? gansweep init images PLACE" in terminal.type("init", "images").message


# -- settings ----------------------------------------------------------------------------------------------------------


def test_every_setting_has_a_meaning_a_range_and_a_default():
    found = explained.settings()
    assert [setting.name for setting in found if not (setting.meaning and setting.values and setting.default)] == []
    (one,) = explained.settings("train.batch_size")
    assert one == ("train.batch_size", "integer >= 1", "64", "global, over all ranks")
    assert {s.name for s in explained.settings("rungs")} == {"rungs", "rungs.first_images", "rungs.reduction"}
    with pytest.raises(UserError, match=r"there is no setting 'train.los'; did you mean 'train.loss'\?"):
        explained.settings("train.los")


def test_the_names_that_a_meaning_lists_are_those_that_there_are():
    meanings = {setting.name: setting.meaning for setting in explained.settings()}
    known: dict[str, Iterable[str]] = {**NAMES, "train.loss": LOSSES, "data.name": DATASETS}
    for setting, names in known.items():
        assert [name for name in names if name not in meanings[setting]] == [], setting


def test_settings_are_printed_whole_or_as_json(terminal: Terminal):
    text = terminal.type("help", "settings").out
    assert "train.beta1  number >= 0, < 1; default 0.5\n    of Adam" in text
    assert len(terminal.type("help", "settings", "--json").document) == len(explained.settings())


# -- the shell ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "completed"), [("status sm", "small"), ("help settings train.lo", "train.loss"), ("rep", "report")]
)
def test_the_shell_completes_commands_sweeps_and_settings(tmp_path: Path, line: str, completed: str):
    stand(tmp_path, lambda leg, images: {})
    code = "import sys; sys.argv[0] = 'gansweep'; from orchestrator.cli import main; main()"
    asked = {
        "_GANSWEEP_COMPLETE": "complete_bash",
        "COMP_WORDS": f"gansweep {line}",
        "COMP_CWORD": str(line.count(" ") + 1),
    }
    environment = {"PYTHONPATH": str(Path.cwd()), "GANSWEEP_HOME": str(tmp_path), "HOME": str(tmp_path), **asked}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split() == [completed], done.stderr
