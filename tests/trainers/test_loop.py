"""A training from start to end: its reports, its files, and going on exactly where it stopped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from tests.trainers.small import config, gan
from trainers import loop
from trainers.config import Config
from trainers.errors import CheckpointError, UnusableSettingError
from trainers.loop import Run, train
from trainers.players.augment import ADA_INTERVAL
from trainers.report import Report
from trainers.state import load
from trainers.watching.pulse import Pulse
from trainers.world import World

RICH = {
    "model": {"generator": "dcgan", "discriminator": "dcgan", "discriminator_norm": "spectral", "width": 4},
    "train": {
        "r1_gamma": 0.1,
        "penalty_interval": 3,
        "penalty_schedule": "cosine",
        "lr_schedule": "linear",
        "n_dis": 3,
        "augment": ("color", "translation"),
        "ada_target": 0.1,
        "ema_ramp": 0.5,
    },
}


def test_reports_come_at_every_interval_and_at_the_end(tmp_path: Path) -> None:
    reports = list(train(config(train={"images": 400}), World.single(), out=tmp_path))
    assert [r.images for r in reports] == [160, 320, 400]
    assert [r.checkpoint for r in reports] == [tmp_path / "checkpoints" / str(r.images) for r in reports]
    assert set(reports[0].losses) == {"generator", "discriminator"}
    assert "fid" in reports[0].metrics
    assert 0 < reports[0].seconds < reports[1].seconds
    assert {file.name for file in (tmp_path / "samples").iterdir()} == {"0.png", "160.png", "320.png", "400.png"}
    with Image.open(tmp_path / "samples" / "400.png") as picture:
        assert picture.width == picture.height >= 500


def test_nothing_is_written_without_a_place_to_write_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (report,) = train(config(train={"images": 160}), World.single())
    assert report.checkpoint is None
    assert not list(tmp_path.iterdir())


def test_a_resumed_training_equals_the_uninterrupted_one_to_the_last_bit(tmp_path: Path) -> None:
    settings = config(**RICH)
    whole = list(train(settings, World.single(), out=tmp_path / "whole"))
    first = next(train(settings, World.single(), out=tmp_path / "parts"))
    (second,) = train(settings, World.single(), resume=first.checkpoint, out=tmp_path / "parts")
    assert _timeless([first, second]) == _timeless(whole)
    again = Run(settings, World.single())
    again.resume(tmp_path / "parts" / "checkpoints" / str(first.images))
    assert again.seconds == first.seconds < second.seconds
    for one, other in zip(_files(whole[-1]), _files(second), strict=True):
        assert one == other


def test_two_ranks_resume_exactly_and_say_the_same(tmp_path: Path, on_ranks: Any) -> None:
    settings = config(**RICH)
    zero, one = on_ranks(2, _reports, settings, None, tmp_path / "whole")
    assert _timeless(zero) == _timeless(one)
    assert one[0].checkpoint is None, "only rank 0 writes"
    resumed, _ = on_ranks(2, _reports, settings, zero[0].checkpoint, tmp_path / "parts")
    assert _timeless(resumed) == _timeless(zero[1:])
    assert _files(resumed[-1]) == _files(zero[-1])


def test_a_trained_budget_can_be_extended(tmp_path: Path) -> None:
    report = list(train(config(), World.single(), out=tmp_path))[-1]
    longer = config(train={"images": 480})
    (more,) = train(longer, World.single(), resume=report.checkpoint)
    assert more.images == 480


def test_closing_the_iterator_stops_the_work() -> None:
    reports = train(config(train={"images": 10**9}), World.single())
    next(reports)
    reports.close()
    assert next(reports, None) is None


def test_a_verdict_ends_the_training_where_the_settings_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = {"generator_lr": 1e30, "images": 640}
    stopped = list(train(config(train=broken, health={"stop": "diverged"}), World.single()))
    assert stopped[-1].health.verdict == "diverged"
    assert stopped[-1].images < 640
    assert [r.images for r in train(config(train=broken), World.single())][-1] == 640


@pytest.mark.parametrize(
    ("groups", "says"),
    [
        ({"model": {"width": 8}}, "model.width was 16, now 8"),
        ({"train": {"batch_size": 32, "seed": 1}}, "train.batch_size was 16, now 32; train.seed was 0, now 1"),
        ({"data": {"name": "ring"}}, "data was [0-9a-f]{12}, now [0-9a-f]{12}"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path, groups: Any, says: str) -> None:
    report = next(train(config(), World.single(), out=tmp_path))
    with pytest.raises(CheckpointError, match=says):
        next(train(config(**groups), World.single(), resume=report.checkpoint))


def test_a_gradient_that_was_not_finite_is_never_called_healthy() -> None:
    """Also where no look fell on it and the training ended before the next one."""
    run = Run(config(train={"images": 16 * 40}, evaluate={"every_images": 16 * 40}), World.single())
    for _ in range(5):
        run.training.step()
    hook = next(gan(run).players.generator.parameters()).register_hook(lambda g: g * torch.nan)  # type: ignore[no-untyped-call]
    run.training.step()
    hook.remove()
    report = run.to_next_report()
    assert report.health.verdict == "diverged"
    assert report.health.signals["nonfinite"] >= 1


def test_settings_that_contradict_each_other_are_refused_here_too() -> None:
    """Not by the command line alone: ``train`` is a name that others call."""
    with pytest.raises(UnusableSettingError, match=r"train\.compile: can't be combined"):
        next(train(config(train={"compile": True, "gp_lambda": 10.0}), World.single()))
    with pytest.raises(UnusableSettingError, match=r"train\.batch_size: 16 can't be shared"):
        next(train(config(train={"packing": 3}), World.single()))


def _reports(world: World, settings: Config, resume: Path | None, out: Path) -> list[Report]:
    return list(train(settings, world, resume, out))


def _timeless(reports: list[Report]) -> list[Report]:
    return [replace(r, seconds=0, checkpoint=None, samples=None) for r in reports]


def _files(report: Report) -> list[Any]:
    assert report.checkpoint is not None
    checkpoint = load(report.checkpoint)
    tensors = {(f, n): t for f, group in checkpoint.tensors.items() for n, t in group.items()}
    return [checkpoint.images, checkpoint.state["health"], {k: (t.dtype, t.tolist()) for k, t in tensors.items()}]


def test_the_setup_of_a_small_training_is_quick(tmp_path: Path) -> None:
    import time

    settings = config()
    next(train(settings, World.single(), out=tmp_path))
    start = time.perf_counter()
    training = train(config(train={"images": 16}, evaluate={"every_images": 16}), World.single())
    next(training)
    assert time.perf_counter() - start < 0.5
    assert torch.get_num_threads() == 1


class StopsAt(Pulse):
    """Asks to stop after so many images, as the loss of a node is announced: between two reports."""

    def __init__(self, images: int) -> None:
        super().__init__()
        self._at = images

    def step(self, images: int) -> None:
        super().step(images)
        self.stop = images >= self._at


def _until_stopped(world: World, settings: Config, resume: Path | None, out: Path, at: int) -> tuple[Any, Any]:
    """On the last rank only."""
    monkeypatch = pytest.MonkeyPatch()  # of a rank's process
    monkeypatch.setattr(loop, "BETWEEN_LOOKS", 0.0)
    pulse = StopsAt(at if world.rank == world.size - 1 else 10**9)
    reports, made = train(settings, World(world.rank, world.size, world.device, pulse), resume, out), []
    while True:
        try:
            made.append(next(reports))
        except StopIteration as end:
            monkeypatch.undo()
            return made, end.value


@pytest.mark.parametrize(("ranks", "reports"), [(1, 0), (2, 1)])
def test_stopped_between_two_reports_it_goes_on_to_the_last_bit(
    ranks: int, reports: int, tmp_path: Path, on_ranks: Any
) -> None:
    settings = config(**RICH)
    whole = on_ranks(ranks, _reports, settings, None, tmp_path / "whole")[0]
    every, batch = settings.evaluate.every_images, settings.train.batch_size
    asked = reports * every + every // 2
    before, folder = on_ranks(ranks, _until_stopped, settings, None, tmp_path / "parts", asked)[0]
    assert len(before) == reports and asked <= int(folder.name) < asked + ADA_INTERVAL * batch
    after = on_ranks(ranks, _reports, settings, folder, tmp_path / "parts")[0]
    assert _timeless([*before, *after]) == _timeless(whole)
    assert _files(after[-1]) == _files(whole[-1])


def test_stopped_where_it_began_it_leaves_what_stands(tmp_path: Path) -> None:
    settings = config(train={"images": 256}, evaluate={"every_images": 128})  # eight steps each
    first = next(train(settings, World.single(), out=tmp_path))
    made, folder = _until_stopped(World.single(), settings, first.checkpoint, tmp_path, 10**9)
    assert made and folder is None
    world = World.single()
    world.pulse.stop = True
    assert list(train(settings, world, first.checkpoint, tmp_path / "other")) == []
    assert not (tmp_path / "other").exists()
