"""Uploads off the training thread: in order, two checkpoints kept, no failure unheard."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.errors import StoreError
from orchestrator.execution.upload import Uploader


class FakeStore:
    """A store in memory that can be slow, or down."""

    url = "memory"

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.open, self.down = threading.Event(), False
        self.open.set()

    def check(self) -> None: ...

    def put(self, source: Path, key: str) -> None:
        assert self.open.wait(10)
        if self.down:
            raise StoreError(f"{key}: the store is down")
        assert source.exists()
        self.keys.append(key)

    def get(self, key: str, target: Path) -> Path:
        return target

    def exists(self, key: str) -> bool:
        return key in self.keys

    def delete(self, key: str) -> None:
        self.keys.remove(key)


@pytest.fixture
def shelf() -> FakeStore:
    return FakeStore()


@pytest.fixture
def uploader(shelf: FakeStore) -> Iterator[Uploader]:
    one = Uploader(shelf)
    yield one
    shelf.open.set()
    one.close()


def checkpoint(folder: Path, images: int) -> Path:
    path = folder / str(images)
    path.mkdir()
    (path / "manifest.json").touch()
    return path


def test_the_two_newest_checkpoints_are_kept_and_local_ones_go(shelf: FakeStore, uploader: Uploader, tmp_path: Path):
    uploader.begin([])
    for images in (10, 20, 30, 40):
        uploader.checkpoint(checkpoint(tmp_path, images), f"k/{images}")
    (tmp_path / "grid.png").touch()
    uploader.file(tmp_path / "grid.png", "k/grid.png")
    uploader.flush()
    assert uploader.checkpoints == ["k/30", "k/40"]
    assert shelf.keys == ["k/30", "k/40", "k/grid.png"]
    assert [path.name for path in tmp_path.iterdir()] == ["grid.png"], "stored checkpoints leave the disk"


def test_what_an_earlier_leg_stored_counts(shelf: FakeStore, uploader: Uploader, tmp_path: Path):
    shelf.keys = ["k/10", "k/20"]
    uploader.begin(["k/10", "k/20"])
    uploader.checkpoint(checkpoint(tmp_path, 30), "k/30")
    uploader.flush()
    assert shelf.keys == ["k/10", "k/20", "k/30"], "the ledger does not know of the third yet"
    assert uploader.tell() == ["k/20", "k/30"]
    uploader.begin([])
    uploader.close()
    assert shelf.keys == ["k/20", "k/30"]


def test_what_was_told_last_outlives_what_was_not(shelf: FakeStore, uploader: Uploader, tmp_path: Path):
    """A report that never comes must not leave the ledger with keys of which none is there."""
    uploader.begin([])
    for images in (10, 20):
        uploader.checkpoint(checkpoint(tmp_path, images), f"k/{images}")
    uploader.flush()
    known = uploader.tell()
    for images in (30, 40, 50):
        uploader.checkpoint(checkpoint(tmp_path, images), f"k/{images}")
    uploader.flush()
    assert set(known) <= set(shelf.keys)


def test_a_checkpoint_made_again_replaces_itself(shelf: FakeStore, uploader: Uploader, tmp_path: Path):
    shelf.keys = ["k/10", "k/20"]
    uploader.begin(["k/10", "k/20"])
    uploader.checkpoint(checkpoint(tmp_path, 20), "k/20")
    uploader.flush()
    assert uploader.checkpoints == ["k/10", "k/20"]


def test_training_does_not_wait_for_a_slow_store_and_flush_does(shelf: FakeStore, uploader: Uploader, tmp_path: Path):
    uploader.begin([])
    shelf.open.clear()
    for images in (10, 20):
        uploader.checkpoint(checkpoint(tmp_path, images), f"k/{images}")
    assert uploader.checkpoints == []
    threading.Timer(0.1, shelf.open.set).start()
    uploader.flush()
    assert uploader.checkpoints == ["k/10", "k/20"]


def test_a_failed_upload_is_heard_at_the_next_flush(shelf: FakeStore, uploader: Uploader, tmp_path: Path):
    uploader.begin([])
    shelf.down = True
    uploader.checkpoint(folder := checkpoint(tmp_path, 10), "k/10")
    with pytest.raises(StoreError, match="k/10: the store is down"):
        uploader.flush()
    assert uploader.checkpoints == [] and folder.is_dir(), "not stored, so not thrown away"


def test_a_failed_upload_is_heard_at_a_later_report(shelf: FakeStore, uploader: Uploader, tmp_path: Path):
    uploader.begin([])
    shelf.down = True
    uploader.checkpoint(checkpoint(tmp_path, 10), "k/10")
    while not uploader._pending[0].done():
        pass
    with pytest.raises(StoreError):
        uploader.checkpoint(checkpoint(tmp_path, 20), "k/20")


def test_the_next_training_is_not_blamed_for_the_last_one(shelf: FakeStore, uploader: Uploader, tmp_path: Path):
    uploader.begin([])
    shelf.down = True
    shelf.open.clear()
    for images in (10, 20):
        uploader.checkpoint(checkpoint(tmp_path, images), f"k/{images}")
    shelf.open.set()
    with pytest.raises(StoreError, match="k/10"):
        uploader.flush()
    shelf.down = False
    uploader.begin(["other/10"])
    uploader.flush()
    assert uploader.checkpoints == ["other/10"]
