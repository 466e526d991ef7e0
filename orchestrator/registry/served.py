"""The serving face of a generator: MLflow runs this file when it loads the model ("models from code", no pickle).

Input: a table with a column ``seed`` (int64) and, for conditional generators, ``label``. Output: uint8 images (n, H, W,
C), one per row and a function of that row alone; points come as float32 (n, 2).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from trainers.sample import sample
from trainers.state import load_generator


class Generator(PythonModel):
    """An EMA generator with the settings it was trained with."""

    def load_context(self, context: PythonModelContext) -> None:
        self.config, self.generator = load_generator(Path(context.artifacts["generator"]))

    def predict(self, context: PythonModelContext, model_input: pd.DataFrame, params: Any = None) -> np.ndarray:
        seeds = model_input["seed"].to_numpy(np.int64)
        labels = model_input["label"].to_numpy(np.int64) if "label" in model_input else None
        return sample(self.generator, self.config, seeds, labels)


mlflow.models.set_model(Generator())
