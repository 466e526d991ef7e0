"""Sample grids on their way from the artifact store to MLflow."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow.tracking import MlflowClient
from PIL import Image

from orchestrator.errors import StoreError
from orchestrator.tracking.spool import Event

if TYPE_CHECKING:
    from orchestrator.artifacts import Store


def log_grid(client: MlflowClient, run: str, event: Event, store: Store, may_be_lost: bool) -> None:
    """The grid of a report, as an image of ``run``. Raises StoreError where it is not there, unless it may be lost: the
    leg died before it stored the grid, and the next report brings another.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            file = store.get(event["samples"], Path(folder) / "samples.png")
        except StoreError:
            if may_be_lost:
                return
            raise  # its upload may still be under way
        with Image.open(file) as picture:
            client.log_image(
                run,
                picture.convert("RGB"),
                key="samples",
                step=event["images"],
                timestamp=event["time"],
                synchronous=True,
            )


def has_grid(client: MlflowClient, run: str, images: int) -> bool:
    """Whether MLflow has the one after so many images."""
    of_step = re.compile(rf"[+%]step[+%]{images}[+%]")
    return any(of_step.search(item.path) for item in client.list_artifacts(run, "images"))
