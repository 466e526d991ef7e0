"""Pictures through a translator: of a checkpoint, and registered, in a process that knows nothing of its training."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from orchestrator.errors import UserError
from orchestrator.generators.generator import Generator, opened
from orchestrator.generators.translating import translate
from orchestrator.registry import drawing
from orchestrator.terminal import show
from tests.orchestrator.registered import registered, run_card
from tests.trainers.small import config as of_gan
from tests.trainers.test_translate import config
from trainers.errors import UnusableSettingError
from trainers.loop import train
from trainers.world import World

LOAD = """
import sys, mlflow, numpy
given = numpy.load(sys.argv[2] + "/given.npy")
numpy.save(sys.argv[2] + "/made.npy", mlflow.pyfunc.load_model(sys.argv[1]).predict(given))
"""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("translator")
    report = list(train(config(train={"images": 24}), World.single(), out=out))[-1]
    assert report.checkpoint is not None
    return report.checkpoint


def test_a_registered_translator_answers_in_a_fresh_process(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri, made = registered(checkpoint, "day-to-night", tmp_path)
    given = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    np.save(tmp_path / "given.npy", given)
    words = [sys.executable, "-c", LOAD, made["uri"], str(tmp_path)]
    subprocess.run(words, check=True, cwd=tmp_path, env={**os.environ, "MLFLOW_TRACKING_URI": uri})
    assert np.array_equal(np.load(tmp_path / "made.npy"), Generator.load(checkpoint).translate(given))
    as_on_its_card = run_card(uri, "day-to-night", monkeypatch, pictures=given)["translations"]
    assert np.array_equal(as_on_its_card, np.load(tmp_path / "made.npy"))
    with pytest.raises(UserError, match="use gansweep translate"):
        drawing.sample(uri, made["uri"], np.arange(2), None)


def test_pictures_of_any_size_are_translated_under_their_names(checkpoint: Path, tmp_path: Path) -> None:
    given = tmp_path / "given"
    for name, size in (("a.png", (16, 16)), ("a.jpg", (40, 30)), ("deep/b.png", (16, 20))):
        (given / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, "orange").save(given / name)
    (given / "c.png").write_text("no picture")
    done = translate(str(checkpoint), given, tmp_path / "out", uri="")
    assert done.written == 3
    assert len(done.unreadable) == 1
    assert "c.png: not an image" in done.unreadable[0]
    written = sorted(str(file.relative_to(tmp_path / "out")) for file in (tmp_path / "out").rglob("*.png"))
    assert written == ["a.png", "a.png.png", "deep/b.png"]
    expected = opened(str(checkpoint), False, (), "").translate(np.asarray(Image.open(given / "a.png"))[None])
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / "a.png.png")), expected[0])
    assert translate(str(checkpoint), given / "a.png", tmp_path / "one", uri="").written == 1


def test_nobodys_pictures_are_written_over(checkpoint: Path, tmp_path: Path) -> None:
    given, link = tmp_path / "given", tmp_path / "link"
    given.mkdir()
    link.symlink_to(given)
    Image.new("RGB", (16, 16), "orange").save(given / "a.png")
    before = (given / "a.png").read_bytes()
    for output in (given, given / "made", link):
        with pytest.raises(UserError, match=r"lies in .*given, whose pictures are translated"):
            translate(str(checkpoint), given, output, uri="")
    with pytest.raises(UserError, match=r"holds 1 of these pictures already, as a\.png; choose an empty folder"):
        translate(str(checkpoint), given / "a.png", given, uri="")
    assert translate(str(checkpoint), given, tmp_path / "out", uri="").written == 1
    with pytest.raises(UserError, match=r"holds 1 of these pictures already, as a\.png"):
        translate(str(checkpoint), given, tmp_path / "out", uri="")
    assert (given / "a.png").read_bytes() == before and [file.name for file in given.iterdir()] == ["a.png"]


def test_seeds_and_pictures_are_not_mistaken_for_each_other(checkpoint: Path, tmp_path: Path) -> None:
    translator: Any = Generator.load(checkpoint)
    with pytest.raises(UnusableSettingError, match="use 'gansweep translate'"):
        translator.sample(2)
    of_seeds = list(train(of_gan(train={"images": 160}), World.single(), out=tmp_path))[-1].checkpoint
    Image.new("L", (8, 8)).save(tmp_path / "x.png")
    with pytest.raises(UnusableSettingError, match="family 'gan' makes examples from seeds"):
        translate(str(of_seeds), tmp_path / "x.png", tmp_path / "out", uri="")
    with pytest.raises(UserError, match="no image files below"):
        translate(str(checkpoint), tmp_path / "checkpoints", tmp_path / "out", uri="")


@pytest.mark.parametrize(
    ("family", "next_step"), [("gan", "sample models:/m@champion -n 64"), ("translate", "translate models:/m@champion")]
)
def test_after_a_promotion_the_next_step_is_what_the_model_can_do(
    family: str, next_step: str, capsys: pytest.CaptureFixture[str]
) -> None:
    evidence = {"gansweep.family": family}
    document = {"model": "m", "version": 1, "alias": "champion", "uri": "models:/m@champion", "new": True}
    show.promoted({**document, "tracking_uri": "http://x", "evidence": evidence})
    assert f"gansweep {next_step}" in capsys.readouterr().out
