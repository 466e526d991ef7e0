"""Sample grids, and animations of clips, on their way from the artifact store to MLflow."""

from __future__ import annotations

import re
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow.entities import RunTag
from mlflow.tracking import MlflowClient
from mlflow.tracking.multimedia import compress_image_size
from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_IMAGES
from PIL import Image

from orchestrator.errors import StoreError
from orchestrator.tracking.spool import Event
from trainers.pictures import frames, play

if TYPE_CHECKING:
    from orchestrator.artifacts import Store

SHOWN = RunTag(MLFLOW_LOGGED_IMAGES, "True")
"""By which MLflow's pages know that a run has pictures."""


def log_grid(client: MlflowClient, run: str, event: Event, store: Store, may_be_lost: bool) -> None:
    """The grid of a report, as an image of ``run``; one that moves as ``animations/<images>.gif`` too, which MLflow's
    pages play. Raises StoreError where it is not there, unless it may be lost: nothing trains any more that would store
    it.

    As ``MlflowClient.log_image`` does it, which would encode the picture again and send the run's tag each time. The
    picture itself goes last, so that ``has_grid`` finds no half of one after a death; sent again, all have their names.
    """
    own = uuid.uuid5(uuid.UUID(run), event["samples"])
    name = f"samples+step+{event['images']}+timestamp+{event['time']}+{own}"
    with tempfile.TemporaryDirectory() as folder:
        try:
            file = store.get(event["samples"], Path(folder) / f"{name}.png")
        except StoreError:
            if may_be_lost:
                return
            raise  # its upload may still be under way
        if moving := frames(file):
            moved = Path(folder) / f"{event['images']:09d}.gif"
            play(moving, moved)
            client.log_artifact(run, str(moved), "animations")
        small = Path(folder) / f"{name}+compressed.webp"
        with Image.open(file) as picture:
            compress_image_size(picture.convert("RGB")).save(small, method=0)
        for shown in (small, file):
            client.log_artifact(run, str(shown), "images")


def has_grid(client: MlflowClient, run: str, images: int) -> bool:
    """Whether MLflow has the one after so many images."""
    of_step = re.compile(rf"[+%]step[+%]{images}[+%].*\.png$")
    return any(of_step.search(item.path) for item in client.list_artifacts(run, "images"))
