"""What the family brings."""

from __future__ import annotations

import numpy as np
import torch
from PIL.Image import Image
from torch import nn

from trainers.config import Config
from trainers.data import Dataset, Space
from trainers.families.autoencode.judge import CodingEvaluator
from trainers.families.autoencode.training import AutoencodeTraining
from trainers.family import Family
from trainers.models import build_discriminator
from trainers.models.autoencoder import Autoencoder, build_autoencoder
from trainers.pictures import draw
from trainers.sample import sample, to_arrays

COLUMNS, PAIRS, SAMPLES, POINTS = 16, 3, 6, 2_500
"""Pictures in a row, rows of held-out pictures over their reconstructions, rows of samples below; points of a plot."""


@torch.no_grad()
def picture(generator: nn.Module, config: Config, data: Dataset) -> Image:
    """Rows of held-out pictures, each over a row of their reconstructions, then rows of samples; of points, samples."""
    assert isinstance(generator, Autoencoder)
    if not data.space.is_image:
        return draw(sample(generator, config, np.arange(POINTS, dtype=np.int64)), data.space.centers)
    device = next(generator.parameters()).device
    rows = []
    for chosen in torch.split(torch.arange(min(PAIRS * COLUMNS, len(data.test))), COLUMNS):
        given = data.test[chosen].floats().to(device)
        for images in (given, generator.reconstruct(given)):
            empty = torch.zeros(COLUMNS - len(images), *images.shape[1:], device=device)
            rows.append(to_arrays(torch.cat((images, empty))))
    samples = sample(generator, config, np.arange(SAMPLES * COLUMNS, dtype=np.int64))
    return draw(np.concatenate([*rows, samples]), columns=COLUMNS)


def sizes(config: Config, space: Space) -> dict[str, int]:
    """The encoder counts to the generator, with which it is moved and kept."""
    with torch.device("meta"):
        networks: dict[str, nn.Module] = {"generator": build_autoencoder(config, space)}
        if config.autoencode.method == "vae-gan":
            networks["discriminator"] = build_discriminator(config.model, space)
    return {name: sum(p.numel() for p in network.parameters()) for name, network in networks.items()}


FAMILY = Family(
    training=AutoencodeTraining,
    judge=CodingEvaluator,
    sampler=build_autoencoder,
    picture=picture,
    sizes=sizes,
)
