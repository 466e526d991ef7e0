"""Classes have names from the data set to the registered model."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import imageio_ffmpeg
import mlflow
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from orchestrator.errors import UserError
from orchestrator.generators.sampling import FRAMES, SampleOptions
from orchestrator.generators.sampling import sample as sample_to_file
from orchestrator.registry.connection import SAFE
from orchestrator.registry.drawing import sample
from orchestrator.registry.models import Evidence, promote
from trainers.config import Config
from trainers.errors import UnusableSettingError
from trainers.loop import train
from trainers.state import load, load_space
from trainers.world import World


@pytest.fixture(scope="module")
def flags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a conditional training on a folder of boats and flags."""
    root = tmp_path_factory.mktemp("flags")
    for number in range(24):
        place = root / "pictures" / ("flags" if number % 2 else "boats")
        place.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 10 * number).save(place / f"{number}.png")
    config = Config.model_validate(
        {
            "data": {"name": "images", "path": str(root / "pictures"), "resolution": 8, "channels": 1},
            "model": {"generator": "mlp", "discriminator": "mlp", "width": 8, "depth": 1, "conditional": True},
            "train": {"images": 16, "batch_size": 8, "ema_ramp": 0},
            "evaluate": {"every_images": 16, "samples": 16, "metrics": ["fid"]},
            "health": {"stop": "never"},
        }
    )
    (report,) = train(config, World.single(), out=root)
    assert report.checkpoint is not None
    return report.checkpoint


def test_a_checkpoint_knows_the_names_of_its_classes(flags: Path) -> None:
    assert load_space(flags).names == load(flags).space.names == ("boats", "flags")


def drawn(source: Path, label: str | None, file: Path, raw: bool = False) -> np.ndarray:
    sample_to_file(str(source), SampleOptions(range(6), label, raw), file, "")
    made: np.ndarray = np.load(file)
    return made


def test_samples_are_of_the_class_that_is_named(flags: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.npy"
    named, numbered, other = (drawn(flags, label, file) for label in ("flags", "1", "boats"))
    np.testing.assert_array_equal(named, numbered)
    assert not np.array_equal(named, other)


def test_the_plain_generator_can_be_seen_beside_the_average(flags: Path, tmp_path: Path) -> None:
    average, plain = (drawn(flags, "flags", tmp_path / "a.npy", raw) for raw in (False, True))
    assert average.shape == plain.shape and not np.array_equal(average, plain)
    with pytest.raises(UserError, match=r"--raw: models:/x@champion has the averaged generator only"):
        sample_to_file("models:/x@champion", SampleOptions(range(6), raw=True), tmp_path / "b.npy", "")


def test_a_class_grid_has_a_row_for_each_class(flags: Path, tmp_path: Path) -> None:
    sample_to_file(str(flags), SampleOptions((3, 7, 9), classes=True), tmp_path / "grid.npy", "")
    made = np.load(tmp_path / "grid.npy")
    sample_to_file(str(flags), SampleOptions((3, 7, 9), "flags"), tmp_path / "flags.npy", "")
    np.testing.assert_array_equal(made[3:], np.load(tmp_path / "flags.npy"))
    sample_to_file(str(flags), SampleOptions((3, 7, 9), classes=True), tmp_path / "grid.png", "")
    with Image.open(tmp_path / "grid.png") as picture:
        assert picture.width > picture.height


@pytest.mark.parametrize("name", ["walk.gif", "walk.webp"])
def test_a_film_goes_from_seed_to_seed_and_keeps_its_class(flags: Path, tmp_path: Path, name: str) -> None:
    sample_to_file(str(flags), SampleOptions((3, 7), interpolate=True), tmp_path / name, "")
    with Image.open(tmp_path / name) as film:
        assert getattr(film, "n_frames", 1) > 4  # frames that do not differ are one


@pytest.mark.parametrize(
    ("options", "name", "says"),
    [
        (SampleOptions((0,), interpolate=True), "a.png", r"\.gif, \.webp or \.mp4"),
        (SampleOptions((0,), classes=True, label="flags"), "a.png", "leave --label"),
        (SampleOptions((0,), truncation=0.0), "a.png", "must be above 0"),
    ],
)
def test_what_contradicts_itself_is_said_before_anything_is_loaded(
    tmp_path: Path, options: SampleOptions, name: str, says: str
) -> None:
    with pytest.raises(UserError, match=says):
        sample_to_file("nowhere", options, tmp_path / name, "")


def test_no_ffmpeg_is_one_message_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(UserError, match=r"no ffmpeg here.*gansweep\[video\].*\.webp or \.gif"):
        sample_to_file("nowhere", SampleOptions((0,), interpolate=True), tmp_path / "a.mp4", "")


def test_the_extra_video_writes_mp4_for_every_player(
    flags: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    sample_to_file(str(flags), SampleOptions((3, 7), interpolate=True), tmp_path / "walk.mp4", "")
    frames, seconds = imageio_ffmpeg.count_frames_and_secs(str(tmp_path / "walk.mp4"))
    told = next(imageio_ffmpeg.read_frames(str(tmp_path / "walk.mp4")))
    assert (frames, seconds) == (2 * FRAMES, 2.0) and told["codec"] == "h264" and told["pix_fmt"].startswith("yuv420p")


@pytest.mark.parametrize("label", ["falgs", "2", "-1", "99999999999999999999", ""])
def test_an_unknown_class_is_one_message_with_those_that_there_are(flags: Path, tmp_path: Path, label: str) -> None:
    with pytest.raises(UnusableSettingError, match=r"is none of the 2 classes \(boats, flags\)"):
        drawn(flags, label, tmp_path / "a.npy")
    assert not (tmp_path / "a.npy").exists()


def test_a_registered_model_takes_names_and_numbers(
    flags: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", *SAFE):
        monkeypatch.setenv(name, "")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client = mlflow.MlflowClient(uri)
    run = client.create_run(client.create_experiment("flags", artifact_location=str(tmp_path / "artifacts")))
    tags = {"run_id": "r", "checkpoint": "c", "trial": "0", "sweep": "flags", "verdict": "healthy"}
    tags |= {"objective": "minimize fid", "data.fingerprint": "f"}
    evidence = Evidence(flags, flags / "manifest.json", None, {f"gansweep.{key}": tag for key, tag in tags.items()})
    document = promote(uri, "flags", "champion", run.info.run_id, evidence, lambda: None)
    seeds = np.arange(6)
    by_name, by_number = (sample(uri, document["uri"], seeds, label) for label in ("flags", "1"))
    np.testing.assert_array_equal(by_name, by_number)
    np.testing.assert_array_equal(by_name, drawn(flags, "flags", tmp_path / "a.npy"))
    with pytest.raises(UnusableSettingError, match=r"'cats' is none of the 2 classes \(boats, flags\)"):
        sample(uri, document["uri"], seeds, "cats")
    assert os.environ["MLFLOW_TRACKING_URI"] == ""  # it left MLflow as it was
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    mlflow.set_tracking_uri(uri)
    served = mlflow.pyfunc.load_model(document["uri"])
    mixed = served.predict(pd.DataFrame({"seed": seeds[:2], "label": ["flags", 1]}))
    np.testing.assert_array_equal(mixed, by_name[:2])
    sample_to_file(document["uri"], SampleOptions(range(6), "flags", truncation=1e-3), tmp_path / "cut.npy", uri)
    cut = np.load(tmp_path / "cut.npy")
    assert cut.std(0).max() < by_name.std(0).max()
    column = next(column for column in served.metadata.get_input_schema().inputs if column.name == "label")
    assert not column.required
