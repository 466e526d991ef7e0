"""One global batch gives one result, on however many ranks."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.trainers.small import config
from trainers.config import Config
from trainers.data import load
from trainers.errors import UnusableSettingError
from trainers.families.gan.training import GanTraining
from trainers.world import World

STEPS = 50
PENALTIES = {"r1_gamma": 0.1, "r2_gamma": 0.1, "gp_lambda": 1.0}
CASES: dict[str, dict[str, Any]] = {
    "wrapped": {"train": {}},
    "penalties": {"train": PENALTIES},
    "lazy": {"train": {**PENALTIES, "penalty_interval": 4}},
    "packed": {"train": {**PENALTIES, "packing": 2}},
    "relativistic": {"train": {"loss": "relativistic", "r1_gamma": 0.1, "r2_gamma": 0.1, "n_dis": 2}},
    "augmented": {"train": {"augment": ("color", "translation", "cutout", "flip"), "ada_target": 0.0}},
    "conditional": {"model": {"conditional": True}, "train": PENALTIES},
    "convolutional": {
        "model": {"generator": "dcgan", "discriminator": "dcgan", "discriminator_norm": "spectral", "width": 8},
        "train": {"loss": "hinge"},
    },
}


@pytest.mark.parametrize("case", CASES)
def test_one_two_and_four_ranks_reach_the_same_parameters(case: str, on_ranks: Any) -> None:
    settings = config(**CASES[case])
    alone = _trained(World.single(), settings)
    for size in (2, 4):
        for parameters in on_ranks(size, _trained, settings):
            difference = float((parameters - alone).norm() / alone.norm())
            assert difference < 1e-6, f"{size} ranks differ from one by {difference:.1e}"


def _trained(world: World, settings: Config) -> torch.Tensor:
    training = GanTraining(settings, load(settings.data), world)
    for _ in range(STEPS):
        training.step()
    assert world.replicas_equal(training.parameters())
    return torch.cat([p.detach().flatten() for p in training.parameters()])


def test_replicas_that_differ_in_one_bit_are_noticed_on_every_rank(on_ranks: Any) -> None:
    assert on_ranks(2, _drifted, 0.0) == [True, True]
    assert on_ranks(2, _drifted, 1e-7) == [False, False]


def _drifted(world: World, by: float) -> bool:
    return world.replicas_equal([torch.ones(3) + by * world.rank])


def test_every_rank_takes_rank_zeros_word(on_ranks: Any) -> None:
    assert on_ranks(2, _agreed) == [{"fid": 0.0, "text": "ö"}] * 2


def _agreed(world: World) -> Any:
    return world.agree({"fid": float(world.rank), "text": "ö" if world.rank == 0 else "other"})


def test_rows_gather_in_rank_order_and_means_are_global(on_ranks: Any) -> None:
    for rows, mean in on_ranks(4, _collected):
        assert rows.tolist() == [0, 10, 20, 30]
        assert mean == 15


def _collected(world: World) -> tuple[torch.Tensor, float]:
    mine = torch.tensor([world.rank * 10.0])
    return world.all_gather(mine), float(world.mean(mine.clone()))


def test_a_single_process_needs_no_process_group() -> None:
    world = World.single()
    module = torch.nn.Linear(2, 2)
    assert world.wrap(module) is module
    assert world.agree({"a": 1}) == {"a": 1}
    assert world.part(8) == slice(0, 8)


class Normalised(torch.nn.Module):
    """A network from outside with batch norm in it."""

    def __init__(self, settings: Any, space: Any) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(8, 64), torch.nn.BatchNorm1d(64))

    def forward(self, latents: torch.Tensor, labels: Any = None) -> torch.Tensor:
        made: torch.Tensor = self.layers(latents).view(-1, 1, 8, 8)
        return made


def test_batch_norm_in_a_network_from_outside_is_refused_over_cpu_ranks() -> None:
    settings = config(model={"generator": f"{__name__}:Normalised"})
    GanTraining(settings, load(settings.data), World.single()).step()
    with pytest.raises(UnusableSettingError, match="Normalised has batch norm, which over 2 ranks"):
        GanTraining(settings, load(settings.data), World(0, 2, torch.device("cpu")))


def test_bf16_trains_close_to_fp32() -> None:
    model = {"generator": "dcgan", "discriminator": "dcgan", "width": 8}
    exact, rough = (
        _trained(World.single(), config(model=model, train={"loss": "hinge", "precision": precision}))
        for precision in ("fp32", "bf16")
    )
    assert 0 < float((exact - rough).norm() / exact.norm()) < 0.05
