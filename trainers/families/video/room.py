"""What the family brings."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from trainers.config import Config
from trainers.data import Dataset, Space
from trainers.families.video.judge import ClipJudge
from trainers.families.video.training import ClipTraining
from trainers.family import Family
from trainers.models.clips import ClipGenerator, build_critics
from trainers.pictures import Film, film
from trainers.sample import sample

SHOWN = 16


def picture(generator: nn.Module, config: Config, data: Dataset) -> Film:
    """A strip of frames for each clip, and all of them moving side by side."""
    return film(sample(generator, config, np.arange(SHOWN, dtype=np.int64)))


def sizes(config: Config, space: Space) -> dict[str, int]:
    """Of the generator, and of its critics together."""
    with torch.device("meta"):
        networks = {"generator": ClipGenerator(config, space), "discriminator": build_critics(config, space)}
    return {name: sum(p.numel() for p in network.parameters()) for name, network in networks.items()}


FAMILY = Family(training=ClipTraining, judge=ClipJudge, sampler=ClipGenerator, picture=picture, sizes=sizes)
