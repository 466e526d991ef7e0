"""Clips: digits that move by a law, folders of frames, films, steps by hand, measures, and what a training keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from tests.trainers.small import left_alone_and_killed, stepped
from trainers.check import problems
from trainers.config import BAD, Config, Data
from trainers.data import Space, load
from trainers.data.moving import Bouncing
from trainers.errors import DataError, UnusableSettingError
from trainers.families.video.judge import ClipJudge, Rival, frozen, shuffled
from trainers.families.video.step import Critics, Seen, critics_step, generator_step
from trainers.families.video.training import ClipTraining, chosen, picked
from trainers.loop import train
from trainers.losses import LOSSES
from trainers.metrics.video import Moved, motion
from trainers.models.clips import ClipGenerator, shifted
from trainers.pictures import frames, play
from trainers.report import Report
from trainers.sample import one_length, sample
from trainers.state import load_generator
from trainers.world import World

ALONE = World.single()


def config(**groups: Any) -> Config:
    """A few steps of narrow networks on clips of eight frames."""
    base: dict[str, dict[str, Any]] = {
        "data": {"name": "moving-digits", "resolution": 16, "frames": 8},
        "model": {"generator": "mlp", "discriminator": "mlp", "latent_dim": 8, "width": 16, "depth": 2},
        "train": {"images": 96, "batch_size": 16, "loss": "relativistic", "r1_gamma": 0.5, "r2_gamma": 0.5},
        "video": {"motion_dim": 4, "width": 8, "motion": "both"},
        "evaluate": {"every_images": 48, "samples": 64, "metrics": ("fid", "identity", "law_residual", "motion_ratio")},
        "health": {"stop": "never"},
    }
    return Config.model_validate({"family": "video"} | {name: {**base[name], **groups.get(name, {})} for name in base})


# -- data --------------------------------------------------------------------------------------------------------------


def test_digits_fly_straight_on_and_bounce() -> None:
    law = Bouncing(room=8, frames=5)
    places = law.places(torch.tensor([1.0, 7.0, 7.0]), torch.tensor([1.5, 1.5, -0.5]))
    assert places.tolist() == [[1, 2.5, 4, 5.5, 7], [7, 7.5, 6, 4.5, 3], [7, 6.5, 6, 5.5, 5]]


def test_residuals_tell_a_path_that_obeys_from_one_that_jumps_or_stands_still() -> None:
    data = load(Data(name="moving-digits", resolution=32))
    law, clips = data.law, data.test[torch.arange(200)].floats()
    assert law is not None
    assert data.space == Space((16, 1, 32, 32), classes=10)
    paths = law.paths(clips)
    assert law.residuals(paths).mean() < 0.15, "of real ones, in pixels"
    assert law.residuals(paths + 1.5).mean() < 0.15, "wherever the ink's centre is in its box"
    assert law.residuals(paths[:, :1].expand_as(paths)).min() > 1, "no digit stands still"
    assert law.residuals(law.paths(shuffled(clips, torch.arange(200)))).mean() > 3
    apart = 0.5 * torch.randn(paths.shape, generator=torch.Generator().manual_seed(0))
    assert law.residuals(paths + apart).mean() == pytest.approx(0.5 * 2**0.5, abs=0.1)


def test_a_room_that_is_too_small_is_refused() -> None:
    with pytest.raises(DataError, match="12 leaves a digit of 8 pixels no room to move; use 16 or more"):
        load(Data(name="moving-digits", resolution=12))


def _frame(value: int, side: int = 12) -> Image.Image:
    return Image.new("RGB", (side, side), (value, 0, 255 - value))


def _folder(root: Path, name: str, count: int) -> None:
    (root / name).mkdir(parents=True)
    for number in range(1, count + 1):  # 10 comes after 9, whatever the alphabet says
        _frame(20 * number).save(root / name / f"frame{number}.png")


def test_films_and_folders_of_frames_are_cut_into_clips(tmp_path: Path) -> None:
    for number in range(4):
        _folder(tmp_path / "walks", f"walk{number}", 11)
        play([_frame(15 * at, 16) for at in range(8)], tmp_path / f"film{number}.{'gif' if number % 2 else 'webp'}")
    data = load(Data(name="clips", path=str(tmp_path), resolution=8, frames=4))
    assert data.space == Space((4, 3, 8, 8))
    assert len(data) + len(data.test) == 4 * 2 + 4 * 2
    assert any("12 frames behind the last 4 in a row" in note for note in data.notes)
    assert any("8 files or folders of frames, of which 1 are held out" in note for note in data.notes)
    everything = torch.cat((data.train[torch.arange(len(data))].values, data.test[torch.arange(2)].values))
    rising = everything[:, :, 0].float().mean((2, 3)).diff(dim=1)
    assert (rising > 10).all(), "frames follow each other as their numbers do"


def _of_unequal_frames(root: Path) -> None:
    _folders(root, 20, 20, 20)
    _frame(9, 10).save(root / "c1" / "frame2.png")


def _of_a_broken_frame(root: Path) -> None:
    _folders(root, 20, 20, 20)
    (root / "c1" / "frame2.png").write_bytes(b"x")


def _of_stills(root: Path) -> None:
    _folders(root, 20, 20, 20)
    for file in root.rglob("*.png"):
        _frame(9).save(file)


def _folders(root: Path, *counts: int) -> None:
    for number, count in enumerate(counts):
        _folder(root, f"c{number}", count)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (_folders, "no clips below"),
        (lambda root: _folders(root, 40), "10 clips of 4 frames in 1 files or folders"),
        (lambda root: _folders(root, 3, 20, 20, 20), "1 of 4 .*c0 has 3; remove them, or set data.frames to 3"),
        (_of_unequal_frames, "c1: has frames of 10x10 and 12x12 pixels"),
        (_of_a_broken_frame, "c1: not an image"),
        (_of_stills, "no clip moves"),
    ],
)
def test_a_folder_that_nobody_can_learn_from_is_refused(make: Any, says: str, tmp_path: Path) -> None:
    make(tmp_path)
    with pytest.raises(DataError, match=says):
        load(Data(name="clips", path=str(tmp_path), resolution=8, frames=4))


# -- steps -------------------------------------------------------------------------------------------------------------


class Weighed(nn.Module):
    """A critic whose logit is a weight for each channel's mean."""

    def __init__(self, *weights: float) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.tensor(weights))

    def forward(self, pictures: Tensor, labels: Tensor | None = None) -> Tensor:
        return (pictures.mean((2, 3)) @ self.weights)[:, None]


def _seen(*values: tuple[float, ...], gap: float = 0.25, alone: int = 1) -> Seen:
    pictures = torch.tensor(values).view(len(values), -1, 1, 1, 1).expand(-1, -1, 1, 2, 2).clone().requires_grad_()
    return Seen(pictures, torch.full((len(values),), gap), alone)


def test_each_critic_learns_from_what_it_sees() -> None:
    motion_critic, frame_critic = Weighed(1.0, -2.0, 0.5), Weighed(3.0)
    critics = Critics(motion_critic, frame_critic)
    real, fake = _seen((0.2, 0.4), (0.6, 0.0)), _seen((-0.2, 0.8), (0.0, 0.4))
    told = critics_step(critics, real, fake, LOSSES["wasserstein"], 0.0, 0.0)
    motion_apart = (-0.1 - 2 * 0.6) - (0.4 - 2 * 0.2)  # the gap is the same, and falls out
    assert told["discriminator"].item() == pytest.approx(motion_apart + 3 * (0.6 - 0.2), abs=1e-6)
    for critic, by_hand in ((motion_critic, [-0.5, 0.4, 0.0]), (frame_critic, [0.4])):
        assert critic.weights.grad is not None
        assert critic.weights.grad.tolist() == pytest.approx(by_hand, abs=1e-6)


def test_the_gap_is_told_beside_the_frames() -> None:
    together = _seen((0.2, 0.4), gap=0.75).together
    assert together[0].mean((1, 2)).tolist() == pytest.approx([0.2, 0.4, 0.5])


def test_the_generator_hears_both_critics() -> None:
    weighed, made = (Weighed(1.0, -2.0, 0.5), Weighed(3.0)), _seen((0.2, 0.4))
    told = generator_step(Critics(*weighed), _seen((0.0, 0.0)), made, LOSSES["wasserstein"], 0.5, [made.frames])
    of_motion, of_frame = -(0.2 - 0.8 - 0.25), -1.2
    assert told["motion"].item() == pytest.approx(of_motion, abs=1e-6)
    assert told["generator"].item() == pytest.approx(of_motion + 0.5 * of_frame, abs=1e-6)
    assert made.frames.grad is not None
    assert made.frames.grad.sum((2, 3, 4))[0].tolist() == pytest.approx([-1.0, 2.0 - 0.5 * 3.0], abs=1e-6)
    assert all(critic.weights.grad is None for critic in weighed), "they do not learn from the generator's step"


def test_frames_are_evenly_apart_and_every_one_of_a_clip_comes_up() -> None:
    dice = torch.rand(4_000, 2, generator=torch.Generator().manual_seed(0))
    rows = chosen(dice, 8, 3)
    assert (rows.diff(dim=1)[:, :1] == rows.diff(dim=1)).all()
    assert [rows.min().item(), rows.max().item()] == [0, 7]
    assert torch.bincount(rows[:, 1] - rows[:, 0])[1:].tolist() == pytest.approx([4_000 / 3] * 3, rel=0.1)
    clips = torch.arange(16).view(2, 8)
    assert picked(clips, torch.tensor([[0, 2], [1, 5]])).tolist() == [[0, 2], [9, 13]]


def test_a_picture_is_shifted_by_pixels() -> None:
    picture = torch.zeros(1, 1, 8, 8)
    picture[0, 0, 3, 3] = 1
    moved = shifted(picture, torch.tensor([[-0.5, 0.25]]))  # of half a side: samples two pixels to the left, one below
    assert moved[0, 0].nonzero().tolist() == [[2, 5]]


# -- measures ----------------------------------------------------------------------------------------------------------


def test_motion_is_measured_against_real_clips() -> None:
    clips = torch.tensor([[0.0, 0.5, 0.0], [0.0, 0.0, 0.1]]).view(2, 3, 1, 1, 1)
    assert motion(clips).tolist() == pytest.approx([0.5, 0.05])
    assert Moved(motion(clips), 0.55).ratio == pytest.approx(0.5)
    assert [Moved(torch.tensor([x]), 1.0).steadiness for x in (0.0, 0.5, 2.0)] == [0.0, 0.5, 0.5]


def test_frozen_and_shuffled_clips_fail_and_real_ones_pass() -> None:
    settings = config(data={"frames": 16}, evaluate={"samples": 400, "metrics": ("fid", "identity", "law_residual")})
    data = load(settings.data)
    judge = ClipJudge(settings, data, ALONE)
    real = judge(Rival(data.test, lambda clips, rows: clips, ALONE))
    assert real["identity"] >= 0.97
    assert real["law_residual"] < 0.3
    assert judge.watched["mode_diversity"] > 0.9
    for how, ratio in ((frozen, 0.0), (shuffled, 2.0)):
        found = judge(Rival(data.test, how, ALONE))
        assert found["law_residual"] > 1, "the bar"
        assert found["fid"] > 10 * real["fid"]
        assert found["fid"] == pytest.approx(real[f"{how.__name__}_fid"], rel=0.1), "told beside every score"
        assert judge.watched["mode_diversity"] < 0.6
        assert found["identity"] >= 0.97, "whose frames are real"
        ratio_found = judge._comparison(judge._seen(how(data.test[torch.arange(64)].floats(), torch.arange(64))), 64)
        assert ratio_found.moved is not None
        assert ratio_found.moved.ratio == pytest.approx(ratio, abs=0.2)


def test_clips_without_a_law_are_told_from_frozen_and_shuffled_ones(tmp_path: Path) -> None:
    digits = load(Data(name="moving-digits", resolution=16, frames=6))
    for number, clip in enumerate(digits.train[torch.arange(60)].values[:, :, 0].numpy()):
        play([Image.fromarray(frame) for frame in clip], tmp_path / f"{number}.gif")
    settings = config(
        data={"name": "clips", "path": str(tmp_path), "frames": 6, "channels": 1},
        evaluate={"metrics": ("fid", "motion_ratio")},
    )
    data = load(settings.data)
    found = ClipJudge(settings, data, ALONE)(Rival(data.train, lambda clips, rows: clips, ALONE))
    assert found["motion_ratio"] == pytest.approx(1, abs=0.1)
    assert min(found["frozen_fid"], found["shuffled_fid"]) > 5 * abs(found["fid"])


# -- trainings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["codes", "shift", "both"])
def test_a_clip_is_a_function_of_its_latents_and_as_long_as_asked(how: str) -> None:
    space = load(config().data).space
    made = ClipGenerator(config(video={"motion": how}), space).eval()
    latents = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    clip, longer = made(latents), made(latents, frames=20)
    assert clip.shape == (3, 8, 1, 16, 16)
    assert torch.allclose(longer[:, :8], clip, atol=1e-6)
    rows = torch.tensor([[0, 3], [1, 2], [5, 7]])
    assert torch.allclose(made.drawn(latents, rows), picked(clip, rows), atol=1e-6), "what training sees of it"
    other = torch.cat((latents[:, :4], torch.randn(3, 4)), 1)
    assert not torch.allclose(made(other), clip), "another motion"


def test_two_ranks_do_what_one_does(on_ranks: Any) -> None:
    settings = config(train={"images": 160, "penalty_interval": 2})
    alone = _trained(ALONE, settings)
    for weights in on_ranks(2, _trained, settings):
        assert max(float((weights[name] - alone[name]).abs().max()) for name in alone) < 1e-6


def test_a_killed_training_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    whole, killed = left_alone_and_killed(config, 144, 1, tmp_path)
    assert killed == whole


def test_a_clip_is_a_function_of_its_seed_and_shown_as_strip_and_film(tmp_path: Path) -> None:
    report = list(train(config(), ALONE, out=tmp_path))[-1]
    assert report.checkpoint is not None
    assert report.losses.keys() == {"generator", "discriminator", "motion", "frame"}
    kept, generator = load_generator(report.checkpoint)
    several = sample(generator, kept, np.arange(40))
    assert several.shape == (40, 8, 16, 16, 1)
    assert several.dtype == np.uint8
    assert np.array_equal(sample(generator, kept, np.array([7]))[0], several[7])
    assert np.array_equal(sample(generator, kept, np.arange(2), frames=12)[:, :8], several[:2])
    assert report.samples is not None
    assert len(frames(report.samples)) == 8
    with pytest.raises(UnusableSettingError, match="frames: 0 can't be made; ask for 1 to 1,024"):
        sample(generator, kept, np.arange(2), frames=0)


def test_a_table_asks_for_one_length() -> None:
    assert one_length([8, 8]) == 8
    assert one_length([None, float("nan")]) is None
    with pytest.raises(UnusableSettingError, match="frames: 8, 16 in one table; ask for clips of one length at a time"):
        one_length([16, 8])


def _last(images: int, **train_settings: float) -> Report:
    settings = config(
        data={"frames": 4},
        video={"motion": "shift"},
        train={"images": images, "batch_size": 32, "beta2": 0.99, "ema_half_life": 1_000, **train_settings},
        evaluate={"every_images": images // 4, "samples": 1_000, "metrics": ("fid",)},
        health={"stop": "collapsed"},
    )
    return list(train(settings, ALONE))[-1]


def test_one_frozen_clip_for_all_is_called_and_a_slow_training_is_not() -> None:
    """The first has no penalty and rates that are far too high, the second rates that are far too low."""
    wild = {"generator_lr": 0.1, "discriminator_lr": 0.1, "r1_gamma": 0.0, "r2_gamma": 0.0}
    lost = _last(32 * 160, **wild)
    assert lost.health.verdict in BAD, lost
    slow = _last(32 * 160, generator_lr=3e-4, discriminator_lr=3e-4)
    assert slow.health.verdict in ("slow", "unjudged"), slow


# -- settings ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("groups", "where", "says"),
    [
        ({"data": {"name": "digits"}}, "data.name", "no clips; use moving-digits or clips"),
        ({"data": {"name": "clips"}}, "data.path", "needs a folder of clips"),
        ({"data": {"name": "clips", "path": "x"}}, "evaluate.metrics", "use motion_ratio"),
        ({"video": {"seen": 9}}, "video.seen", "use at most 8"),
        ({"video": {"motion_dim": 8}}, "video.motion_dim", "leave none to the content"),
        ({"model": {"generator": "nets:Mine"}}, "model.generator", "networks of your own"),
        ({"model": {"discriminator_norm": "batch"}}, "model.discriminator_norm", "use 'none'"),
        ({"model": {"conditional": True}}, "model.conditional", "set it to false"),
        ({"train": {"packing": 2}}, "train.packing", "leave it out"),
        ({"model": {"generator": "dcgan"}, "data": {"resolution": 24}}, "data.resolution", "not 24"),
    ],
)
def test_what_can_not_move_is_refused(groups: Any, where: str, says: str) -> None:
    assert says in dict(problems(config(**groups)))[where]


def test_clips_and_their_settings_are_refused_elsewhere() -> None:
    found = dict(problems(config().model_copy(update={"family": "gan"})))
    assert "set family: video" in found["video"]
    assert "makes none; use 'video'" in found["data.name"]


def _trained(world: World, settings: Config) -> dict[str, Tensor]:
    return stepped(ClipTraining(settings, load(settings.data), world), settings.train.images)
