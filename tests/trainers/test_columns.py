"""Data whose examples have conditions: columns, what is drawn by code, balance, and labels that fit nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from trainers.config import Data
from trainers.data import Dataset, Examples, Space, describe, load
from trainers.data.conditions import Column, columns, kinds
from trainers.data.faces import COLUMNS as OF_FACES
from trainers.data.faces import FREE, draw, drawn
from trainers.data.scenes import COLUMNS, HOURS, WEATHERS, scenes
from trainers.errors import DataError, UnusableSettingError
from trainers.world import World


def test_texts_are_classes_and_numbers_are_numbers() -> None:
    labels, found = columns({"kind": ["dog", "cat", "dog"], "age": torch.tensor([3.0, 9.0, 4.0])}, {"age": 12.0})
    assert labels.tolist() == [[1, 3], [0, 9], [1, 4]]
    assert found == (Column("kind", ("cat", "dog")), Column("age", low=3.0, high=9.0, period=12.0))


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"kind": ["a", "b"], "age": torch.zeros(3)}, r"unequal length \(kind has 2, age has 3\)"),
        ({"age": torch.tensor([1.0, torch.nan])}, "'age' holds a value that is not finite"),
        ({"kind": []}, "'kind' is empty"),
        ({"age": torch.full((3,), 5.0)}, "'age' is 5 for every example: .*; leave the column out"),
    ],
)
def test_columns_that_fit_nothing_are_refused(values: dict[str, Any], says: str) -> None:
    with pytest.raises(DataError, match=says):
        columns(values)


def test_scenes_are_a_function_of_their_row_and_show_all_there_is() -> None:
    few, more = scenes("test", 60), scenes("test", 60)
    assert torch.equal(few.values, more.values) and few.labels is not None
    assert few.values.shape == (60, 3, 64, 64) and few.values.dtype == torch.uint8
    combined = kinds(few.labels, COLUMNS)
    assert combined is not None and torch.bincount(combined).tolist() == [4] * len(WEATHERS) * len(HOURS)
    fog, weather = few.labels[:, 2], few.labels[:, 0]
    assert fog[weather == WEATHERS.index("fog")].min() > fog[weather != WEATHERS.index("fog")].max()
    light = [few.values[few.labels[:, 1] == hour].float().mean() for hour in range(len(HOURS))]
    assert light[0] > light[1] > light[2]


def test_every_condition_of_a_face_shows_and_nothing_else_tells_it() -> None:
    few, more = drawn("test", 40), drawn("test", 40)
    assert torch.equal(few.values, more.values) and few.labels is not None
    assert few.values.shape == (40, 3, 64, 64) and few.values.dtype == torch.uint8
    many = drawn("train", 2_000).labels
    assert many is not None
    for number, column in enumerate(OF_FACES):
        found = torch.bincount(many[:, number].long(), minlength=len(column.names)) / len(many)
        assert (found - 1 / len(column.names)).abs().max() < 0.05
        free = torch.full((1, FREE), 0.5)
        shown = [draw(torch.zeros(1, 6).index_fill_(1, torch.tensor([number]), float(k)), free).float()
                 for k in range(len(column.names))]  # fmt: skip
        differ = [(one - other).abs().gt(16).any(1).sum() for one in shown for other in shown if one is not other]
        assert min(differ) >= 20, f"{column.name}: pixels that tell two values apart"
    assert torch.corrcoef(many.T).fill_diagonal_(0).abs().max() < 0.1


def test_circular_gaussians_are_judged_where_nothing_was_trained() -> None:
    data = load(Data(name="circular-gaussians"))
    assert isinstance(data.train, Examples) and data.train.labels is not None and data.asked is not None
    assert (len(data), len(torch.unique(data.train.labels)), len(data.asked)) == (1_200, 120, 360)
    assert not set(data.train.labels.flatten().tolist()) & set(data.asked.flatten().tolist())
    assert "conditions: angle (0 to 360, around)" in describe(data)[0]


def test_a_balanced_order_shows_rare_classes_as_often() -> None:
    labels = torch.tensor([0] * 90 + [1] * 10)
    data = Dataset("uneven", Space((1,), classes=2), Examples(torch.zeros(100, 1), labels), Examples(torch.zeros(0, 1)))
    order = data.order(10, seed=1, even=True)
    shown = torch.cat([order.rows(step, World.single()) for step in range(10)])
    assert torch.bincount(labels[shown]).tolist() == [50, 50]
    again = data.order(10, seed=1, even=True)
    assert torch.equal(again.rows(7, World.single()), order.rows(7, World.single())), "a function of the step"
    parts = [order.rows(3, World(rank, 2, torch.device("cpu"))) for rank in range(2)]
    assert torch.equal(torch.cat(parts), order.rows(3, World.single()))


def test_numbers_cannot_be_balanced() -> None:
    with pytest.raises(UnusableSettingError, match=r"train\.balanced: needs classes"):
        load(Data(name="circular-gaussians")).order(10, seed=1, even=True)


@pytest.mark.parametrize(
    ("space", "labels", "says"),
    [
        (Space((2,), 3), torch.zeros(9, dtype=torch.int64), r"train split has labels of shape \(9,\) for 10 examples"),
        (Space((2,), 3), torch.arange(10), "label from 0 to 9; its 3 classes are 0 to 2"),
        (Space((2,), columns=COLUMNS), torch.zeros(10, 2), "with conditions weather, hour, fog; give each example one"),
        (Space((2,), columns=COLUMNS), torch.full((10, 3), 4.0), "hour from 4 to 4; its 3 classes are 0 to 2"),
    ],
)
def test_labels_that_fit_no_example_are_refused(space: Space, labels: Tensor, says: str) -> None:
    examples = Examples(torch.zeros(10, 2), labels)
    with pytest.raises(DataError, match=says):
        Dataset("mine", space, examples, examples)


def test_combinations_of_classes_are_balanced_whatever_numbers_stand_beside_them() -> None:
    labels = torch.tensor([[0.0, 0.0, 0.1]] * 80 + [[1.0, 2.0, 0.9]] * 20)
    rows = Dataset(
        "uneven", Space((1,), columns=COLUMNS), Examples(torch.zeros(100, 1), labels), Examples(torch.zeros(0, 1))
    ).order(50, 1, True)
    shown = torch.cat([labels[rows.rows(step, World.single()), 0] for step in range(2)])
    assert torch.bincount(shown.long()).tolist() == [50, 50]
