"""One step of each player: the Dirac-GAN, penalties with a known value, and who gets gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from trainers.families.gan.step import (
    Mismatch,
    Penalties,
    discriminator_step,
    generator_step,
    penalised_discriminator_step,
)
from trainers.losses import LOSSES
from trainers.players.penalties import squared_gradient_norm, unit_gradient

NS = LOSSES["non_saturating"]


class Point(nn.Module):
    """A generator that makes one point, or a discriminator with one slope (Mescheder 2018, definition 2.1)."""

    def __init__(self, value: float, slope: bool) -> None:
        super().__init__()
        self.value, self.slope = nn.Parameter(torch.tensor([[value]])), slope

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        return x * self.value if self.slope else self.value.expand(len(x), 1)


def dirac(penalties: Penalties, steps: int = 500, h: float = 0.2) -> Tensor:
    """Distances from the equilibrium (0, 0) while the players of the Dirac-GAN take turns, starting at (1, 1)."""
    generator, discriminator = Point(1.0, slope=False), Point(1.0, slope=True)
    real, distances = torch.zeros(1, 1), []
    for _ in range(steps):
        fake = generator(real).detach()
        penalised_discriminator_step(discriminator, real, fake, None, NS, penalties, lambda x: x, lambda x: x)
        descend(discriminator, h)
        generator_step(generator, discriminator, real, real, None, NS, lambda x: x)
        descend(generator, h)
        distances.append(torch.hypot(generator.value, discriminator.value).item())
    return torch.tensor(distances)


def descend(player: Point, h: float) -> None:
    assert player.value.grad is not None
    with torch.no_grad():
        player.value.sub_(h * player.value.grad)
    player.value.grad = None


@pytest.mark.parametrize("gamma", [0.3, 1.0])
def test_the_dirac_gan_converges_with_r1(gamma: float) -> None:
    assert dirac(Penalties(r1_gamma=gamma))[-1] < 1e-3


def test_the_dirac_gan_circles_without_a_penalty() -> None:
    assert dirac(Penalties()).min() > 0.25


def test_r1_follows_its_formula_step_by_step() -> None:
    """With psi the slope and theta the point: psi <- psi - h (sigmoid(psi theta) theta + gamma psi)."""
    h, gamma = 0.2, 1.0
    theta = psi = torch.ones(())
    expected = []
    for _ in range(20):
        psi = psi - h * (torch.sigmoid(psi * theta) * theta + gamma * psi)
        theta = theta + h * torch.sigmoid(-psi * theta) * psi
        expected.append(torch.hypot(theta, psi))
    torch.testing.assert_close(dirac(Penalties(r1_gamma=gamma), steps=20), torch.stack(expected))


def test_the_gradient_norm_of_a_linear_critic_is_its_weight() -> None:
    linear = nn.Linear(5, 1)
    x = torch.randn(7, 5, requires_grad=True)
    norms = squared_gradient_norm(linear(x), x)
    torch.testing.assert_close(norms, linear.weight.square().sum().expand(7))
    expected = (linear.weight.norm() - 1).square().expand(7)
    torch.testing.assert_close(unit_gradient(linear, torch.randn(7, 5)), expected)


def test_the_gradient_norm_of_a_pack_runs_over_all_its_members() -> None:
    linear = nn.Linear(6, 1)
    x = torch.randn(4, 3, requires_grad=True)
    norms = squared_gradient_norm(linear(x.reshape(2, 6)), x)
    torch.testing.assert_close(norms, linear.weight.square().sum().expand(2))


@pytest.mark.parametrize("name", ["r1_gamma", "r2_gamma"])
def test_a_penalty_weighs_half_gamma(name: str) -> None:
    none = Penalties()
    gradients = []
    for gamma in (0.0, 3.0):
        discriminator = Point(0.7, slope=True)
        real = fake = torch.ones(4, 1)
        penalties = none._replace(r1_gamma=gamma) if name == "r1_gamma" else none._replace(r2_gamma=gamma)
        penalised_discriminator_step(discriminator, real, fake, None, NS, penalties, lambda x: x, lambda x: x)
        assert discriminator.value.grad is not None
        gradients.append(discriminator.value.grad.item())
    assert gradients[1] - gradients[0] == pytest.approx(3.0 * 0.7)  # d/dw (gamma / 2 * w^2)


def test_a_flat_critic_gets_no_nan_from_wgan_gp() -> None:
    linear = nn.Linear(3, 1)
    nn.init.zeros_(linear.weight)
    torch.autograd.backward(unit_gradient(linear, torch.randn(4, 3)).mean())
    assert linear.weight.grad is not None and torch.equal(linear.weight.grad, torch.zeros(1, 3))


@pytest.mark.parametrize(("mix", "expected"), [(0.25, -4.0), (0.5, -4.0 + 10 * 2 * (2 - 1) * 2)])
def test_wgan_gp_looks_between_real_and_generated(mix: float, expected: float) -> None:
    """The critic w x^2 has slope 2 w x: 1 a quarter of the way to 2, where the penalty is least, and 2 half-way."""

    class Square(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.ones(1))

        def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
            return self.w * x.square()

    critic, identity = Square(), lambda x: x
    real, fake = torch.full((1, 1), 2.0), torch.zeros(1, 1)
    penalties = Penalties(gp_lambda=10.0, mix=torch.full((1, 1), mix))
    penalised_discriminator_step(critic, real, fake, None, LOSSES["wasserstein"], penalties, identity, identity)
    assert critic.w.grad is not None
    assert critic.w.grad.item() == pytest.approx(expected)


def test_one_forward_and_two_forwards_find_the_same_gradients() -> None:
    torch.manual_seed(0)
    discriminator = nn.Sequential(nn.Linear(3, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1))

    def critic(x: Tensor, labels: Tensor | None) -> Tensor:
        logits: Tensor = discriminator(x)
        return logits

    real, fake = torch.randn(6, 3), torch.randn(6, 3)
    found = []
    for apart in (False, True):
        discriminator.zero_grad()
        if apart:
            penalised_discriminator_step(critic, real, fake, None, NS, Penalties(), lambda x: x, lambda x: x)
        else:
            discriminator_step(critic, real, fake, None, NS)
        found.append([p.grad for p in discriminator.parameters()])
    torch.testing.assert_close(found[0], found[1])


def test_a_step_gives_gradients_to_its_own_player_only() -> None:
    generator, discriminator = Point(1.0, slope=False), Point(1.0, slope=True)
    real = torch.zeros(2, 1)
    generator_step(generator, discriminator, real, real, None, LOSSES["relativistic"], lambda x: x)
    assert generator.value.grad is not None
    assert discriminator.value.grad is None
    assert discriminator.value.requires_grad, "the discriminator learns again in its own step"


class Told(nn.Module):
    """A logit that is the weight of the label."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(3))

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        assert labels is not None
        return self.weights[labels][:, None]


@pytest.mark.parametrize("share", [0.5, 0.2])
def test_a_mismatch_weighs_as_gan_cls_says(share: float) -> None:
    """At D = 0 an example's share is worth s / 2 of logit: real and right -1/2, generated (1 - s)/2, wrong s/2."""
    critic, x, right, wrong = Told(), torch.zeros(1, 1), torch.tensor([0]), torch.tensor([2])
    mismatch = Mismatch(wrong, share)
    told = penalised_discriminator_step(critic, x, x, right, NS, Penalties(), lambda x: x, lambda x: x, mismatch)
    assert critic.weights.grad is not None
    torch.testing.assert_close(critic.weights.grad, torch.tensor([-0.5 + (1 - share) / 2, 0.0, share / 2]))
    torch.testing.assert_close(told.loss, 2 * torch.log(torch.tensor(2.0)))  # which is told without it
