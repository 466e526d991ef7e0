"""What follows from the clock and the data's scale alone: penalties due, rates, how much an average forgets."""

from __future__ import annotations

import pytest

from tests.trainers.small import config
from trainers.data import load
from trainers.families.gan.step import Penalties
from trainers.families.gan.training import GanTraining
from trainers.world import World


def training(**groups: object) -> GanTraining:
    settings = config(**groups)
    return GanTraining(settings, load(settings.data), World.single())


def due(one: GanTraining, number: int) -> Penalties:
    return one._penalties(number, one._real(number)[0])


def test_a_lazy_penalty_is_due_every_nth_step_and_as_much_heavier() -> None:
    one = training(train={"r1_gamma": 0.5, "penalty_interval": 4})
    unit = one.scale**2
    assert [due(one, n).r1_gamma for n in range(5)] == pytest.approx([2.0 * unit, 0, 0, 0, 2.0 * unit])


def test_penalties_mean_the_same_on_data_of_any_spread() -> None:
    one = training(data={"name": "grid"}, train={"r1_gamma": 0.5, "r2_gamma": 1.0, "gp_lambda": 3.0})
    assert one.scale > 2
    found = due(one, 0)
    assert (found.r1_gamma, found.r2_gamma) == pytest.approx((0.5 * one.scale**2, one.scale**2))
    assert (found.gp_lambda, found.unit) == (3.0, one.scale)


def test_schedules_follow_the_images() -> None:
    one = training(
        train={"images": 1600, "generator_lr": 2e-3, "lr_schedule": "linear", "lr_final": 0.5, "r1_gamma": 1.0}
        | {"penalty_schedule": "linear", "penalty_final": 0.0}
    )
    assert [one.players.rate("generator", images) for images in (0, 800, 1600)] == pytest.approx([2e-3, 1.5e-3, 1e-3])
    one.images = 800
    assert due(one, 0).r1_gamma == pytest.approx(0.5 * one.scale**2)


def test_the_average_forgets_half_in_its_half_life() -> None:
    players = training(train={"batch_size": 16, "n_dis": 2, "ema_half_life": 320, "ema_ramp": 0.1}).players
    assert players.keep(1_000_000) ** (320 / 32) == pytest.approx(0.5), "one move per 32 images"
    assert players.keep(1600) ** (160 / 32) == pytest.approx(0.5), "at first, a tenth of the images so far"
