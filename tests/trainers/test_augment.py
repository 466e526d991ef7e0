"""Augmentations do what they say, let gradients through, and hold still where p is zero."""

from __future__ import annotations

import pytest
import torch

from tests.trainers.small import config
from trainers.data import load
from trainers.families.gan.training import GanTraining
from trainers.players.augment import NOISE, POLICIES, adjusted, augment
from trainers.world import World


def noise(n: int = 8) -> torch.Tensor:
    return torch.rand(n, NOISE, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_changes_images_and_passes_gradients(name: str) -> None:
    images = torch.rand(8, 3, 16, 16, requires_grad=True)
    changed = augment(images, [name], noise())
    assert changed.shape == images.shape
    assert not torch.equal(changed, images)
    torch.autograd.backward(changed.sum())
    assert images.grad is not None and images.grad.abs().sum() > 0
    torch.testing.assert_close(augment(images, [name], noise()), changed)


def test_probability_zero_is_nothing_and_one_is_everything() -> None:
    images, policies = torch.rand(8, 3, 16, 16), list(POLICIES)
    assert torch.equal(augment(images, policies, noise(), torch.tensor(0.0)), images)
    torch.testing.assert_close(
        augment(images, policies, noise(), torch.tensor(1.0)), augment(images, policies, noise())
    )


def test_translation_moves_by_at_most_an_eighth_and_fills_with_zeros() -> None:
    images = torch.zeros(64, 1, 16, 16)
    images[:, :, 8, 8] = 1
    places = augment(images, ["translation"], noise(64)).squeeze(1).nonzero()[:, 1:]
    assert len(places) == 64
    assert (places - 8).abs().max() == 2
    assert augment(torch.ones(64, 1, 16, 16), ["translation"], noise(64)).sum((1, 2, 3)).min() == 14 * 14


def test_cutout_removes_at_most_a_quarter() -> None:
    left = augment(torch.ones(256, 1, 16, 16), ["cutout"], noise(256)).sum((1, 2, 3))
    assert left.min() == 256 - 64
    assert left.max() < 256


def test_flip_mirrors_half_of_the_images() -> None:
    images = torch.rand(200, 1, 4, 4)
    flipped = augment(images, ["flip"], noise(200))
    mirrored = (flipped == images.flip(3)).all((1, 2, 3))
    assert 60 < mirrored.sum() < 140
    assert torch.equal(flipped[~mirrored], images[~mirrored])


def test_the_controller_listens_to_every_example_since_its_last_move() -> None:
    """Karras 2020, section 3.1: r_t is over four batches, not over the last of them."""
    settings = config(train={"augment": ["flip"], "ada_target": 0.6})
    training = GanTraining(settings, load(settings.data), World.single())
    for number, logit in enumerate((-2.0, 3.0, 3.0, 3.0)):  # 0.5 in the mean
        training._adjust(number, torch.full((16,), logit), 0.6)
    assert training.players.ada == 0, "under the target"
    for number in range(4, 8):
        training._adjust(number, torch.ones(16), 0.6)
    assert training.players.ada.item() == pytest.approx(16 * 4 / 500_000)


def test_the_controller_raises_p_when_the_discriminator_is_too_sure() -> None:
    p = torch.tensor(0.5)
    step = 64 * 4 / 500_000
    assert adjusted(p, torch.tensor(0.9), 0.6, 64).item() == pytest.approx(0.5 + step)
    assert adjusted(p, torch.tensor(0.1), 0.6, 64).item() == pytest.approx(0.5 - step)
    assert adjusted(torch.tensor(0.0), torch.tensor(0.1), 0.6, 64).item() == 0
