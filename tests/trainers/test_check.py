"""Bad input is refused before training starts, by name and with a way out."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.trainers.small import config
from trainers.check import NAMES, problems
from trainers.config import Config, Data, Model
from trainers.data import DATASETS, Dataset, Examples, Space
from trainers.errors import DataError, UnusableSettingError
from trainers.families.gan import check as of_a_gan
from trainers.families.gan.training import GanTraining
from trainers.loop import train
from trainers.losses import LOSSES
from trainers.metrics import METRICS
from trainers.models import DISCRIMINATORS, GENERATORS
from trainers.world import World


def test_the_defaults_can_train_on_one_and_two_ranks() -> None:
    assert problems(Config()) == problems(Config(), ranks=2) == []
    assert problems(config()) == []


@pytest.mark.parametrize(
    ("groups", "ranks", "where", "says"),
    [
        ({"train": {"batch_size": 18}}, 4, "train.batch_size", "18 can't be shared by 4 ranks; 20 can"),
        ({"train": {"batch_size": 20, "packing": 3}}, 2, "train.batch_size", "in packs of 3; 24 can"),
        ({"train": {"loss": "relativistic", "packing": 3}}, 1, "train.batch_size", "16 can't be shared"),
        ({"train": {"images": 8}}, 1, "train.images", "less than one batch of 16"),
        ({"train": {"batch_size": 2000, "images": 4000}}, 1, "train.batch_size", "more than the 1437"),
        ({"train": {"loss": "hings"}}, 1, "train.loss", "unknown name"),
        ({"data": {"name": "ring"}, "model": {"conditional": True}}, 1, "model.conditional", "'ring' has none"),
        ({"data": {"name": "ring"}, "model": {"generator": "dcgan"}}, 1, "model.generator", "use 'mlp'"),
        ({"data": {"resolution": 32}}, 1, "data.resolution", "'digits' is 8x8, not 32x32"),
        (
            {"data": {"name": "images", "path": "x", "resolution": 48}, "model": {"generator": "r3gan"}},
            1,
            "data.resolution",
            "8, 16, 32, 64, 128, 256 pixels, not 48",
        ),
        ({"data": {"name": "parquet", "resolution": 32}}, 1, "data.path", "needs the place"),
        ({"model": {"generator_norm": "batch"}}, 2, "model.generator_norm", "exact on GPUs only"),
        ({"model": {"discriminator_norm": "batch"}, "train": {"r1_gamma": 1}}, 1, "train.r1_gamma", "batch norm"),
        ({"model": {"conditional": True}, "train": {"packing": 2}}, 1, "train.packing", "use 1"),
        (
            {"model": {"discriminator": "maxout", "discriminator_norm": "spectral"}},
            1,
            "model.discriminator_norm",
            "none",
        ),
        ({"train": {"augment": ["flip", "flip"]}}, 1, "train.augment", "twice"),
        ({"train": {"ada_target": 0.6}}, 1, "train.ada_target", "nothing to control"),
        (
            {"train": {"ada_target": 0.6, "augment": ["flip"], "loss": "relativistic"}},
            1,
            "train.ada_target",
            "means nothing under 'relativistic'",
        ),
        ({"data": {"name": "ring"}, "train": {"augment": ["flip"]}}, 1, "train.augment", "is for images"),
    ],
)
def test_what_cannot_train_is_named_with_a_way_out(groups: dict[str, Any], ranks: int, where: str, says: str) -> None:
    found = problems(config(**groups), ranks)
    assert any(name == where and says in message for name, message in found), found


def test_batch_norm_is_fine_alone_and_on_gpus() -> None:
    settings = config(model={"generator_norm": "batch"})
    assert problems(settings) == problems(settings, ranks=2, on_gpu=True) == []


def test_the_tables_of_names_are_complete() -> None:
    tables: dict[str, dict[str, Any]] = {
        "data.name": DATASETS,
        "model.generator": GENERATORS,
        "model.discriminator": DISCRIMINATORS,
        "train.loss": LOSSES,
        "evaluate.metrics": METRICS,
    }
    known = {**NAMES, **of_a_gan.NAMES}
    assert {where: set(names) for where, names in known.items()} == {where: set(t) for where, t in tables.items()}


def test_checking_needs_no_torch() -> None:
    code = "import sys; from trainers import check, config; check.problems(config.Config()); "
    code += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class Once(torch.autograd.Function):
    """The sum of each example, differentiable once."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.shape = x.shape
        return x.flatten(1).sum(1, keepdim=True)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient.view(-1, 1, 1, 1).expand(ctx.shape).clone()


class Rough(nn.Module):
    """A discriminator that is differentiable once."""

    def __init__(self, settings: Model, space: Space) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        total: Tensor = Once.apply(x)  # type: ignore[no-untyped-call]
        return total * self.scale


class Flat(Rough):
    """A discriminator whose answer does not depend smoothly on what it sees."""

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        return x.detach().flatten(1).sum(1, keepdim=True) * self.scale


class Wide(Rough):
    """A discriminator with two logits, a generator with too many colours."""

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        return x.new_zeros(len(x), 2) + self.scale


def test_networks_from_outside_are_tried_before_training() -> None:
    here = "tests.trainers.test_check:"
    with pytest.raises(UnusableSettingError, match=r"(?s)Rough' can't be differentiated twice.*set r1_gamma"):
        start(config(model={"discriminator": f"{here}Rough"}, train={"r1_gamma": 1.0}))
    with pytest.raises(UnusableSettingError, match=r"Flat' has no gradient"):
        start(config(model={"discriminator": f"{here}Flat"}))
    with pytest.raises(UnusableSettingError, match=r"answers with shape \(4, 2\)"):
        start(config(model={"discriminator": f"{here}Wide"}))
    with pytest.raises(UnusableSettingError, match=r"makes examples of shape \(2,\), the data has \(1, 8, 8\)"):
        start(config(model={"generator": f"{here}Wide"}))
    with pytest.raises(UnusableSettingError, match=r"(?s)Rough' can't be differentiated twice.*health.rewind"):
        start(config(model={"discriminator": f"{here}Rough"}, health={"rewind": 1}))
    start(config(model={"discriminator": f"{here}Rough"}))


def odd(settings: Data) -> Dataset:
    """Pictures of a size that no convolutional network makes."""
    return Dataset("odd", Space((1, 48, 48)), Examples(torch.zeros(99, 1, 48, 48)), Examples(torch.zeros(9, 1, 48, 48)))


def test_networks_are_tried_on_data_from_outside() -> None:
    with pytest.raises(
        UnusableSettingError, match=r"makes examples of shape \(1, 32, 32\), the data has \(1, 48, 48\)"
    ):
        start(config(data={"name": "tests.trainers.test_check:odd"}, model={"generator": "dcgan"}))


def test_unknown_names_are_refused_when_training_starts() -> None:
    with pytest.raises(UnusableSettingError, match=r"model.generator: unknown name 'dcgam'; did you mean 'dcgan'\?"):
        start(config(model={"generator": "dcgam"}))
    with pytest.raises(DataError, match="is not a folder"):
        start(config(data={"name": "images", "path": "/no/where"}))


def start(settings: Config) -> None:
    next(train(settings, World.single()))


def test_labels_missing_in_the_users_own_data_are_noticed() -> None:
    from trainers.data import load

    with pytest.raises(UnusableSettingError, match="a conditional model needs labels"):
        GanTraining(config(model={"conditional": True}), load(config(data={"name": "ring"}).data), World.single())
