"""What the family brings."""

from __future__ import annotations

import numpy as np
from PIL.Image import Image
from torch import nn

from trainers.config import Config
from trainers.data import Dataset
from trainers.families.gan.training import GanTraining
from trainers.family import Family
from trainers.metrics import Evaluator
from trainers.models import build_generator, parameter_counts
from trainers.pictures import draw
from trainers.sample import sample

IMAGES, POINTS = 64, 2_500


def picture(generator: nn.Module, config: Config, data: Dataset) -> Image:
    """A grid of samples, or points over the true centres."""
    count = IMAGES if data.space.is_image else POINTS
    return draw(sample(generator, config, np.arange(count, dtype=np.int64)), data.space.centers)


FAMILY = Family(
    training=GanTraining,
    judge=Evaluator,
    sampler=lambda config, space: build_generator(config.model, space),
    picture=picture,
    sizes=parameter_counts,
)
