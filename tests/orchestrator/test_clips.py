"""A generator of clips beyond its training: pictures that move in MLflow, and a registered model that is asked for a
length.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mlflow.tracking import MlflowClient
from PIL import Image

from orchestrator.artifacts.directory import DirectoryStore
from orchestrator.errors import UserError
from orchestrator.generators.sampling import SampleOptions, sample
from orchestrator.tracking.grids import log_grid
from tests.orchestrator.registered import registered
from tests.orchestrator.sweeps import User
from tests.trainers.small import config
from trainers.config import Config
from trainers.errors import UnusableSettingError
from trainers.loop import train
from trainers.pictures import play
from trainers.report import Report
from trainers.world import World


def _clip(number: int) -> list[Image.Image]:
    """A square that moves to the right."""
    pictures = []
    for at in range(6):
        picture = Image.new("RGB", (16, 16), "black")
        picture.paste((255, 15 * number, 0), (2 * at, number % 12, 2 * at + 4, number % 12 + 4))
        pictures.append(picture)
    return pictures


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Of a short training on a user's clips."""
    folder = tmp_path_factory.mktemp("clips")
    for number in range(16):
        play(_clip(number), folder / f"{number}.gif")
    base = config(
        data={"name": "clips", "path": str(folder), "resolution": 8, "channels": 3, "frames": 6},
        train={"images": 64, "batch_size": 8},
        evaluate={"every_images": 64, "extractor": "auto", "metrics": ("fid", "motion_ratio")},
    )
    values = base.model_dump() | {"family": "video", "video": {"motion": "both", "motion_dim": 4, "width": 8}}
    (found,) = train(Config.model_validate(values), World.single(), out=tmp_path_factory.mktemp("out"))
    return found


def test_what_moves_is_a_strip_and_an_animation_in_mlflow(report: Report, tmp_path: Path) -> None:
    assert report.samples is not None
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    run = client.create_run(client.create_experiment("e", f"{tmp_path}/artifacts")).info.run_id
    store = DirectoryStore(tmp_path / "store")
    store.put(report.samples, "x/64.png")
    log_grid(client, run, {"samples": "x/64.png", "images": 64, "time": 0}, store, may_be_lost=False)
    (film,) = client.list_artifacts(run, "animations")
    with Image.open(client.download_artifacts(run, film.path, str(tmp_path))) as picture:
        assert (film.path, picture.format) == ("animations/000000064.gif", "GIF")
        assert getattr(picture, "n_frames", 1) == 6
    assert client.list_artifacts(run, "images"), "the strips"


def test_a_registered_generator_of_clips_is_asked_for_a_length(report: Report, tmp_path: Path) -> None:
    user = User(tmp_path)
    assert report.checkpoint is not None
    (user.home / "mlflow").mkdir(parents=True)
    uri, told = registered(report.checkpoint, "squares", user.home / "mlflow")
    assert uri == user.mlflow
    made, longer = user.predict(told["uri"]), user.predict(told["uri"], frames=9)
    assert (made.shape, longer.shape) == ((5, 6, 8, 8, 3), (5, 9, 8, 8, 3))
    assert made.dtype == np.uint8
    assert np.array_equal(longer[:, :6], made), "longer clips begin alike"
    for name, kind in (("clips.webp", "WEBP"), ("clips.gif", "GIF"), ("strips.png", "PNG")):
        assert sample(told["uri"], SampleOptions(range(3), frames=9), tmp_path / name, uri) == (9, 8, 8, 3)
        with Image.open(tmp_path / name) as picture:
            assert picture.format == kind
            assert (getattr(picture, "n_frames", 1) > 1) == (kind != "PNG"), "frames that are alike become one"
    sample(told["uri"], SampleOptions(range(5)), tmp_path / "clips.npy", uri)
    assert np.array_equal(np.load(tmp_path / "clips.npy"), made)
    with pytest.raises(UserError, match="clips move by themselves"):
        sample(str(report.checkpoint), SampleOptions(range(2), interpolate=True), tmp_path / "film.gif", "")
    with pytest.raises(UserError, match=r"makes no text; take \.png, \.npy, \.gif, \.webp or \.mp4"):
        sample(str(report.checkpoint), SampleOptions(range(2)), tmp_path / "x.txt", "")
    with pytest.raises(UnusableSettingError, match="ask for 1 to 1,024"):
        sample(told["uri"], SampleOptions(range(2), frames=5_000), tmp_path / "film.gif", uri)


def test_pictures_are_no_clips(tmp_path: Path) -> None:
    *_, last = train(config(train={"images": 160}), World.single(), out=tmp_path)
    with pytest.raises(UnusableSettingError, match="makes no clips; leave it out"):
        sample(str(last.checkpoint), SampleOptions(range(2), frames=8), tmp_path / "drawn.npy", "")
    with pytest.raises(UserError, match=r"makes no text; take \.png or \.npy$"):
        sample(str(last.checkpoint), SampleOptions(range(2)), tmp_path / "x.txt", "")
    for folder in (tmp_path, tmp_path / "checkpoints"):
        with pytest.raises(UserError, match=rf"is a folder of checkpoints: name one, such as {last.checkpoint}"):
            sample(str(folder), SampleOptions(range(2)), tmp_path / "x.png", "")
    with pytest.raises(UserError, match=r"a film: --interpolate.*\.png, \.npy or \.txt"):
        sample(str(last.checkpoint), SampleOptions(range(2)), tmp_path / "film.gif", "")
