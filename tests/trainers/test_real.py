"""Features of real data are made once, and found again in the cache and on the remote_cache."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from orchestrator.artifacts import open_store
from orchestrator.execution.rank import StatisticsCache
from tests.trainers.small import config
from trainers.config import Config
from trainers.data import load
from trainers.metrics import real
from trainers.world import World

DIGITS = config()
RING = config(data={"name": "ring"})


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[int]:
    """How many rows were turned into features since the test began, in an empty cache."""
    monkeypatch.setenv("GANSWEEP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(real, "_prepared", {})
    rows: list[int] = []
    make = real._made

    def counting(extractor: Any, examples: Any, *rest: Any) -> torch.Tensor:
        rows.append(len(examples))
        return make(extractor, examples, *rest)

    monkeypatch.setattr(real, "_made", counting)
    return rows


def look(settings: Config, remote_cache: real.RemoteCache | None = None, fresh: bool = True) -> real.Real:
    """What a training finds, in a process of its own where ``fresh``."""
    if fresh:
        real._prepared.clear()
    return real.real_side(settings, load(settings.data), World.single(), remote_cache)


def cached(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache").glob("real-*"))


def test_a_second_process_reads_what_the_first_made(made: list[int], tmp_path: Path) -> None:
    first, second = look(DIGITS), look(DIGITS)
    assert made == [1437, 360]
    assert torch.equal(first.train, second.train) and torch.equal(first.held_out, second.held_out)
    assert len(cached(tmp_path)) == 1
    look(RING)
    assert len(cached(tmp_path)) == 2, "other data, other features"


def test_other_data_of_the_same_settings_have_features_of_their_own(made: list[int]) -> None:
    digits = load(DIGITS.data)
    fewer = replace(digits, train=digits.train[torch.arange(100)])
    found = [real.real_side(DIGITS, data, World.single(), None).train for data in (digits, fewer)]
    assert [len(features) for features in found] == [1437, 100]


def test_a_cache_that_cannot_be_written_stops_nobody(
    made: list[int], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("GANSWEEP_CACHE", "/proc/nowhere")
    assert len(look(DIGITS).train) == 1437
    assert "GANSWEEP_CACHE" in caplog.text


def test_a_damaged_cache_is_made_again(made: list[int], tmp_path: Path) -> None:
    first = look(DIGITS)
    (folder,) = cached(tmp_path)
    file = folder / real.FILE
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    assert torch.equal(look(DIGITS).train, first.train)
    assert made == [1437, 360] * 2
    look(DIGITS)
    assert len(made) == 4, "and kept again"


def test_another_machine_finds_them_in_the_store(made: list[int], tmp_path: Path) -> None:
    remote_cache = StatisticsCache(open_store(str(tmp_path / "store"), tmp_path))
    first = look(DIGITS, remote_cache)
    shutil.rmtree(tmp_path / "cache")
    assert torch.equal(look(DIGITS, remote_cache).train, first.train)
    assert made == [1437, 360]


def test_a_store_that_fails_costs_only_time(made: list[int], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    look(DIGITS, StatisticsCache(open_store(str(tmp_path / "file"), tmp_path)))
    assert made == [1437, 360]


def test_ranks_share_the_work_and_find_the_same(made: list[int], tmp_path: Path, on_ranks: Any) -> None:
    alone = look(DIGITS)
    for size in (2, 3):
        zero, *others = on_ranks(size, _train_features, str(tmp_path / f"of {size}"))
        assert torch.allclose(zero, alone.train, atol=1e-6)
        assert all(len(other) == 0 for other in others)


def _train_features(world: World, cache: str) -> torch.Tensor:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANSWEEP_CACHE", cache)
        patch.setattr(real, "_prepared", {})
        return real.real_side(DIGITS, load(DIGITS.data), world, None).train
