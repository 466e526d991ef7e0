"""Checkpoints: whole or refused."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.trainers.small import config
from trainers.errors import CheckpointError
from trainers.files.sealed import seal
from trainers.loop import train
from trainers.sample import sample
from trainers.state import load, load_generator, newest, save
from trainers.world import World


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with checkpoints after 160 and 320 images."""
    out = tmp_path_factory.mktemp("trained")
    list(train(config(), World.single(), out=out))
    return out / "checkpoints"


def test_a_checkpoint_holds_what_the_contract_names(trained: Path) -> None:
    folder = trained / "320"
    names = {"generator.safetensors", "generator_ema.safetensors", "discriminator.safetensors", "manifest.json"}
    assert names <= {p.name for p in folder.iterdir()}
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["images"] == 320
    assert manifest["config"]["model"]["generator"] == "mlp"
    assert set(manifest["files"]) == {p.name for p in folder.iterdir()} - {"manifest.json"}
    assert all(set(f) == {"size", "sha256"} for f in manifest["files"].values())


def test_nothing_lies_beside_the_finished_checkpoints(trained: Path) -> None:
    assert sorted(p.name for p in trained.iterdir()) == ["160", "320"]


def test_saving_what_was_loaded_gives_the_same_bytes(trained: Path, tmp_path: Path) -> None:
    save(tmp_path / "320", load(trained / "320"))
    for file in (trained / "320").iterdir():
        assert file.read_bytes() == (tmp_path / "320" / file.name).read_bytes()


def test_one_flipped_bit_anywhere_is_refused(trained: Path, tmp_path: Path) -> None:
    for name in [p.name for p in (trained / "320").iterdir()]:
        folder = shutil.copytree(trained / "320", tmp_path / name)
        data = bytearray((folder / name).read_bytes())
        data[len(data) // 2] ^= 1
        (folder / name).write_bytes(data)
        with pytest.raises(CheckpointError, match=f"{name}.*(damaged|cannot be read)"):
            load(folder)


def test_a_missing_or_cut_file_is_refused(trained: Path, tmp_path: Path) -> None:
    for number, name in enumerate([p.name for p in (trained / "320").iterdir()]):
        cut = shutil.copytree(trained / "320", tmp_path / f"cut{number}")
        (cut / name).write_bytes((cut / name).read_bytes()[:-1])
        gone = shutil.copytree(trained / "320", tmp_path / f"gone{number}")
        (gone / name).unlink()
        for folder in (cut, gone):
            with pytest.raises(CheckpointError, match=str(folder)):
                load(folder)


def test_a_damaged_newest_checkpoint_falls_back_loudly(
    trained: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = shutil.copytree(trained, tmp_path / "checkpoints")
    assert newest(folder) == folder / "320"
    (folder / "320" / "optimisers.safetensors").write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        assert newest(folder) == folder / "160"
    assert "optimisers.safetensors is damaged" in caplog.text
    (folder / "160" / "manifest.json").unlink()
    assert newest(folder) is None
    assert newest(tmp_path / "nothing") is None


def test_a_later_format_is_refused_in_words(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainers.files.sealed.FORMAT", 2)
    checkpoint = load_later(trained, tmp_path)
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match=r"its format is 2, not 1\); go on with the version that wrote it"):
        load(checkpoint)


def load_later(trained: Path, tmp_path: Path) -> Path:
    with pytest.raises(CheckpointError):
        load(trained / "320")
    folder = shutil.copytree(trained / "320", tmp_path / "later")
    manifest = json.loads((folder / "manifest.json").read_text())
    from trainers.files.sealed import _own_hash

    manifest["format"] = 2
    manifest["sha256"] = _own_hash(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_the_generator_alone_can_be_loaded_and_sampled(trained: Path) -> None:
    settings, averaged = load_generator(trained / "320")
    _, latest = load_generator(trained / "320", ema=False)
    assert settings == config()
    assert not averaged.training
    seeds = np.arange(3)
    assert sample(averaged, settings, seeds).shape == (3, 8, 8, 1)
    assert not torch.equal(next(averaged.parameters()), next(latest.parameters()))


def rewritten(folder: Path, target: Path, change: Callable[[dict[str, Any], dict[str, Any]], object]) -> Path:
    """A copy of a checkpoint whose manifest and state were changed, as another version would have written them."""
    manifest, told = (json.loads((folder / name).read_text()) for name in ("manifest.json", "state.json"))
    change(manifest, told)
    files = {name: (folder / name).read_bytes() for name in manifest["files"]} | {
        "state.json": json.dumps(told).encode()
    }
    for name in ("files", "sha256", "format"):
        manifest.pop(name, None)
    return seal(target, files, **manifest)


@pytest.mark.parametrize(
    ("change", "odd"),
    [
        (lambda manifest, told: told["report"]["provenance"].pop("data"), "it has no 'data'"),
        (lambda manifest, told: told.pop("health"), "it has no 'health'"),
        (lambda manifest, told: manifest.pop("config"), "it has no 'config'"),
        (lambda manifest, told: manifest["config"]["train"].update(warmth=3), "train.warmth: Extra inputs"),
        (lambda manifest, told: manifest["space"].update(depth=3), "unexpected keyword argument 'depth'"),
    ],
)
def test_a_checkpoint_of_another_version_says_which_and_what_to_do(
    trained: Path, tmp_path: Path, change: Any, odd: str
) -> None:
    def older(manifest: dict[str, Any], told: dict[str, Any]) -> None:
        change(manifest, told)
        manifest["version"] = "0.0.7"

    folder = rewritten(trained / "160", tmp_path / "160", older)
    with pytest.raises(
        CheckpointError, match=r"was written by gansweep 0\.0\.7 and can't be used by this one"
    ) as caught:
        list(train(config(), World.single(), folder))
    assert odd in str(caught.value) and "train anew in another place" in str(caught.value)


def test_a_checkpoint_from_before_versions_and_names_of_classes_still_loads(trained: Path, tmp_path: Path) -> None:
    def older(manifest: dict[str, Any], told: dict[str, Any]) -> None:
        del manifest["version"], manifest["space"]["names"]

    folder = rewritten(trained / "160", tmp_path / "160", older)
    assert load(folder).space == load(trained / "160").space
    assert [report.images for report in train(config(), World.single(), folder)] == [320]
