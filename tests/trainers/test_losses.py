"""Losses against their formulas in the papers, and where naive code overflows."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from trainers.losses import LOSSES

REAL = torch.tensor([-3.0, -0.5, 0.0, 2.0], dtype=torch.float64)
FAKE = torch.tensor([1.5, -2.0, 0.0, 0.3], dtype=torch.float64)


def log_d(logit: Tensor) -> Tensor:
    return (1 / (1 + (-logit).exp())).log()


def log_not_d(logit: Tensor) -> Tensor:
    return (1 - 1 / (1 + (-logit).exp())).log()


FORMULAS = {
    "minimax": (-log_d(REAL) - log_not_d(FAKE), log_not_d(FAKE)),
    "non_saturating": (-log_d(REAL) - log_not_d(FAKE), -log_d(FAKE)),
    "least_squares": ((REAL - 1) ** 2 / 2 + FAKE**2 / 2, (FAKE - 1) ** 2 / 2),
    "hinge": ((1 - REAL).clamp(min=0) + (1 + FAKE).clamp(min=0), -FAKE),
    "wasserstein": (FAKE - REAL, -FAKE),
    "relativistic": (-log_d(REAL - FAKE), -log_d(FAKE - REAL)),
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_what_its_paper_says(name: str) -> None:
    discriminator, generator = FORMULAS[name]
    torch.testing.assert_close(LOSSES[name].discriminator(REAL, FAKE), discriminator)
    torch.testing.assert_close(LOSSES[name].generator(REAL, FAKE), generator)


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_and_its_gradient_stay_finite_at_any_logit(name: str) -> None:
    for size in (1e2, 1e4):
        real = torch.tensor([size, -size, size, -size], requires_grad=True)
        fake = torch.tensor([size, -size, -size, size], requires_grad=True)
        for player in LOSSES[name][:2]:
            value = player(real, fake)
            gradients = torch.autograd.grad(value.sum(), (real, fake), allow_unused=True, materialize_grads=True)
            assert all(bool(t.isfinite().all()) for t in (value, *gradients))


@pytest.mark.parametrize("name", LOSSES)
def test_the_players_want_opposite_things_of_a_generated_example(name: str) -> None:
    for player, sign in ((LOSSES[name].discriminator, 1), (LOSSES[name].generator, -1)):
        fake = torch.tensor([0.1], requires_grad=True)
        (gradient,) = torch.autograd.grad(player(torch.tensor([0.2]), fake).sum(), fake)
        assert gradient.item() * sign > 0


def test_a_lost_generator_still_learns_with_the_non_saturating_loss() -> None:
    fake = torch.tensor([-20.0], requires_grad=True)
    (saturated,) = torch.autograd.grad(LOSSES["minimax"].generator(fake, fake).sum(), fake)
    (alive,) = torch.autograd.grad(LOSSES["non_saturating"].generator(fake, fake).sum(), fake)
    assert abs(saturated.item()) < 1e-8
    assert alive.item() == pytest.approx(-1)


def test_a_discriminator_that_knows_nothing_pays_log_two_per_judgement() -> None:
    zero = torch.zeros(1)
    assert LOSSES["relativistic"].discriminator(zero, zero).item() == pytest.approx(math.log(2))
    assert LOSSES["minimax"].discriminator(zero, zero).item() == pytest.approx(2 * math.log(2))
