"""Small pieces: averaging, schedules, randomness, names, tallies."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from tests.trainers.small import config
from trainers.data import Order, load
from trainers.errors import UnusableSettingError
from trainers.families.gan.training import GanTraining
from trainers.players import ema
from trainers.players.tally import Tally
from trainers.randomness import key, normal
from trainers.reading.registry import lookup
from trainers.schedule import share
from trainers.world import World


def test_a_weight_has_lost_half_its_share_after_the_half_life() -> None:
    average, model = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    nn.init.ones_(average.weight)
    nn.init.zeros_(model.weight)
    for _ in range(1000 // 20):
        ema.update([average.weight], [model.weight], ema.decay(half_life=1000, batch_size=20))
    assert average.weight.item() == pytest.approx(0.5, rel=1e-4)


def test_no_half_life_is_no_average_and_buffers_are_copied() -> None:
    settings = config(model={"generator_norm": "batch"}, train={"ema_half_life": 0})
    training = GanTraining(settings, load(settings.data), World.single())
    for _ in range(3):
        training.step()
    players = training.players
    assert any("running_mean" in name for name in players.average.state_dict())
    torch.testing.assert_close(players.average.state_dict(), players.generator.state_dict())


def test_schedules_start_whole_and_end_at_their_last_share() -> None:
    assert share("constant", 0.1, 0.7) == 1
    assert [share("linear", 0.2, p) for p in (0, 0.5, 1, 2)] == pytest.approx([1, 0.6, 0.2, 0.2])
    assert [share("cosine", 0.2, p) for p in (0, 0.5, 1, 2)] == pytest.approx([1, 0.6, 0.2, 0.2])
    assert share("cosine", 0.0, 0.25) > share("linear", 0.0, 0.25)


def test_random_numbers_follow_from_what_they_are_for() -> None:
    assert key(0, 1, "a") == key(0, 1, "a")
    assert len({key(0, 1, "a"), key(1, 0, "a"), key(0, 1, "b"), key(0, 11, "a"), key(0, 1, "", "a")}) == 5
    assert torch.equal(normal((3,), 5, "x"), normal((3,), 5, "x"))


@pytest.mark.parametrize("blocks", [(), (10, 20, 5, 30, 10, 5, 5, 5, 5, 5)])
def test_every_epoch_shows_every_example_once(blocks: tuple[int, ...]) -> None:
    world, order = World.single(), Order(100, 24, seed=3, blocks=blocks)
    shown = torch.cat([order.rows(step, world) for step in range(25)])
    epochs = shown.view(6, 100)
    assert all(epoch.sort().values.tolist() == list(range(100)) for epoch in epochs)
    assert not torch.equal(epochs[0], epochs[1])
    assert torch.equal(Order(100, 24, 3, blocks).rows(17, world), order.rows(17, world)), "any step can come first"
    assert not torch.equal(Order(100, 24, 4, blocks).rows(0, world), order.rows(0, world))


def test_rows_of_a_block_stay_near_each_other() -> None:
    order = Order(1000, 100, seed=0, blocks=(10,) * 100)
    for step in range(10):
        assert len({int(row) // 10 for row in order.rows(step, World.single())}) <= 24


def test_ranks_share_the_global_batch() -> None:
    order = Order(50, 24, seed=0)
    parts = [order.rows(2, World(rank, 4, torch.device("cpu"))) for rank in range(4)]
    assert torch.equal(torch.cat(parts), order.rows(2, World.single()))


def test_names_and_dotted_paths_are_found_and_typos_get_a_hint() -> None:
    table = {"dcgan": 1, "mlp": 2}
    assert lookup(table, "mlp", "model.generator") == 2
    assert lookup(table, "trainers.players.tally:Tally", "model.generator") is Tally
    with pytest.raises(UnusableSettingError, match=r"model.generator: unknown name 'dcgam'; did you mean 'dcgan'\?"):
        lookup(table, "dcgam", "model.generator")
    with pytest.raises(UnusableSettingError, match="cannot import 'nowhere:Net'"):
        lookup(table, "nowhere:Net", "model.generator")


def test_a_tally_gives_means_and_counts_and_starts_anew() -> None:
    tally, world = Tally(), World.single()
    for value in (1.0, 2.0, 6.0):
        tally.add({"loss": torch.tensor(value), "sign": torch.tensor(1.0)})
    tally.add({"loss": torch.tensor(7.0)})
    assert not tally.broken()
    assert tally.read(world) == {"loss": 4.0, "sign": 1.0, "nonfinite": 0}
    assert tally.read(world) == {}


def test_a_tally_counts_the_steps_that_broke_and_does_not_hide_them() -> None:
    tally = Tally()
    for value in (1.0, math.nan, math.inf):
        tally.add({"loss": torch.tensor(value), "norm": torch.tensor(value)})
    assert tally.broken()
    values = tally.read(World.single())
    assert values["nonfinite"] == 2
    assert math.isnan(values["loss"])
    assert not tally.broken()
