"""Where a sweep is recorded: an MLflow server or a database, and its pages."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mlflow.tracking import MlflowClient

from orchestrator.errors import UserError, first_line
from orchestrator.secrets import without_secrets
from orchestrator.tracking.experiment import experiment_of
from orchestrator.tracking.views import page

PATIENCE = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",  # a run whose making was answered into the void would be made twice
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""A server that is down must not hold a call for minutes: the spool is the patience."""


@dataclass(frozen=True)
class Target:
    """Where a sweep is recorded: ``ready`` blocks until the server answers; ``artifact_root`` is None where the server
    decides; ``views`` are tags of the experiment by which its pages open well, given the sweep's own run; ``shown``
    hears of the page of its runs, where a server has pages.
    """

    uri: str
    ready: Callable[[], None]
    artifact_root: str | None = None
    views: Callable[[str], Mapping[str, str]] = lambda parent: {}
    shown: Callable[[str], None] = lambda page: None


def check(uri: str) -> None:
    """Raise UserError unless an MLflow server or database answers at ``uri``."""
    os.environ.update(PATIENCE)
    try:
        MlflowClient(uri).search_experiments(max_results=1)
    except Exception as error:  # requests, SQLAlchemy and MLflow each have errors of their own
        reason = without_secrets(first_line(error))[:200]
        raise UserError(
            f"tracking.uri {without_secrets(uri)} can't be used ({type(error).__name__}: {reason}); "
            "start the server, correct the address, or use 'auto'"
        ) from None


def runs_page(server: str, sweep: str, identity: str) -> str | None:
    """The page of a sweep's runs, in the view that was saved for it (MLflow's own is made for language models)."""
    experiment = experiment_of(MlflowClient(server), sweep, identity)
    return page(server, experiment.experiment_id) if experiment else None
