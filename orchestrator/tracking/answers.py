"""What MLflow answers when it does not do what it is asked."""

from __future__ import annotations

from mlflow.exceptions import MlflowException

from orchestrator.errors import GansweepError, first_line
from orchestrator.secrets import without_secrets

REFUSALS = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST", "INVALID_STATE")
"""Of a record that it will never take, and of one for a run or an experiment that was deleted."""
MISSING = "RESOURCE_DOES_NOT_EXIST"


def words(error: Exception) -> str:
    """In a line."""
    if isinstance(error, GansweepError):
        return str(error)
    kind = error.error_code if isinstance(error, MlflowException) else type(error).__name__
    return f"{kind}: {without_secrets(first_line(error))[:200]}"
