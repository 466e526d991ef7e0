"""``gansweep augment``: what lies in the set that it writes, and that it is read back as a data set."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.errors import UserError
from orchestrator.generators import augmenting
from orchestrator.generators.augmenting import AugmentOptions, augment
from orchestrator.generators.generator import Generator
from orchestrator.generators.translating import translate
from tests.conftest import S3
from tests.trainers.small import config as of_gan
from tests.trainers.test_text import config as of_text
from tests.trainers.test_translate import config as of_translator
from tests.trainers.test_video import config as of_clips
from trainers.config import Config, Data
from trainers.data import load
from trainers.data.digits import split_digits
from trainers.errors import DataError, UnusableSettingError
from trainers.loop import train
from trainers.metrics import classifier
from trainers.world import World


def trained(settings: Config, out: Path) -> Path:
    report = list(train(settings, World.single(), out=out))[-1]
    assert report.checkpoint is not None
    return report.checkpoint


@pytest.fixture(scope="module")
def conditional(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(of_gan(model={"conditional": True}, train={"images": 160}), tmp_path_factory.mktemp("digits"))


def rows(folder: Path, part: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(sorted(folder.glob(f"{part}-*.parquet"))).to_pylist()
    return found


def pixels(row: dict[str, Any]) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(row["image"]["bytes"])))


def test_samples_beside_real_pictures_are_read_back_as_a_data_set(conditional: Path, tmp_path: Path) -> None:
    done = augment(str(conditional), AugmentOptions(per_class=3, data="digits"), str(tmp_path / "set"), uri="")
    assert (done.real, done.generated, done.held_out, done.gain) == (1437, 30, 360, None)
    made = [row for row in rows(tmp_path / "set", "train") if row["generated"]]
    assert [row["label"] for row in made] == [label for label in range(10) for _ in range(3)]
    assert [row["seed"] for row in made] == list(range(30))
    again = Generator.load(conditional).sample(seeds=[7], label=2)
    assert np.array_equal(pixels(made[7]), again[0, ..., 0])
    back = load(Data(name="parquet", path=str(tmp_path / "set"), resolution=8, channels=1))
    assert (len(back.train), len(back.test)) == (1467, 360)
    held_out = [row["generated"] for row in rows(tmp_path / "set", "test")]
    assert held_out == [False] * 360
    told = json.loads(pq.read_schema(next((tmp_path / "set").glob("train-*"))).metadata[b"gansweep"])
    assert told["per_class"] == 3 and len(told["weights_sha256"]) == 64


def test_samples_alone_and_what_a_gain_says(conditional: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier, "STEPS", 4)
    monkeypatch.setenv("GANSWEEP_DEBUG", "")
    words = ["augment", str(conditional), "--per-class", "2", "--seed", "5", "-o", str(tmp_path / "alone")]
    result = CliRunner().invoke(app, [*words, "--json"])
    assert result.exit_code == 0 and json.loads(result.stdout)["generated"] == 20
    assert [row["seed"] for row in rows(tmp_path / "alone", "part")][:3] == [5, 6, 7]
    done = augment(str(conditional), AugmentOptions(2, data="digits"), str(tmp_path / "measured"), uri="", measure=True)
    assert done.gain is not None and len(done.gain.accuracies["samples"]) == 5


def test_a_translator_keeps_the_labels_of_what_it_translates(tmp_path: Path) -> None:
    translator = trained(of_translator(train={"images": 24}), tmp_path / "translator")
    done = augment(str(translator), AugmentOptions(4, data="inked-digits"), str(tmp_path / "set"), uri="")
    assert (done.real, done.generated) == (0, 40)
    made = rows(tmp_path / "set", "part")
    assert sorted(row["label"] for row in made) == [label for label in range(10) for _ in range(4)]
    number = int(Path(made[0]["image"]["path"]).stem)
    source = load(Data(name="inked-digits", resolution=16)).source
    assert source is not None and source.train.label_counts is not None
    one = source.train[torch.tensor([number])]
    assert one.labels is not None and int(one.labels[0]) == made[0]["label"]


def test_columns_are_read_by_the_names_that_the_generator_learned_them_by(tmp_path: Path) -> None:
    file = tmp_path / "real.parquet"
    pictures = [io.BytesIO() for _ in range(40)]
    for number, picture in enumerate(pictures):
        Image.new("L", (8, 8), 5 * number).save(picture, "PNG")
    columns = {"kind": ["a", "b"] * 20, "size": [n / 40 for n in range(40)]}
    pq.write_table(pa.table({"picture": [picture.getvalue() for picture in pictures], **columns}), file)
    names = {"image_column": "picture", "label_column": ("kind", "size")}
    data = {"name": "parquet", "path": str(file), "resolution": 8, "channels": 1, **names}
    generator = trained(of_gan(data=data, model={"conditional": True}, train={"images": 160}), tmp_path / "out")
    done = augment(str(generator), AugmentOptions(3, data=str(file)), str(tmp_path / "set"), uri="")
    assert (done.real, done.generated, done.held_out) == (36, 6, 4)
    made = [row for row in rows(tmp_path / "set", "train") if row["generated"]]
    assert [row["kind"] for row in made] == ["a"] * 3 + ["b"] * 3 and all(0 <= row["size"] < 1 for row in made)


def test_what_does_not_go_together_is_refused(
    conditional: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deaf = trained(of_gan(train={"images": 160}), tmp_path / "deaf")
    target = str(tmp_path / "set")
    with pytest.raises(UserError, match="knows no classes"):
        augment(str(deaf), AugmentOptions(1), target, uri="")
    with pytest.raises(UserError, match="--gain: needs --data"):
        augment(str(conditional), AugmentOptions(1), target, uri="", measure=True)
    monkeypatch.setattr(augmenting, "_in_memory", lambda data: False)
    with pytest.raises(UserError, match="--gain: needs classes of one kind"):
        augment(str(conditional), AugmentOptions(1, data="digits"), target, uri="", measure=True)
    folder = tmp_path / "pets"
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for number in range(10):
            Image.fromarray(np.full((8, 8), 10 * number, np.uint8)).save(folder / name / f"{number}.png")
    with pytest.raises(UserError, match="must be the same"):
        augment(str(conditional), AugmentOptions(1, data=str(folder)), target, uri="")
    with pytest.raises(UserError, match="nowhere"):
        augment(str(conditional), AugmentOptions(1, data=str(tmp_path / "nowhere")), target, uri="")
    assert not Path(target).exists()
    augment(str(conditional), AugmentOptions(1), target, uri="")
    with pytest.raises(DataError, match="two sets must not mix"):
        augment(str(conditional), AugmentOptions(1), target, uri="")


@pytest.mark.parametrize("settings", [of_text(), of_clips()], ids=["text", "video"])
def test_a_generator_of_something_else_is_told_so(settings: Config, tmp_path: Path) -> None:
    generator = str(trained(settings, tmp_path / "out"))
    with pytest.raises(UserError, match="makes no pictures"):
        augment(generator, AugmentOptions(1, data="digits"), str(tmp_path / "set"), uri="")
    Image.new("L", (8, 8)).save(tmp_path / "x.png")
    with pytest.raises(UnusableSettingError, match=f"family '{settings.family}' makes examples from seeds"):
        translate(generator, tmp_path / "x.png", tmp_path / "translated", uri="")


def test_built_in_data_of_another_size_than_the_generator_s(tmp_path: Path) -> None:
    translator = trained(of_translator(train={"images": 24}), tmp_path / "translator")
    with pytest.raises(UserError, match="its examples are of shape 1x8x8, the generator's 3x16x16"):
        augment(str(translator), AugmentOptions(4, data="digits"), str(tmp_path / "set"), uri="")


@pytest.mark.s3
def test_a_set_in_s3(conditional: Path, s3: S3) -> None:
    augment(str(conditional), AugmentOptions(2, data="digits"), f"{s3.url}/augmented", uri="")
    back = load(Data(name="parquet", path=f"{s3.url}/augmented", resolution=8, channels=1))
    assert (len(back.train), len(back.test)) == (1457, len(split_digits()[1]))
