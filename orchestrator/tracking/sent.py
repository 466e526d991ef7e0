"""What MLflow has already of what may be sent a second time."""

from __future__ import annotations

from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from orchestrator.tracking.answers import MISSING
from orchestrator.tracking.entries import metrics_of
from orchestrator.tracking.spool import Event


class Sent:
    """Points, as MLflow has told them: asked once per run and metric."""

    def __init__(self) -> None:
        self._steps: dict[tuple[str, str], set[int]] = {}

    def has(self, client: MlflowClient, run: str, event: Event) -> bool:
        """Whether all points of a report are there: they were sent in order, so they are where the last one is."""
        last = metrics_of(event)[-1].key
        if (run, last) not in self._steps:
            try:
                history = client.get_metric_history(run, last)
            except MlflowException as error:
                if error.error_code != MISSING:
                    raise
                history = []  # the run is gone, which sending will find
            self._steps[run, last] = {point.step for point in history}
        return event["images"] in self._steps[run, last]
