"""What the family brings."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from PIL.Image import Image
from torch import nn

from trainers.config import Config
from trainers.data import Dataset, Space
from trainers.families.translate.cut import CutTraining
from trainers.families.translate.judge import TranslationJudge
from trainers.families.translate.training import Critics, CycleTraining, Translators
from trainers.family import Family, Training
from trainers.pictures import draw
from trainers.sample import to_arrays, translated
from trainers.world import World

SHOWN = 12
METHODS: dict[str, Callable[[Config, Dataset, World], Training]] = {"cycle": CycleTraining, "cut": CutTraining}


def training(config: Config, data: Dataset, world: World) -> Training:
    """By the method that the settings name."""
    return METHODS[config.translate.method](config, data, world)


def picture(translator: nn.Module, config: Config, data: Dataset) -> Image:
    """Held-out pictures of the source, what becomes of each, and below what should have, where that is known."""
    assert data.source is not None
    chosen = torch.arange(min(SHOWN, len(data.source.test)))
    given = to_arrays(data.source.test[chosen].floats())
    rows = [given, translated(translator, config, given)]
    if data.paired:
        rows.append(to_arrays(data.test[chosen].floats()))
    return draw(np.concatenate(rows), columns=len(chosen))


def sizes(config: Config, space: Space) -> dict[str, int]:
    """Translators and critics."""
    with torch.device("meta"):
        networks = {"generator": Translators(config, space), "discriminator": Critics(config, space)}
    return {name: sum(p.numel() for p in network.parameters()) for name, network in networks.items()}


FAMILY = Family(training=training, judge=TranslationJudge, sampler=Translators, picture=picture, sizes=sizes)
