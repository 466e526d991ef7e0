"""Checkpoints: whole or refused."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.trainers.small import config
from trainers.errors import CheckpointError
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
    monkeypatch.setattr("trainers.sealed.FORMAT", 2)
    checkpoint = load_later(trained, tmp_path)
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="format 2; this version reads format 1"):
        load(checkpoint)


def load_later(trained: Path, tmp_path: Path) -> Path:
    with pytest.raises(CheckpointError):
        load(trained / "320")
    folder = shutil.copytree(trained / "320", tmp_path / "later")
    manifest = json.loads((folder / "manifest.json").read_text())
    from trainers.sealed import _own_hash

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
