"""Where things that can be made again are kept, for users with and without a home."""

from __future__ import annotations

import os
import pwd
import tempfile
from pathlib import Path

import pytest
import torch

from trainers.files.cache import cache_folder
from trainers.metrics import digits_cnn


@pytest.fixture(autouse=True)
def _nothing_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GANSWEEP_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_the_named_folder_then_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    assert cache_folder() == tmp_path / "me" / ".cache" / "gansweep"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "gansweep"
    monkeypatch.setenv("GANSWEEP_CACHE", str(tmp_path / "named"))
    assert cache_folder() == tmp_path / "named"


def test_without_a_home_it_is_private_and_temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def nobody(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    assert cache_folder() == tmp_path / f"gansweep-{os.getuid()}"
    assert cache_folder().stat().st_mode & 0o777 == 0o700
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "gansweep"


def test_a_home_that_can_not_be_written_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "file"))  # as /, for who is not root
    assert cache_folder() == tmp_path / f"gansweep-{os.getuid()}"


def test_what_another_user_made_under_our_name_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"gansweep-{os.getuid()}").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    assert cache_folder() not in (tmp_path / f"gansweep-{os.getuid()}", tmp_path / "elsewhere")
    assert cache_folder().stat().st_mode & 0o777 == 0o700


def test_the_digits_network_serves_where_it_can_not_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("GANSWEEP_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr(digits_cnn, "EPOCHS", 1)
    net = digits_cnn.load_digits_cnn(torch.rand(64, 1, 8, 8), torch.arange(64) % 10, True, lambda: None)
    assert net(torch.zeros(1, 1, 8, 8)).shape == (1, 64) and not net.training
