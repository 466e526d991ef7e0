"""Conditions as columns, from the data set to the sample."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.nn.functional import interpolate

from tests.trainers.small import config
from trainers.check import problems
from trainers.config import BAD, Config, Data, Model
from trainers.data import Dataset, Examples, Space, load
from trainers.data.conditions import Column, mismatched
from trainers.data.faces import COLUMNS as OF_FACES
from trainers.data.faces import drawn
from trainers.data.scenes import COLUMNS, WEATHERS
from trainers.errors import UnusableSettingError
from trainers.families.gan.training import GanTraining
from trainers.loop import train
from trainers.models import DISCRIMINATORS, GENERATORS, build_discriminator, build_generator
from trainers.models.conditions import numbers
from trainers.models.mlp import MlpGenerator
from trainers.randomness import normal
from trainers.sample import asked, conditions, every_class, sample
from trainers.state import load_generator, load_space
from trainers.world import World

SPACE = Space((3, 16, 16), columns=COLUMNS)
SEEDS = np.arange(5, dtype=np.int64)
LABELS = torch.tensor([[0.0, 2.0, 0.1], [3.0, 1.0, 0.9]])


def told(**model: Any) -> Config:
    return config(model={"conditional": True, **model})


# -- networks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("conditioning", ["projection", "concat"])
@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_every_network_listens_to_every_column(name: str, conditioning: str) -> None:
    settings = told(generator=name if name in GENERATORS else "mlp", discriminator=name, conditioning=conditioning)
    settings = settings.model_copy(update={"model": settings.model.model_copy(update={"width": 4, "depth": 1})})
    generator = build_generator(settings.model, SPACE)
    discriminator = build_discriminator(settings.model, SPACE)
    for parameter in [*generator.parameters(), *discriminator.parameters()]:
        torch.nn.init.normal_(parameter, std=0.2)  # a projection starts at zero
    latents, images = torch.randn(1, 8), torch.randn(1, 3, 16, 16)
    for network, inputs in ((generator, latents), (discriminator, images)):
        for column, other in enumerate((1.0, 2.0, 0.7)):
            changed = LABELS[:1].clone()
            changed[0, column] = other if changed[0, column] != other else 0.0
            assert not torch.equal(network(inputs, LABELS[:1]), network(inputs, changed)), (name, COLUMNS[column].name)


def test_a_number_that_comes_round_is_told_so() -> None:
    around, line = Column("a", high=360.0, period=360.0), Column("b", low=2.0, high=4.0)
    torch.testing.assert_close(numbers(around, torch.tensor([0.0]), 2), numbers(around, torch.tensor([360.0]), 2))
    assert numbers(line, torch.tensor([2.0, 3.0, 4.0]), 0)[:, 1].tolist() == [-1, 0, 1]
    assert not torch.allclose(numbers(line, torch.tensor([2.0]), 1), numbers(line, torch.tensor([4.0]), 1))


def test_without_labels_each_latent_chooses_some() -> None:
    generator = build_generator(told().model, SPACE)
    latents = torch.randn(400, 8, generator=torch.Generator().manual_seed(0))
    chosen = generator.get_submodule("input")._chosen(latents)  # type: ignore[operator]
    assert [len(torch.unique(chosen[:, column])) for column in (0, 1)] == [5, 3]
    assert 0 <= chosen[:, 2].min() < 0.1 and 0.9 < chosen[:, 2].max() <= 1
    torch.testing.assert_close(generator(latents, None)[7:8], generator(latents[7:8], None))


@pytest.mark.parametrize("labels", [torch.tensor([1, -1]), torch.tensor([[1.0], [torch.nan]])])
def test_a_withheld_condition_adds_nothing(labels: Tensor) -> None:
    space = Space((2,), classes=3) if labels.ndim == 1 else Space((2,), columns=(Column("k", ("a", "b", "c")),))
    settings = Model(generator="mlp", discriminator="mlp", conditional=True, label_drop=0.1, latent_dim=4)
    embedding = build_generator(settings, space).get_submodule("input.embedding")
    vectors = embedding(labels)
    assert vectors[0].abs().sum() > 0 and vectors[1].abs().sum() == 0


def test_a_mismatch_is_wrong_in_one_condition_and_right_in_the_others() -> None:
    chances = torch.rand(3000, 2, generator=torch.Generator().manual_seed(0))
    given = torch.stack((torch.full((3000,), 4.0), torch.full((3000,), 1.0), torch.full((3000,), 0.25)), 1)
    wrong = mismatched(given, COLUMNS, chances)
    assert torch.equal((wrong != given).sum(1), torch.ones(3000, dtype=torch.int64))
    weather, hour, fog = ((wrong[:, k])[wrong[:, k] != given[:, k]] for k in range(3))
    assert min(map(len, (weather, hour, fog))) > 900
    assert {*weather.tolist()} == {0, 1, 2, 3} and {*hour.tolist()} == {0, 2}
    assert 0 <= fog.min() < 0.01 and 0.99 < fog.max() < 1
    classes = mismatched(torch.tensor([0, 1, 2] * 1000), [Column("class", ("a", "b", "c"))], chances)
    assert (classes != torch.tensor([0, 1, 2] * 1000)).all() and {*classes.tolist()} == {0, 1, 2}


# -- training ----------------------------------------------------------------------------------------------------------


def circle(**groups: Any) -> Config:
    model = {"conditional": True, "conditioning": "concat", "latent_dim": 2, **groups.pop("model", {})}
    evaluate = {"samples": 720, "metrics": ("w2",), **groups.pop("evaluate", {})}
    return config(data={"name": "circular-gaussians"}, model=model, evaluate=evaluate, **groups)


def test_conditions_reach_the_report_and_the_checkpoint(tmp_path: Any) -> None:
    *_, report = train(circle(), World.single(), out=tmp_path)
    assert 0 < report.metrics["w2"] <= report.metrics["worst_w2"]
    assert report.checkpoint is not None and report.samples is not None and report.samples.exists()
    settings, generator = load_generator(report.checkpoint)
    assert load_space(report.checkpoint).columns == load(settings.data).space.columns
    north = sample(generator, settings, SEEDS, np.full((5, 1), 90.0, np.float32))
    south = sample(generator, settings, SEEDS, np.full((5, 1), 270.0, np.float32))
    assert not np.array_equal(north, south)


@pytest.mark.parametrize(
    ("drop", "more"), [(0.0, {"r1_gamma": 0.1}), (0.5, {"r1_gamma": 0.1}), (0.5, {"mismatched": 0.5})]
)
def test_two_ranks_do_as_one_with_conditions(
    on_ranks: Callable[..., list[Any]], drop: float, more: dict[str, Any]
) -> None:
    settings = circle(model={"label_drop": drop}, train=more)
    one = stepped(World.single(), settings)
    for other in on_ranks(2, stepped, settings):
        torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-6)
    assert torch.equal(stepped(World.single(), settings), one)


def stepped(world: World, settings: Config) -> Tensor:
    training = GanTraining(settings, load(settings.data), world)
    for _ in range(5):
        training.step()
    return torch.cat([p.detach().flatten() for p in training.parameters()])


def test_resuming_with_conditions_and_balance_is_exact(tmp_path: Any) -> None:
    settings = config(model={"conditional": True, "label_drop": 0.3}, train={"balanced": True, "mismatched": 0.5})
    list(train(settings, World.single(), out=tmp_path / "whole"))
    (first, *_) = train(settings, World.single(), out=tmp_path / "part")
    *_, last = train(settings, World.single(), resume=first.checkpoint, out=tmp_path / "part")
    assert last.checkpoint is not None
    for file in ("generator", "discriminator", "optimisers"):
        a, b = (
            (tmp_path / name / "checkpoints/320" / f"{file}.safetensors").read_bytes() for name in ("whole", "part")
        )
        assert a == b


@pytest.mark.parametrize("side", [64, 128])
def test_r3gan_takes_a_step_on_faces_of_any_size(side: int) -> None:
    few = drawn("train", 40)
    examples = Examples(interpolate(few.values.float(), size=side).to(torch.uint8), few.labels)
    data = Dataset("faces", Space((3, side, side), columns=OF_FACES), examples, examples)
    model = {"conditional": True, "generator": "r3gan", "discriminator": "r3gan", "width": 4, "depth": 1}
    train = {"batch_size": 4, "loss": "relativistic", "r1_gamma": 1.0, "r2_gamma": 1.0}
    training = GanTraining(config(model=model, train=train), data, World.single())
    before = [parameter.clone() for parameter in training.parameters()]
    training.step()
    training.step()  # the first moves only what stands behind a branch's last layer, which starts at zero
    moved = [not torch.equal(*pair) for pair in zip(before, training.parameters(), strict=True)]
    assert sum(moved) > 0.9 * len(moved) and all(parameter.isfinite().all() for parameter in training.parameters())


def test_a_class_that_no_training_image_has_is_refused() -> None:
    labels = torch.tensor([0, 0, 2] * 10)
    examples = Examples(torch.zeros(30, 1, 8, 8), labels)
    data = Dataset("d", Space((1, 8, 8), 4, names=("cat", "dog", "cow", "elk")), examples, examples)
    assert data.unmet == ("label 'dog'", "label 'elk'")
    with pytest.raises(UnusableSettingError, match=r"no training example has label 'dog', label 'elk'.*bring examples"):
        GanTraining(told(), data, World.single())
    GanTraining(config(), data, World.single())  # which asks for no class


def test_a_value_of_a_column_that_no_training_image_has_is_refused() -> None:
    space = Space((1, 8, 8), columns=(Column("hue", ("red", "green")), Column("age", high=9.0)))
    examples = Examples(torch.zeros(30, 1, 8, 8), torch.stack((torch.zeros(30), torch.rand(30)), 1))
    with pytest.raises(UnusableSettingError, match="no training example has hue 'green'"):
        GanTraining(told(), Dataset("d", space, examples, examples), World.single())


def test_settings_of_conditions_need_a_conditional_model() -> None:
    found = problems(config(model={"label_drop": 0.1}, train={"mismatched": 0.5}))
    way_out = "is for conditional models; set model.conditional, or leave it out"
    assert found == [("model.label_drop", way_out), ("train.mismatched", way_out)]
    with pytest.raises(ValidationError, match="less than 1"):
        config(model={"conditional": True, "label_drop": 1.0})


# -- the verdict -------------------------------------------------------------------------------------------------------


def thirds(settings: Data) -> Dataset:
    """Three round clouds, a class each."""
    labels = torch.arange(3_000) % 3
    points = torch.tensor([[2.0, 0.0], [-1.0, 1.7], [-1.0, -1.7]])[labels] + 0.3 * normal((3_000, 2), "thirds")
    return Dataset(
        "thirds", Space((2,), 3, scale=1.5), Examples(points[:2_400], labels[:2_400]), Examples(points[2_400:])
    )


class Deaf(MlpGenerator):
    """Gives one point for the last class, as AC-GAN comes to: it can be read, and nothing more is asked of it."""

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        return super().forward(latents if labels is None else latents * (labels != 2)[:, None], labels)


@pytest.mark.parametrize(("generator", "rate", "called"), [("Deaf", 2e-3, True), ("MlpGenerator", 1e-4, False)])
def test_one_point_of_one_class_is_called_and_a_slow_learner_is_not(generator: str, rate: float, called: bool) -> None:
    settings = config(
        data={"name": f"{__name__}:thirds"},
        model={"conditional": True, "generator": f"{__name__}:{generator}", "width": 64},
        train={"images": 32_000, "batch_size": 64, "loss": "relativistic", "r1_gamma": 0.1, "r2_gamma": 0.1,
               "generator_lr": rate, "discriminator_lr": rate, "beta1": 0.0, "beta2": 0.99},
        evaluate={"every_images": 3_200},
    )  # fmt: skip
    reports = list(train(settings, World.single()))
    said = [report.health.verdict for report in reports]
    assert bool(set(said) & set(BAD)) == called, said
    assert called or (said[0], said[-1]) == ("unjudged", "healthy"), said


# -- asking ------------------------------------------------------------------------------------------------------------


def test_what_is_not_asked_for_each_seed_draws() -> None:
    labels = conditions({"weather": ["snow"] * 5}, told(), SPACE, SEEDS)
    assert labels is not None and labels.dtype == np.float32
    assert set(labels[:, 0]) == {WEATHERS.index("snow")} and len(set(labels[:, 2])) == 5
    alone = conditions({"weather": ["snow"]}, told(), SPACE, SEEDS[3:4])
    assert alone is not None and np.array_equal(alone[0], labels[3]), "a function of its own seed"
    mixed = conditions({"weather": ["snow", None], "fog": [0.25, np.nan]}, told(), SPACE, SEEDS[:2])
    assert mixed is not None and mixed[0, 2] == 0.25 and mixed[1, 2] == labels[1, 2]
    by_number = conditions({"weather": [1.0, np.nan]}, told(), SPACE, SEEDS[:2])
    assert by_number is not None and by_number[0, 0] == 1, "a class of a column that pandas made floats of"
    assert conditions({}, told(), SPACE, SEEDS) is None


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"wether": ["snow"]}, "wether: this generator has no such condition; it has weather, hour, fog"),
        ({"weather": ["snwo"]}, "weather: 'snwo' is none of the 5 classes .*; did you mean 'snow'"),
        ({"fog": ["2"]}, "fog: 2 is nothing that was trained on; give 0 to 1"),
        ({"fog": ["thick"]}, "fog: 'thick' is no number"),
    ],
)
def test_a_condition_that_is_none_is_refused(table: dict[str, Any], says: str) -> None:
    with pytest.raises(UnusableSettingError, match=says):
        conditions(table, told(), SPACE, SEEDS[:1])


def test_conditions_are_written_as_name_and_value() -> None:
    assert asked("weather=snow, fog=0.3", told(), SPACE) == {"weather": "snow", "fog": "0.3"}
    with pytest.raises(UnusableSettingError, match="'snow' names no condition; give some of weather=clear"):
        asked("snow", told(), SPACE)
    with pytest.raises(UnusableSettingError, match="gives weather twice"):
        asked("weather=snow, fog=1, weather=rain", told(), SPACE)
    assert len(every_class(SPACE)) == 15
