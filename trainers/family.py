"""What a family of trainings brings; all else is common, and is in the loop and the rooms around it.

Common: the clock (images), the order of the data, seeds, ranks, resume, rewind, reports, sealed checkpoints, the
verdict, features of real data. ``trainers.families`` is the table of families. A family may draw random numbers only by
(seed, step, purpose), for the global batch: then any number of ranks does the same, and so does a resumed training.
Whatever changes on the way is a function of ``images`` or stands in ``tensors``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import Tensor, nn

from trainers.config import Config, Train
from trainers.data import Dataset, Space
from trainers.metrics import RemoteCache
from trainers.world import World


class Training(Protocol):
    """Players on a data set, and how one step moves them (``trainers.players.game`` has all but the step)."""

    images: int
    """Shown so far, over all ranks."""
    interval: int
    """The training may be left after every so many steps, where each rank holds all of its state."""

    @property
    def sampler(self) -> nn.Module:
        """The network to judge and keep, in eval mode. Its player is called generator, and so is its file."""

    def plain(self) -> AbstractContextManager[nn.Module | None]:
        """The network behind the average that ``sampler`` is; None where there is no such average."""

    @property
    def critic(self) -> nn.Module | None:
        """What tells examples from generated ones, from them and their labels to logits; None where there is none."""

    def step(self) -> None:
        """Shows one global batch; ``images`` grows by ``train.batch_size``."""

    def retune(self, settings: Train) -> None:
        """Goes on with other settings of training."""

    def means(self) -> tuple[dict[str, float], dict[str, float]]:
        """Losses by name, and signals, since the last call, over all ranks. ``<player>_gradient_norm`` and
        ``<player>_update_ratio`` are what the verdict knows how to read.
        """

    def packed_means(self) -> tuple[dict[str, Tensor], list[tuple[tuple[str, ...], int]]]:
        """What ``means`` will be made of."""

    def resume_means(self, tensors: dict[str, Tensor], steps: list[tuple[list[str], int]]) -> None:
        """Takes what ``packed_means`` gave."""

    def broken(self) -> bool:
        """Whether a number was not finite since the last ``means``, on any rank."""

    def parameters(self) -> Iterator[Tensor]:
        """All weights, averages included."""

    def sizes(self) -> dict[str, int]:
        """How many values of each network are trained."""

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """All state but the clock, a group per file of a checkpoint."""

    def load(self, tensors: dict[str, dict[str, Tensor]], images: int) -> None:
        """Takes what ``tensors`` gave, and the clock."""


class Judge(Protocol):
    """From a network to its numbers, the same on every rank. Where a measure fails, it is missing."""

    watched: dict[str, float]
    """What the last call found for the verdict: ``misfit``, ``mode_diversity`` and ``coverage``, each in shares of what
    the data have; of the plain network too, under ``raw_``.
    """
    failures: list[str]
    """Why measures of the last call are missing."""
    provenance: dict[str, str | int | bool]
    """Under which conditions the numbers hold; ``data`` is the data set's fingerprint."""

    def __call__(
        self, generator: nn.Module, plain: nn.Module | None = None, critic: nn.Module | None = None
    ) -> dict[str, float]:
        """The measures of ``Training.sampler``, and for the verdict those of ``Training.plain``; and what
        ``Training.critic`` gives away of the training data.
        """


class Picture(Protocol):
    """What can be saved as PNG; Pillow's images are such."""

    def save(self, path: Path, /) -> None:
        """Writes it."""


@dataclass(frozen=True)
class Family:
    """Its room in one row. What it says of settings without torch is ``check.py`` in the same room."""

    training: Callable[[Config, Dataset, World], Training]
    judge: Callable[[Config, Dataset, World, RemoteCache | None], Judge]
    sampler: Callable[[Config, Space], nn.Module]
    """A network to load kept weights into."""
    picture: Callable[[nn.Module, Config, Dataset], Picture]
    """What a person sees of a report, a still or one that moves: made by ``Training.sampler``, of held-out data where
    it needs any.
    """
    sizes: Callable[[Config, Space], dict[str, int]]
    """How many values of each network are trained, without building any."""
