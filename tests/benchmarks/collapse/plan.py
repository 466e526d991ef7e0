"""One training of the labelled set, as it is planned. What became of it is measured (truth.py), never assumed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from trainers.config import Config
from trainers.families.gan.training import GanTraining
from trainers.loop import Run

Act = Callable[[Run], None]


def gan(run: Run) -> GanTraining:
    """What is done to the players is done here."""
    assert isinstance(run.training, GanTraining)
    return run.training


Group = Literal["dev", "held-out", "second"]


@dataclass(frozen=True)
class Plan:
    """``cause`` says what its settings or its act are; runs of one cause differ by ``number``. ``act`` is done
    to the run once the share ``at`` of its images is shown.
    """

    group: Group
    cause: str
    number: int
    config: Config
    act: Act | None = None
    at: float = 0.0

    @property
    def key(self) -> str:
        """A file name that no other plan has."""
        words = "".join(c if c.isalnum() else "-" for c in f"{self.config.data.name.split(':')[-1]} {self.cause}")
        return f"{words}--{self.number}"


def settings(data: dict[str, Any], model: dict[str, Any], train: dict[str, Any], evaluations: int) -> Config:
    """A training of so many evaluations, evenly spread, that goes on to the end of its budget whatever is said of
    it.
    """
    return Config.model_validate(
        {
            "data": data,
            "model": model,
            "train": train,
            "evaluate": {
                "every_images": -(-int(train["images"]) // evaluations),
                "samples": 1_000,
                "metrics": ["fid", "coverage", "recall", "diversity"],
            },
            "health": {"stop": "never"},
        }
    )
