"""A registered generator: loaded, and drawn from."""

from __future__ import annotations

from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from numpy.typing import NDArray
from torch import nn

from orchestrator.commands import command
from orchestrator.errors import UserError
from orchestrator.registry.connection import connected
from trainers.config import Config
from trainers.data import Space
from trainers.families import FAMILIES
from trainers.sample import asked, conditions, length

UNKNOWN = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
"""What MLflow says of a model, and of an alias, that is not there."""
MOST = 50
"""Models that a message names."""


def sample(
    uri: str, model_uri: str, seeds: NDArray[np.int64], label: str | None, frames: int | None = None
) -> NDArray[Any]:
    """One example per seed, clips of so many ``frames``, from a registered generator, through the same face that serves
    it anywhere.
    """
    loaded = _found(uri, model_uri)
    if FAMILIES[loaded.unwrap_python_model().config.family].translates:
        raise UserError(f"{model_uri} translates pictures, and makes nothing from seeds; use gansweep translate")
    table = pd.DataFrame({"seed": seeds})
    if label is not None:
        table = table.assign(**_known(label, loaded.unwrap_python_model()))
    if frames is not None:
        table = table.assign(frames=length(loaded.unwrap_python_model().config, frames))
    made: NDArray[Any] = loaded.predict(table)
    return made


def load(uri: str, model_uri: str) -> tuple[Config, nn.Module, Space]:
    """A registered generator in plain PyTorch, its settings and what it makes."""
    served = _found(uri, model_uri).unwrap_python_model()
    if not hasattr(served, "space"):
        raise UserError(f"{model_uri} was registered by a version that can draw plain samples of it only")
    return served.config, served.generator, served.space


def _found(uri: str, model_uri: str) -> Any:
    """A pyfunc model. Raises UserError, with the models that there are, where there is none under this address."""
    with connected(uri) as client:
        try:
            return mlflow.pyfunc.load_model(model_uri)
        except MlflowException as error:
            if error.error_code not in UNKNOWN or not model_uri.startswith("models:/"):
                raise
            models = client.search_registered_models(max_results=MOST)
            known = [f"models:/{m.name}@{alias}" for m in models for alias in m.aliases]
            there = f"; it has {', '.join(known)}" if known else ""
            if not models:
                there = f"; it is empty: register a generator with {command('promote')} NAME"
            raise UserError(f"the registry has no {model_uri}{there}") from None


def _known(label: str, served: Any) -> dict[str, Any]:
    """Conditions that the model knows, by column: of a class its name, or its number where the classes have no
    names.
    """
    space = getattr(served, "space", None)
    if space is None and not label.isdecimal():
        raise UserError(f"label: {label!r} is no number, and this model was registered before classes had names")
    space = space or Space((), int(label) + 1)
    row = asked(label, served.config, space)
    found = conditions({name: [value] for name, value in row.items()}, served.config, space, np.zeros(1, np.int64))
    if found is None or space.columns:
        return {name: _plain(value) for name, value in row.items()}
    return {"label": space.names[int(found[0])] if space.names else int(found[0])}


def _plain(value: str) -> float | str:
    """As a column of numbers holds it."""
    try:
        return float(value)
    except ValueError:
        return value
