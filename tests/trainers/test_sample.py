"""Samples depend on their own seed alone, and pictures show what they should."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.trainers.small import config
from trainers.data import Space
from trainers.errors import UnusableSettingError
from trainers.models import build_generator
from trainers.pictures import draw, image_grid, scatter
from trainers.sample import class_numbers, conditions, latents, sample, to_arrays, walk

SPACE = Space((3, 16, 16), classes=4)


@pytest.mark.parametrize("name", ["mlp", "dcgan", "resnet", "r3gan"])
def test_a_sample_is_independent_of_its_neighbours(name: str) -> None:
    settings = config(model={"generator": name, "width": 8})
    generator = build_generator(settings.model, SPACE).eval()
    seeds = np.array([7, 3, 123456789, 0, -5, *range(100, 140)], dtype=np.int64)
    together = sample(generator, settings, seeds)
    assert together.dtype == np.uint8
    assert together.shape == (45, 16, 16, 3)
    for place in (0, 2, 4, 44):
        np.testing.assert_array_equal(sample(generator, settings, seeds[place : place + 1])[0], together[place])
    np.testing.assert_array_equal(sample(generator, settings, seeds[::-1]), together[::-1])
    assert len({image.tobytes() for image in together}) == 45


def test_labels_decide_and_are_drawn_by_the_seed_where_missing() -> None:
    settings = config(model={"conditional": True})
    generator = build_generator(settings.model, SPACE).eval()
    seeds = np.full(4, 11)
    made = sample(generator, settings, seeds, labels=np.arange(4))
    assert len({image.tobytes() for image in made}) == 4
    (drawn,) = sample(generator, settings, seeds[:1])
    assert drawn.tobytes() in {image.tobytes() for image in made}


def test_classes_are_given_by_name_or_number_and_numbers_that_are_names_come_first() -> None:
    conditional, named = config(model={"conditional": True}), replace(SPACE, names=("cat", "dog", "1", "cow"))
    assert class_numbers(["dog", 3, "1", np.int64(0)], conditional, named).tolist() == [1, 3, 2, 0]
    assert class_numbers(["3", 0], conditional, SPACE).tolist() == [3, 0]
    from_one = replace(SPACE, names=("1", "2", "3", "4"))
    assert class_numbers([1, 4], conditional, from_one).tolist() == [0, 3]
    with pytest.raises(UnusableSettingError, match=r"'0' is none of the 4 classes \(1, 2, 3, 4\)"):
        class_numbers([0], conditional, from_one)
    with pytest.raises(UnusableSettingError, match=r"'4' is none of the 4 classes \(0, 1, 2, 3\)"):
        class_numbers([4], conditional, SPACE)
    with pytest.raises(UnusableSettingError, match="not conditional; leave the label out"):
        class_numbers([0], config(), SPACE)
    with pytest.raises(UnusableSettingError, match=r"^label: this generator takes no label; leave it out$"):
        conditions({"label": [0]}, config(), SPACE, np.zeros(1, np.int64))


def test_truncated_latents_keep_their_order_and_stay_inside() -> None:
    settings, seeds = config(), np.arange(400)
    whole, cut = latents(settings, seeds), latents(settings, seeds, 0.7)
    assert cut.abs().max() <= 0.7
    assert torch.equal(whole.flatten().argsort(), cut.flatten().argsort())
    assert torch.allclose(latents(settings, seeds, 8.0), whole, atol=1e-4)


def test_a_walk_passes_each_latent_in_small_steps_and_comes_back() -> None:
    waypoints = torch.randn(3, 64, generator=torch.Generator().manual_seed(0))
    way = walk(waypoints, 10)
    assert torch.allclose(way[::10], waypoints, atol=1e-5)
    steps = (way.roll(-1, 0) - way).norm(dim=1)
    assert steps.max() < 0.2 * waypoints.norm(dim=1).max()
    assert way.norm(dim=1).min() > 0.9 * waypoints.norm(dim=1).min()  # a straight line would cut through the middle


def test_no_seeds_give_no_samples() -> None:
    settings = config()
    generator = build_generator(settings.model, SPACE).eval()
    assert sample(generator, settings, np.zeros(0, np.int64)).shape == (0, 16, 16, 3)


def test_the_range_of_a_generator_fills_the_bytes() -> None:
    levels = to_arrays(torch.tensor([-1.2, -1.0, 0.0, 1.0, 1.3]).view(1, 1, 1, 5))
    assert levels.flatten().tolist() == [0, 0, 128, 255, 255]


def test_a_grid_keeps_rows_first_and_pixels_whole() -> None:
    images = np.zeros((3, 2, 2, 1), np.uint8)
    images[1] = 255
    picture = image_grid(images)
    assert picture.size == (516, 516), "two pixels of grey before each image"
    assert [picture.getpixel((x, y)) for x, y in ((10, 10), (500, 10), (10, 500), (0, 0))] == [0, 255, 0, 96]
    assert image_grid(np.zeros((5, 600, 600, 3), np.uint8)).size == (1806, 1204)


def test_a_scatter_shows_points_and_centres_and_bears_what_diverged() -> None:
    centers = ((1.0, 0.0), (-1.0, 0.0))
    picture = scatter(np.array([[0.0, 0.0], [np.nan, np.inf]], np.float32), centers)
    assert picture.getpixel((256, 256)) == (0, 0, 128)
    colours = {colour for _, colour in picture.getcolors() or []}
    assert (255, 0, 0) in colours
    assert draw(np.zeros((0, 2), np.float32)).size == (512, 512)
