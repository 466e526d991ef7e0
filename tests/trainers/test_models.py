"""Every network, at every size it claims."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from trainers.check import RESOLUTIONS
from trainers.config import Config, Model, Train
from trainers.data import Space
from trainers.models import DISCRIMINATORS, GENERATORS, build_discriminator, build_generator, parameter_counts


def model(**values: Any) -> Model:
    return Model.model_validate({"latent_dim": 8, "width": 2, "depth": 1, **values})


@pytest.mark.parametrize("resolution", RESOLUTIONS)
@pytest.mark.parametrize("name", GENERATORS)
def test_networks_make_and_judge_images_of_every_size(name: str, resolution: int) -> None:
    space = Space((3, resolution, resolution))
    settings = model(generator=name, discriminator=name)
    images = build_generator(settings, space)(torch.randn(2, 8))
    assert images.shape == (2, 3, resolution, resolution)
    assert build_discriminator(settings, space)(images).shape == (2, 1)


@pytest.mark.parametrize("name", ["dcgan", "resnet", "r3gan"])
def test_every_width_can_be_built(name: str) -> None:
    """A search over widths meets primes."""
    for width in range(1, 65):
        counts = parameter_counts(
            Config(model=model(generator=name, discriminator=name, width=width)), Space((3, 32, 32))
        )
        assert min(counts.values()) > 0


def test_the_mlp_is_the_original_gan() -> None:
    settings = model(generator="mlp", latent_dim=100, width=128, depth=4)
    network = build_generator(settings, Space((1, 28, 28)))
    sizes = [m.out_features for m in network.modules() if isinstance(m, torch.nn.Linear)]
    assert sizes == [128, 256, 512, 1024, 784]


def test_protocol_p_networks_have_their_published_sizes() -> None:
    """PacGAN's released code: generator 2-400-400-400-400-2, discriminator 2-(200 x 5)-(200 x 5)-(200 x 5)-1."""
    settings = model(
        generator="mlp",
        discriminator="maxout",
        latent_dim=2,
        width=400,
        depth=4,
        growth=1,
        discriminator_width=200,
        discriminator_depth=3,
    )
    assert parameter_counts(Config(model=settings), Space((2,))) == {
        "generator": 2 * 400 + 3 * 400**2 + 400 * 2 + 4 * 400 + 2,
        "discriminator": (2 + 1) * 1000 + 2 * (200 + 1) * 1000 + 200 + 1,
    }
    packed = parameter_counts(Config(model=settings, train=Train(packing=3)), Space((2,)))
    assert packed["discriminator"] == (6 + 1) * 1000 + 2 * (200 + 1) * 1000 + 200 + 1


def test_a_spectral_norm_bounds_every_layer() -> None:
    network = build_discriminator(model(discriminator="mlp", discriminator_norm="spectral", width=16), Space((1, 8, 8)))
    for _ in range(50):
        network(torch.randn(4, 1, 8, 8))
    for layer in network.modules():
        if isinstance(layer, torch.nn.Linear):
            assert torch.linalg.matrix_norm(layer.weight, 2).item() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_a_conditional_pair_listens_to_the_label(name: str) -> None:
    space = Space((1, 8, 8), classes=3)
    generator_name = name if name in GENERATORS else "mlp"
    settings = model(generator=generator_name, discriminator=name, conditional=True)
    generator, discriminator = build_generator(settings, space), build_discriminator(settings, space)
    latent, labels = torch.randn(1, 8).repeat(3, 1), torch.arange(3)
    images = generator(latent, labels)
    assert len({image.sum().item() for image in images}) == 3
    for parameter in discriminator.head.embedding.parameters():  # type: ignore[union-attr]
        torch.nn.init.normal_(parameter)
    logits = discriminator(images[:1].repeat(3, 1, 1, 1), labels)
    assert len({logit.item() for logit in logits}) == 3


def test_latents_without_labels_choose_all_classes_evenly() -> None:
    network = build_generator(model(generator="mlp", conditional=True), Space((1, 8, 8), classes=4))
    latents = torch.randn(4000, 8, generator=torch.Generator().manual_seed(0))
    counts = latents.view(torch.int32).long().sum(1).remainder(4).bincount()
    assert counts.min() > 900
    chosen = latents.view(torch.int32).long().sum(1).remainder(4)
    torch.testing.assert_close(network(latents), network(latents, chosen))


@pytest.mark.parametrize("name", ["dcgan", "resnet", "r3gan"])
def test_the_first_images_and_logits_are_of_reasonable_size_without_normalisation(name: str) -> None:
    torch.manual_seed(0)
    settings = model(generator=name, discriminator=name, width=16, depth=2, latent_dim=64)
    space = Space((3, 64, 64))
    images = build_generator(settings, space)(torch.randn(16, 64))
    assert 0.2 < images.std() < 1.2
    logits = build_discriminator(settings, space)(torch.rand(16, 3, 64, 64) * 2 - 1)
    assert logits.abs().max() < 10


def test_the_seed_decides_the_first_weights_and_leaves_torch_alone() -> None:
    before = torch.get_rng_state()
    one, same, other = (build_generator(model(), Space((1, 8, 8)), seed) for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(*[n.first.weight for n in (one, same)])  # type: ignore[arg-type, union-attr]
    assert not torch.equal(*[n.first.weight for n in (one, other)])  # type: ignore[arg-type, union-attr]
