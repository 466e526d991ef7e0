"""A generator of measured values answers in their units, wherever it is asked."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from orchestrator.errors import UserError
from orchestrator.generators import augmenting
from orchestrator.generators.generator import Generator
from orchestrator.generators.sampling import SampleOptions
from orchestrator.generators.sampling import sample as to_file
from orchestrator.generators.serving import _answer
from orchestrator.planning.look import look
from tests.orchestrator.registered import registered
from tests.trainers.small import config
from trainers.loop import train
from trainers.world import World


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = config(
        data={"name": "flags", "resolution": 32, "per_class": 10},
        train={"images": 64},
        evaluate={"every_images": 64},
    )
    (report,) = train(settings, World.single(), out=tmp_path_factory.mktemp("flags"))
    assert report.checkpoint and report.samples
    with Image.open(report.samples) as grid:
        assert grid.mode == "L", "MLflow shows the window in 8 bits"
    return report.checkpoint


def test_arrays_are_in_levels_and_pictures_say_how_to_get_back(checkpoint: Path, tmp_path: Path) -> None:
    levels = Generator.load(checkpoint).sample(1)
    assert levels.dtype == np.float32 and levels.shape == (1, 32, 32, 1)
    assert 0 <= levels.min() < 2048 < levels.max() <= 4095
    to_file(str(checkpoint), SampleOptions([0]), tmp_path / "x.npy", "")
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), levels)
    to_file(str(checkpoint), SampleOptions([0]), tmp_path / "x.png", "")
    with Image.open(tmp_path / "x.png") as picture:
        assert (picture.mode, picture.text["window"]) == ("I;16", "0 4095")  # type: ignore[attr-defined]
        shown = np.asarray(picture)[2:514:16, 2:514:16] / 65_535 * 4095
    assert np.abs(shown - levels[0, :, :, 0]).max() < 0.04, "half a step of 16 bits over 4,095"
    to_file(str(checkpoint), SampleOptions([0, 1], interpolate=True), tmp_path / "x.gif", "")


def test_a_set_of_pictures_would_lose_the_units(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="its samples are in units, and a set of pictures has 8 bits"):
        augmenting.augment(str(checkpoint), augmenting.AugmentOptions(per_class=1), str(tmp_path), "")


def test_over_http_too(checkpoint: Path) -> None:
    generator = Generator.load(checkpoint)
    made = generator.sample(1)
    np.testing.assert_array_equal(np.load(io.BytesIO(_answer(made, "npy", generator).body)), made)
    with Image.open(io.BytesIO(_answer(made, "png", generator).body)) as picture:
        assert picture.mode == "I;16"


def test_a_registered_model_predicts_units(checkpoint: Path, tmp_path: Path) -> None:
    uri, told = registered(checkpoint, "flags", tmp_path)
    to_file(told["uri"], SampleOptions(range(3)), tmp_path / "y.npy", uri)
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), Generator.load(checkpoint).sample(3))
    to_file(told["uri"], SampleOptions(range(3)), tmp_path / "y.png", uri)
    with Image.open(tmp_path / "y.png") as picture:
        assert picture.mode == "I;16"


def test_init_keeps_16_bits_and_leaves_volumes_to_the_page(tmp_path: Path) -> None:
    for number in range(12):
        Image.fromarray(np.full((8, 8), 300 * number, np.uint16)).save(tmp_path / f"{number}.png")
    looked = look("images", str(tmp_path))
    assert looked.measured and looked.channels == 1
    (tmp_path / "1.dcm").write_bytes(b"")
    with pytest.raises(UserError, match=r"DICOM or NIfTI files: copy the example of infra/docs/how-to/medical.md"):
        look("images", str(tmp_path))
