"""Measures of what a generator was asked for: truths with known values, and the rivals that must lose."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from trainers.config import Data
from trainers.data import Dataset, Space, load
from trainers.data.circle import centers
from trainers.data.conditions import Column
from trainers.data.scenes import COLUMNS, scenes
from trainers.errors import UnusableSettingError
from trainers.metrics import reader as reading
from trainers.metrics.conditions import angle_report, attribute_report, condition_diversity, condition_report
from trainers.metrics.conditions import groups as grouped
from trainers.metrics.features import FeatureError
from trainers.metrics.reader import accuracy, load_reader
from trainers.metrics.table import METRICS, Comparison, Reals
from trainers.randomness import normal
from trainers.world import World

UNSEEN = (torch.arange(360) + 0.5).repeat_interleave(100)
SEEN = (torch.floor(UNSEEN / 3 + 0.5) * 3).float()


def circle(angles: Tensor, std: float = 0.02, shift: float = 0.0) -> Tensor:
    return centers(angles) + std * normal((len(angles), 2), "test circle") + torch.tensor([shift, 0.0])


def test_the_distance_of_true_points_is_the_floor_of_a_hundred_samples() -> None:
    assert angle_report(circle(UNSEEN), UNSEEN, 0.02)["w2"] == pytest.approx(1.45e-5, rel=0.1)


def test_the_nearest_label_loses() -> None:
    assert angle_report(circle(SEEN), UNSEEN, 0.02)["w2"] == pytest.approx(2.94e-4, rel=0.05)


@pytest.mark.parametrize(("std", "shift", "expected"), [(0.02, 0.05, 0.0025), (0.05, 0.0, 2 * 0.03**2)])
def test_the_distance_follows_its_formula(std: float, shift: float, expected: float) -> None:
    angles = torch.full((20_000,), 30.0)
    assert angle_report(circle(angles, std, shift), angles, 0.02)["w2"] == pytest.approx(expected, rel=0.05)


def test_one_bad_angle_is_the_worst() -> None:
    points = circle(UNSEEN)
    points[UNSEEN == 200.5] += 1
    found = angle_report(points, UNSEEN, 0.02)
    assert found["worst_w2"] == pytest.approx(2, rel=0.05) and found["w2"] < 0.01


def test_one_point_at_an_angle_says_nothing() -> None:
    with pytest.raises(FeatureError, match="at least twice the angles"):
        angle_report(circle(UNSEEN)[::100], UNSEEN[::100], 0.02)


def three(spread: float = 1.0) -> tuple[Tensor, Tensor]:
    """Three conditions of 200 at 0, 4 and 8; of the last the spread may be another."""
    kinds = torch.arange(600) % 3
    noise = normal((600, 4), "groups", str(spread))
    noise[kinds == 2] *= spread
    return noise + 4 * kinds[:, None], kinds


CLASSES = (Column("label", ("a", "b", "c")),)


def test_conditions_that_are_all_well() -> None:
    real, kinds = three()
    groups = grouped(kinds, kinds, CLASSES)
    found = condition_report(real, real + 1e-6, groups)
    assert found["worst_condition_fid"] < 1e-6 and found["worst_condition_coverage"] == 1
    assert condition_diversity(real, real + 1e-6, groups) == pytest.approx(1)


def test_the_worst_condition_shows_what_the_mean_hides() -> None:
    (real, kinds), (fake, asked) = three(), three(spread=0.01)
    groups = grouped(kinds, asked, CLASSES)
    found = condition_report(real, fake, groups)
    assert condition_diversity(real, fake, groups) < 0.02 and found["worst_condition_coverage"] < 0.1
    assert found["condition_coverage"] > 0.6


def test_who_ignores_what_is_asked_is_far_from_every_condition() -> None:
    real, kinds = three()
    found = condition_report(real, real.roll(1, 0), grouped(kinds, kinds, CLASSES))
    assert found["condition_fid"] > 30 and found["worst_condition_coverage"] == 0


def test_too_few_of_a_condition_are_said() -> None:
    kinds = torch.arange(600) % 3
    with pytest.raises(FeatureError, match="a condition has 200 real and 10 generated"):
        grouped(kinds, kinds[:30], CLASSES)


def test_where_combinations_are_rare_each_class_is_a_group() -> None:
    columns = (Column("a", ("x", "y")), Column("size", high=1.0), Column("b", ("x", "y", "z")))
    labels = torch.stack((torch.arange(600) % 2, torch.rand(600), torch.arange(600) % 3), 1)
    assert [int(mine.sum()) for mine, _ in grouped(labels, labels, columns)] == [100] * 6, "combinations"
    few = grouped(labels, labels[:90], columns)
    assert [(int(mine.sum()), int(theirs.sum())) for mine, theirs in few] == [(300, 45)] * 2 + [(200, 30)] * 3


def test_attributes_are_counted_and_numbers_explained() -> None:
    columns = (Column("a", ("x", "y")), Column("b", ("x", "y", "z")), Column("c", high=1.0))
    asked = torch.stack((torch.arange(120) % 2, torch.arange(120) % 3, torch.linspace(0, 1, 120)), 1)
    assert attribute_report(asked, asked, columns) == {
        "attribute_accuracy": 1,
        "worst_attribute": 1,
        "attribute_r2": 1,
        "prevalence_tv": 0,
    }
    one = asked.clone()
    one[:, 0], one[:, 2] = 0, 0.5
    found = attribute_report(asked, one, columns)
    assert found["attribute_accuracy"] == pytest.approx(0.75) and found["worst_attribute"] == pytest.approx(0.5)
    assert found["attribute_r2"] == pytest.approx(0, abs=1e-6) and found["prevalence_tv"] == pytest.approx(0.5)


@pytest.mark.parametrize("name", ["w2", "condition_fid", "attribute_accuracy"])
def test_what_can_not_be_asked_is_said(name: str) -> None:
    features = normal((50, 2), "features")
    reals = Reals(features, features, Space((3, 8, 8), classes=2), None, 50, labels=torch.arange(50) % 2)
    with pytest.raises(FeatureError, match=r"circular-gaussians|set model.conditional|set evaluate.extractor"):
        METRICS[name](Comparison(reals, features))


def test_a_reader_learns_to_read_and_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("GANSWEEP_CACHE", str(tmp_path))
    monkeypatch.setattr(reading, "STEPS", 150)
    examples, held_out = scenes("train", 450), scenes("test", 150)
    data = Dataset("few", Space((3, 64, 64), columns=COLUMNS), examples, held_out)
    reader = load_reader(data, World.single())
    seen = reader.read(reader(held_out.floats()))
    assert held_out.labels is not None
    assert (seen[:, 1] == held_out.labels[:, 1]).float().mean() > 0.9, "the hour"
    assert "hour 9" in accuracy(reader, held_out) or "hour 100" in accuracy(reader, held_out)
    monkeypatch.setattr(reading, "_fit", None)
    again = load_reader(data, World.single())
    assert torch.equal(again.read(reader(held_out.floats())), seen)


def test_points_have_no_reader() -> None:
    with pytest.raises(UnusableSettingError, match="'reader' needs pictures with conditions"):
        load_reader(load(Data(name="ring")), World.single())
