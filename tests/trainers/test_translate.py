"""CycleGAN and CUT: their steps against the papers, their data, and what a training of them keeps."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import normalize

from tests.trainers.small import checkpointed, left_alone_and_killed, stepped
from trainers.check import problems
from trainers.config import BAD, Config, Data
from trainers.data import load
from trainers.errors import DataError
from trainers.families.translate.contrast import contrast, translator_step
from trainers.families.translate.room import training
from trainers.families.translate.step import Pair, critic_step, pooled, translators_step
from trainers.families.translate.training import CycleTraining
from trainers.loop import Run, train
from trainers.losses import LOSSES
from trainers.settings import Problem, SettingsError, build, parse
from trainers.state import load_generator
from trainers.world import World


def config(**groups: Any) -> Config:
    """A few steps of narrow networks on digits in ink."""
    base: dict[str, dict[str, Any]] = {
        "data": {"name": "inked-digits", "resolution": 16},
        "model": {"generator": "resnet", "discriminator": "patch", "width": 4, "depth": 1, "discriminator_depth": 2},
        "train": {"images": 48, "batch_size": 8, "loss": "least_squares", "ema_half_life": 16.0, "ema_ramp": 0.0},
        "translate": {"pool": 12},
        "evaluate": {"every_images": 24, "samples": 16, "metrics": ("fid", "spread"), "extractor": "random-conv"},
        "health": {"stop": "never"},
    }
    return Config.model_validate(
        {"family": "translate"} | {name: {**base[name], **groups.get(name, {})} for name in base}
    )


def cut(**groups: Any) -> Config:
    """The same by CUT."""
    return config(**groups, translate={"method": "cut", "pool": 50, "patches": 16})


by_each_method = pytest.mark.parametrize("config", [config, cut], ids=["cycle", "cut"])


class Scaled(nn.Module):
    """x times one weight: a network whose losses and gradients can be worked out by hand."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return (self.weight * x).flatten(1)


def test_the_translators_step_is_the_papers_by_hand() -> None:
    """Zhu 2017, equations 1 to 3 on squares (section 4) with the identity term (section 5.2): G(x) = g x, F(x) = f x,
    D(x) = d x on single positive pixels.
    """
    g, f, d_b, d_a = 0.5, 0.25, 0.8, 0.6
    networks = [Scaled(value) for value in (g, f, d_b, d_a)]
    a, b = torch.tensor([[0.4], [0.8]]).double(), torch.tensor([[0.2], [0.6]]).double()
    mean_a, mean_b, squares_a, squares_b = 0.6, 0.4, (0.16 + 0.64) / 2, (0.04 + 0.36) / 2
    weights = {"adversarial": 2.0, "cycle": 10.0, "identity": 5.0}
    to, critics = Pair(networks[0], networks[1]), Pair(networks[2], networks[3])
    moved = [networks[0].weight, networks[1].weight]
    made = translators_step(to, critics, a, b, LOSSES["least_squares"], weights, moved)
    fooled_b = (d_b * g) ** 2 * squares_a - 2 * d_b * g * mean_a + 1  # E (D_B(G(a)) - 1)^2
    fooled_a = (d_a * f) ** 2 * squares_b - 2 * d_a * f * mean_b + 1
    cycle, identity = (1 - f * g) * (mean_a + mean_b), (1 - g) * mean_b + (1 - f) * mean_a
    assert made.terms["cycle"].item() == pytest.approx(cycle)
    assert made.terms["identity"].item() == pytest.approx(identity)
    assert made.terms["adversarial"].item() == pytest.approx((fooled_b + fooled_a) / 2), "Mao's squares are halved"
    assert made.terms["generator"].item() == pytest.approx(fooled_b + fooled_a + 10 * cycle + 5 * identity)
    slope = 2 * d_b**2 * g * squares_a - 2 * d_b * mean_a - 10 * f * (mean_a + mean_b) - 5 * mean_b  # d / d g
    assert moved[0].grad is not None
    assert moved[0].grad.item() == pytest.approx(slope)
    assert networks[2].weight.grad is None, "the critics are not trained by what the translators learn from"
    assert torch.equal(made.as_b, g * a)


def test_the_critics_step_is_the_papers_by_hand() -> None:
    critic, real, fake = Scaled(0.5), torch.tensor([[0.4], [0.8]]).double(), torch.tensor([[-0.2], [0.6]]).double()
    found = critic_step(critic, real, fake, LOSSES["least_squares"], r1_gamma=3.0)
    expected = ((0.2 - 1) ** 2 + (0.4 - 1) ** 2 + 0.1**2 + 0.3**2) / 4
    assert found["discriminator"].item() == pytest.approx(expected)
    assert found["real_logit"].item() == pytest.approx(0.3)
    slope = ((0.2 - 1) * 0.4 + (0.4 - 1) * 0.8 + 0.1 * 0.2 + 0.3 * 0.6) / 2 + 3.0 * 0.5  # R1: gamma / 2 d^2
    assert critic.weight.grad is not None
    assert critic.weight.grad.item() == pytest.approx(slope)


def test_the_contrast_is_the_papers_by_hand() -> None:
    """Park 2020, equation 3: two places of one picture, at angles to each other; T = 0.5."""
    angles = torch.tensor([[0.2, 1.5]]), torch.tensor([[0.0, 1.0]])
    made, given = (torch.stack((one.cos(), one.sin()), -1).double().requires_grad_() for one in angles)
    found = contrast([made], [given], 0.5)
    close = [[math.exp(2 * math.cos(m - g)) for g in (0.0, 1.0)] for m in (0.2, 1.5)]
    expected = -sum(math.log(row[place] / sum(row)) for place, row in enumerate(close)) / 2
    assert found.item() == pytest.approx(expected, rel=1e-6)
    torch.autograd.backward(found)
    assert made.grad is not None and given.grad is None, "what was given is what is looked for, and does not move"
    assert contrast([made, given], [given, given], 0.5).item() == pytest.approx(
        (expected + contrast([given], [given], 0.5).item()) / 2
    ), "the mean over layers"


def test_the_translator_of_cut_weighs_its_terms_and_moves_with_what_sees() -> None:
    """G(x) = g x and D(x) = d x; what is seen of two pixels is where (p x, 1) points."""
    g, p, critic = Scaled(0.5), torch.nn.Parameter(torch.tensor(1.5).double()), Scaled(0.8)

    def see(pictures: Tensor) -> list[Tensor]:
        return [normalize(torch.stack((p * pictures, torch.ones_like(pictures)), -1), dim=-1)]

    a, b = torch.tensor([[0.4, -0.9]]).double(), torch.tensor([[0.2, 0.7]]).double()
    weights = {"adversarial": 2.0, "contrast": 3.0, "identity": 1.5}
    made, terms = translator_step(g, see, critic, a, b, LOSSES["least_squares"], weights, 0.5, [g.weight, p])
    assert torch.equal(made, 0.5 * a)
    assert terms["contrast"].item() == pytest.approx(contrast(see(0.5 * a), see(a), 0.5).item())
    assert terms["identity"].item() == pytest.approx(contrast(see(0.5 * b), see(b), 0.5).item())
    assert terms["adversarial"].item() == pytest.approx(float((0.8 * 0.5 * a - 1).square().mean()) / 2)
    assert terms["generator"].item() == pytest.approx(sum(weights[name] * terms[name].item() for name in weights))
    assert g.weight.grad is not None and p.grad is not None and critic.weight.grad is None


def test_the_pool_shows_new_ones_until_it_is_full_and_half_old_ones_then() -> None:
    pool, made = torch.zeros(0, 1), torch.arange(1.0, 4.0)[:, None]
    seen, pool = pooled(pool, made, 4, torch.zeros(3, 2))
    assert seen.flatten().tolist() == pool.flatten().tolist() == [1, 2, 3]
    dice = torch.tensor([[0.0, 0.0], [0.9, 0.3], [0.1, 0.9], [0.9, 0.3]])  # room; swap with the second; new; swap again
    seen, pool = pooled(pool, torch.arange(4.0, 8.0)[:, None], 4, dice)
    assert seen.flatten().tolist() == [4, 2, 6, 5]
    assert pool.flatten().tolist() == [1, 7, 3, 4]
    same, none = pooled(torch.zeros(0, 1), made, 0, torch.zeros(3, 2))
    assert torch.equal(same, made)
    assert len(none) == 0


def test_the_two_domains_share_no_training_digit_and_the_held_out_ones_are_pairs() -> None:
    data = load(config().data)
    assert data.source is not None
    assert (len(data.source), len(data), len(data.test)) == (719, 718, 360)
    everything = torch.arange(360)
    grey, inked = data.source.test[everything], data.test[everything]
    assert grey.labels is not None and inked.labels is not None and torch.equal(grey.labels, inked.labels)
    ink, paper = grey.values.float().mean(1).flatten(1), inked.values.float().mean(1).flatten(1)
    assert all(torch.corrcoef(torch.stack(pair))[0, 1] < -0.9 for pair in zip(ink[:20], paper[:20], strict=True))


def test_terms_are_told_by_name_and_the_identity_only_where_it_weighs() -> None:
    (first,) = train(config(train={"images": 24}), World.single())
    assert set(first.losses) == {"generator", "discriminator", "adversarial", "cycle", "identity"}
    weights = config().translate.weights
    assert first.losses["generator"] == pytest.approx(sum(weights[name] * first.losses[name] for name in weights))
    (other,) = train(config(train={"images": 24}, translate={"identity": 0.0}), World.single())
    assert "identity" not in other.losses
    assert other.metrics["identity_spread"] == first.metrics["identity_spread"], "the rival stands beside, as it is"
    assert other.metrics["spread"] != other.metrics["identity_spread"]


@by_each_method
def test_a_resumed_training_equals_the_uninterrupted_one_to_the_last_bit(
    config: Callable[..., Config], tmp_path: Path
) -> None:
    list(train(config(), World.single(), out=tmp_path / "whole"))
    first = next(train(config(), World.single(), out=tmp_path / "parts"))
    list(train(config(), World.single(), resume=first.checkpoint, out=tmp_path / "parts"))
    assert checkpointed(tmp_path / "parts", 48) == checkpointed(tmp_path / "whole", 48)
    kept = {name.split("/")[0] for name in checkpointed(tmp_path / "whole", 48)}
    assert kept >= {"cycle": {"pool"}, "cut": {"projector"}}[config().translate.method]
    with Image.open(tmp_path / "whole" / "samples" / "48.png") as picture:
        assert picture.width > 3 * picture.height, "inputs, outputs and truth, one row each"


@by_each_method
def test_a_killed_training_of_two_ranks_goes_on_to_the_same_bits(config: Callable[..., Config], tmp_path: Path) -> None:
    whole, killed = left_alone_and_killed(config, 72, 2, tmp_path)
    assert killed == whole


@pytest.mark.parametrize(("config", "images"), [(config, 80), (cut, 32)], ids=["cycle", "cut"])
def test_two_ranks_do_what_one_does(config: Callable[..., Config], images: int, on_ranks: Any) -> None:
    """Sums of two halves round otherwise, and Adam makes steps of whole size of gradients near zero, so some seeds part
    sooner: CUT on this one after five steps, CycleGAN on seed 1 after one.
    """
    settings = config(train={"images": images, "r1_gamma": 0.1, "penalty_interval": 2})
    alone = _trained(World.single(), settings)
    networks = [name for name in alone if name.startswith(("generator", "projector", "discriminator"))]
    for weights in on_ranks(2, _trained, settings):
        assert max(float((weights[name] - alone[name]).abs().max()) for name in networks) < 1e-6
        pools = [name for name in alone if name.startswith("pool")]
        assert all(torch.allclose(weights[name], alone[name], rtol=0, atol=1e-5) for name in pools)


def test_a_translator_that_runs_wild_is_called_and_a_slow_one_is_not() -> None:
    """Nothing ties the first to its input, and it moves too fast to be told; the second has a rate of 1e-4."""
    wild = {"generator_lr": 0.05, "images": 1600, "ema_half_life": 16.0}
    free, evaluate = {"lambda_cycle": 0.0, "identity": 0.0}, {"every_images": 160, "samples": 64}
    settings = config(train=wild, translate=free, evaluate=evaluate, health={"stop": "collapsed"})
    assert list(train(settings, World.single()))[-1].health.verdict in BAD
    slow = {"generator_lr": 1e-4, "discriminator_lr": 1e-4, "images": 960}
    settings = config(train=slow, translate={"identity": 0.0}, evaluate=evaluate)
    assert {report.health.verdict for report in train(settings, World.single())} == {"unjudged", "slow"}


def test_the_kept_network_translates_from_source_to_target_only(tmp_path: Path) -> None:
    report = list(train(config(), World.single(), out=tmp_path))[-1]
    assert report.checkpoint is not None
    _, kept = load_generator(report.checkpoint)
    pictures = torch.rand(3, 3, 16, 16) * 2 - 1
    made = kept(pictures)
    assert made.shape == pictures.shape
    assert torch.equal(made, kept.get_submodule("to_b")(pictures))
    assert not torch.equal(made, kept.get_submodule("to_a")(pictures))


def test_a_mixed_look_is_one_of_both_at_random_whatever_the_digit() -> None:
    looks = {name: load(Data(name=name, resolution=16)) for name in ("painted-digits", "inked-digits", "mixed-digits")}
    painted = {name: data.train[torch.arange(len(data))] for name, data in looks.items()}
    grounds = {name: examples.values[:, :, 0, 0].float().mean(1) for name, examples in painted.items()}
    dark = grounds["mixed-digits"] > 128
    assert grounds["inked-digits"].min() > 128 > grounds["painted-digits"].max()
    assert 0.45 < dark.float().mean() < 0.55
    labels = painted["mixed-digits"].labels
    assert labels is not None
    assert all(0.25 < dark[labels == digit].float().mean() < 0.75 for digit in range(10))


def test_two_folders_are_two_domains(tmp_path: Path) -> None:
    data = {"name": "images", "path": _folder(tmp_path / "night", 30), "source": _folder(tmp_path / "day", 230)}
    settings = config(data=data | {"resolution": 16}, train={"batch_size": 4, "images": 8}, evaluate={"samples": 16})
    run = Run(settings, World.single())
    assert isinstance(run.training, CycleTraining)
    assert run.data.source is not None
    assert run.data.fingerprint != load(settings.data.model_copy(update={"source": None})).fingerprint
    assert run.training._real("a", 0).mean() > run.training._real("b", 0).mean(), "a is day"


@pytest.mark.parametrize("streamed", [False, True])
def test_an_empty_domain_is_refused_with_the_way_out(tmp_path: Path, streamed: bool) -> None:
    (tmp_path / "empty").mkdir()
    data = {"name": "images", "path": _folder(tmp_path / "night", 30), "source": str(tmp_path / "empty")}
    with pytest.raises(DataError, match=r"^data\.source: no image files below .*empty"):
        Run(config(data=data), World.single())


def test_the_same_folder_twice_is_refused_when_the_file_is_read_and_its_copy_when_the_data_are(tmp_path: Path) -> None:
    night, link = _folder(tmp_path / "night", 30), tmp_path / "link"
    link.symlink_to(night)
    text = f"family: translate\ndata:\n  name: images\n  path: {night}\n  source: {night}\n"
    same = r"f\.yaml:5: data\.source: is the same place as data\.path; give the folder"
    with pytest.raises(SettingsError, match=same) as caught:
        build(Config, parse(text, "f.yaml"), lambda made: [Problem(where, what) for where, what in problems(made)])
    assert not [told for told in caught.value.problems if "needs a second place" in told.message]
    data = {"name": "images", "path": night, "source": str(link)}
    with pytest.raises(DataError, match=r"data\.source: holds the same pictures as data\.path; give the folder of"):
        Run(config(data=data), World.single())


def test_the_same_pictures_under_other_names_are_refused_and_some_of_them_told(tmp_path: Path) -> None:
    night, other = Path(_folder(tmp_path / "night", 30)), tmp_path / "other"
    other.mkdir()
    for number, file in enumerate(sorted(night.iterdir())):
        shutil.copy(file, other / f"x{99 - number}.png")
    data = Data(name="images", path=str(night), source=str(other), resolution=16)
    with pytest.raises(DataError, match=r"data\.source: holds the same pictures as data\.path"):
        load(data)
    next(other.iterdir()).unlink()
    load.cache_clear()
    source = load(data).source
    assert source is not None
    assert source.notes == ("19 of 19 different pictures are those of data.path too; the domains are to differ",)


@pytest.mark.parametrize(
    ("groups", "where", "says"),
    [
        (
            {"data": {"name": "digits", "resolution": 8}},
            "data.name",
            "use painted-digits, inked-digits, mixed-digits, images",
        ),
        ({"data": {"name": "images", "path": "/x"}}, "data.source", "a second place"),
        ({"data": {"name": "images", "path": "/x", "source": "/y", "resolution": 18}}, "data.resolution", "not 18"),
        ({"model": {"discriminator_depth": 3}}, "model.discriminator_depth", "use at most 2"),
        ({"model": {"generator": "dcgan"}}, "model.generator", "unknown name 'dcgan'"),
        ({"model": {"generator_norm": "batch"}}, "model.generator_norm", "use 'none'"),
        ({"model": {"conditional": True}}, "model.conditional", "set it to false"),
        ({"train": {"n_dis": 2}}, "train.n_dis", "leave it out"),
        ({"train": {"balanced": True}}, "train.balanced", "leave it out"),
        ({"translate": {"temperature": 0.1}}, "translate.temperature", "is for method: cut"),
        ({"translate": {"method": "cut", "pool": 12}}, "translate.pool", "is for method: cycle"),
    ],
)
def test_what_can_not_be_translated_is_refused(groups: Any, where: str, says: str) -> None:
    found = dict(problems(config(**groups)))
    assert says in found[where]


def test_settings_of_a_translation_are_refused_elsewhere() -> None:
    other = config(translate={"identity": 0.25}).model_copy(update={"family": "gan"})
    assert "set family: translate" in dict(problems(other))["translate"]
    elsewhere = Config.model_validate({"data": {"name": "images", "path": "/x", "source": "/y"}})
    assert "is for a family that translates" in dict(problems(elsewhere))["data.source"]


def _trained(world: World, settings: Config) -> dict[str, Tensor]:
    return stepped(training(settings, load(settings.data), world), settings.train.images)


def _folder(folder: Path, level: int) -> str:
    folder.mkdir()
    dice = np.random.default_rng(level)
    for number in range(20):
        pixels = dice.integers(level - 20, level + 20, (20, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return str(folder)
