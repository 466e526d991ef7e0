"""The MLflow model registry, asked safely and without a trace."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from orchestrator.errors import UserError, WorkError

SAFE = {
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


@contextmanager
def connected(uri: str) -> Iterator[MlflowClient]:
    """MLflow's own errors in our words; nothing pickled is ever loaded. What MLflow was set to is set again, in a
    notebook too.
    """
    kept = {name: os.environ.get(name) for name in (*SAFE, "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")}
    os.environ.update(SAFE)
    log, level = logging.getLogger("mlflow"), logging.getLogger("mlflow").level
    log.setLevel(logging.ERROR)
    mlflow.set_tracking_uri(uri)
    if not uri.startswith("http"):  # a database holds the registry too, whatever MLFLOW_REGISTRY_URI says of servers
        mlflow.set_registry_uri(uri)
    try:
        yield MlflowClient(uri)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            raise UserError(f"the registry does not know that: {error.message}") from None
        raise WorkError(f"the model registry refused ({error.error_code}): {error.message}") from error
    finally:
        log.setLevel(level)
        mlflow.set_tracking_uri(kept["MLFLOW_TRACKING_URI"])  # type: ignore[arg-type]  # None: as if never set
        mlflow.set_registry_uri(kept["MLFLOW_REGISTRY_URI"] or "")
        for name, value in kept.items():
            os.environ.pop(name, None)
            os.environ.update({name: value} if value is not None else {})
