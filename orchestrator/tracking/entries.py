"""What an event says, as MLflow takes it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, RunTag

from orchestrator.tracking.spool import Event


def metrics_of(event: Event) -> list[Metric]:
    """The points of a report, under names that MLflow allows."""
    named = {re.sub(r"[^\w./ :-]", "_", name): value for name, value in event["metrics"].items()}
    return [Metric(name, value, event["time"], event["images"]) for name, value in named.items()]


def tags_of(tags: Mapping[str, Any]) -> list[RunTag]:
    """At the length that MLflow allows."""
    return [RunTag(key, str(value)[:5000]) for key, value in tags.items()]


def dataset(event: Event) -> DatasetInput:
    """What the run of a start trains on."""
    data = event["dataset"]
    found = Dataset(data["name"], data["digest"], "code", data["source"], None, data["profile"])
    return DatasetInput(found, [InputTag("mlflow.data.context", "training")])
