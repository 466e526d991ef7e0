"""What the family brings."""

from __future__ import annotations

import numpy as np
import torch
from PIL.Image import Image
from torch import nn

from trainers.config import Config
from trainers.data import Dataset, Space
from trainers.families.text.judge import TextJudge
from trainers.families.text.training import TextTraining
from trainers.family import Family
from trainers.models import build_text_discriminator, build_text_generator
from trainers.pictures import draw
from trainers.sample import sample

LINES = 64


def picture(generator: nn.Module, config: Config, data: Dataset) -> Image:
    """Lines of text, a sample each."""
    return draw(sample(generator, config, np.arange(LINES, dtype=np.int64)))


def sizes(config: Config, space: Space) -> dict[str, int]:
    """Of the generator, and of the discriminator where there is one."""
    with torch.device("meta"):
        networks: dict[str, nn.Module] = {"generator": build_text_generator(config.model, space)}
        if config.text.method == "gan":
            networks["discriminator"] = build_text_discriminator(config.model, space)
    return {name: sum(p.numel() for p in network.parameters()) for name, network in networks.items()}


FAMILY = Family(
    training=TextTraining,
    judge=TextJudge,
    sampler=lambda config, space: build_text_generator(config.model, space),
    picture=picture,
    sizes=sizes,
)
