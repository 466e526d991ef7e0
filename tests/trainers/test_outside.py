"""Networks from outside: random layers, frozen parts, unused parts, code that raises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.trainers.small import config
from trainers.config import Config, Model
from trainers.data import Space, load
from trainers.errors import UnusableSettingError
from trainers.families.gan.training import GanTraining
from trainers.loop import train
from trainers.state import load as read
from trainers.world import World


class Discriminator(nn.Module):
    """One of the user's own, on digits."""

    def __init__(self, settings: Model, space: Space) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.GELU())
        self.head = nn.Linear(16, 1)

    def forward(self, examples: Tensor, labels: Tensor | None = None) -> Tensor:
        logits: Tensor = self.head(self.layers(examples))
        return logits


class WithDropout(Discriminator):
    def __init__(self, settings: Model, space: Space) -> None:
        super().__init__(settings, space)
        self.layers.append(nn.Dropout(0.5))


class OnFrozenFeatures(Discriminator):
    def __init__(self, settings: Model, space: Space) -> None:
        super().__init__(settings, space)
        self.layers.requires_grad_(False)


class WithAnUnusedPart(Discriminator):
    def __init__(self, settings: Model, space: Space) -> None:
        super().__init__(settings, space)
        self.never = nn.Linear(3, 3)


class ForAnotherSize(Discriminator):
    def __init__(self, settings: Model, space: Space) -> None:
        super().__init__(settings, space)
        self.layers[1] = nn.Linear(100, 16)


def own(network: type[nn.Module], **groups: Any) -> Config:
    model = {"discriminator": f"{__name__}:{network.__name__}"}
    return config(model=model, **groups)


def test_random_layers_are_a_function_of_seed_and_step(tmp_path: Path) -> None:
    settings = own(WithDropout)
    whole = list(train(settings, World.single(), out=tmp_path / "whole"))
    torch.manual_seed(123)
    first = next(train(settings, World.single(), out=tmp_path / "parts"))
    torch.manual_seed(321)
    (second,) = train(settings, World.single(), resume=first.checkpoint, out=tmp_path / "parts")
    assert second.losses == whole[-1].losses
    one, other = (read(report.checkpoint).tensors for report in (whole[-1], second))  # type: ignore[arg-type]
    assert all(torch.equal(value, other[group][name]) for group in one for name, value in one[group].items())


@pytest.mark.parametrize("gamma", [0.0, 0.1])
def test_frozen_parts_stay_as_they_were(gamma: float) -> None:
    training = GanTraining(own(OnFrozenFeatures, train={"r1_gamma": gamma}), load(config().data), World.single())
    before = {name: value.clone() for name, value in training.players.discriminator.state_dict().items()}
    for _ in range(3):
        training.step()
    moved = {n for n, value in training.players.discriminator.state_dict().items() if not value.equal(before[n])}
    assert moved == {"head.weight", "head.bias"}


def test_parts_that_nothing_uses_trouble_no_number_of_ranks(on_ranks: Any) -> None:
    zero, one = on_ranks(2, _weights, own(WithAnUnusedPart))
    assert torch.equal(zero, one)
    assert torch.allclose(zero, _weights(World.single(), own(WithAnUnusedPart)), rtol=1e-4, atol=1e-6)


def test_code_that_raises_is_told_in_one_line() -> None:
    says = r"model.discriminator: '.*:ForAnotherSize' fails on inputs of shape \(4, 1, 8, 8\): RuntimeError: mat1"
    with pytest.raises(UnusableSettingError, match=says):
        GanTraining(own(ForAnotherSize), load(config().data), World.single())


def _weights(world: World, settings: Config) -> Tensor:
    training = GanTraining(settings, load(settings.data), world)
    for _ in range(5):
        training.step()
    return torch.cat([p.detach().flatten() for p in training.parameters()])
