"""The serving face of a generator: MLflow runs this file when it loads the model ("models from code", no pickle).

Input: a table with a column ``seed`` (int64) and, for conditional generators, ``label``, a class by name or number; or
a column for each of its conditions, of which any may be missing: then the seed draws it. A translator is given pictures
instead: uint8 (n, H, W, C).
Output: uint8 images (n, H, W, C), one per row and a function of that row alone; images of measured values come as
float32 (n, H, W, C) in the units of the training files, points as float32 (n, 2), text as strings (n,). A generator of
clips takes a column ``frames``, one number for all rows, and gives uint8 (n, frames, H, W, C).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from trainers.families import FAMILIES
from trainers.sample import conditions, one_length, sample, translated
from trainers.state import load_generator, load_space


class Generator(PythonModel):
    """An EMA generator with the settings it was trained with."""

    def load_context(self, context: PythonModelContext) -> None:
        folder = Path(context.artifacts["generator"])
        # Who loads the model runs this file, which came with it; so may the code of its networks.
        self.config, self.generator = load_generator(folder, trusted=None)
        self.space = load_space(folder)

    def predict(self, context: PythonModelContext, model_input: pd.DataFrame, params: Any = None) -> np.ndarray:
        if FAMILIES[self.config.family].translates:
            return translated(self.generator, self.config, np.asarray(model_input))  # MLflow knows no hint for both
        seeds = model_input["seed"].to_numpy(np.int64)
        names = {column.name for column in self.space.conditions} | {"label"}
        given = {name: list(model_input[name]) for name in model_input.columns if name in names}
        labels = conditions(given, self.config, self.space, seeds)
        frames = one_length(model_input["frames"]) if "frames" in model_input else None
        return sample(self.generator, self.config, seeds, labels, window=self.space.window, frames=frames)


mlflow.models.set_model(Generator())
