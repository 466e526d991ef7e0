"""Features of real data: made once per data set, extractor and resize, kept in a sealed folder, shared by trainings.

A training looks in this process, then in the cache folder, then in the remote cache that whoever started it has given;
what it had to make itself it leaves in all three.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from safetensors.torch import load, save
from torch import Tensor

from trainers.config import Config, Evaluate
from trainers.data import Dataset, Examples, Rows, Space
from trainers.errors import CheckpointError
from trainers.files.cache import cache_folder
from trainers.files.sealed import content, facts, seal
from trainers.metrics.extractors import Extractor, build
from trainers.metrics.table import Reals
from trainers.randomness import stream
from trainers.world import World

log = logging.getLogger(__name__)

FILE = "features.safetensors"


class RemoteCache(Protocol):
    """Beyond this machine: sealed folders by name."""

    def fetch(self, name: str, folder: Path) -> None:
        """Brings ``name`` to ``folder``, where it is there."""

    def keep(self, name: str, folder: Path) -> None:
        """Stores ``folder`` under ``name``."""


@dataclass(frozen=True, eq=False)
class Real:
    """The extractor, and on rank 0 features (n, d) of training and of held-out data (elsewhere empty); ``complete``
    says whether they are of all training data; ``labels`` are those of the training data, and ``examples`` the training
    and the held-out data themselves, where they are in memory; ``known`` is ``Dataset.known``.
    """

    extractor: Extractor
    train: Tensor
    held_out: Tensor
    space: Space
    complete: bool
    labels: Tensor | None = None
    examples: tuple[Examples, Examples] | None = None
    known: Callable[[Tensor], dict[str, float]] | None = None
    _halves: dict[int, Reals] = field(default_factory=dict)

    def half(self, fakes: int) -> Reals:
        """The real half of comparisons with so many fakes; what it computes is there for the next training too."""
        if fakes not in self._halves:
            told = self.extractor.classify, fakes, self.complete, self.labels, self.extractor.read, self.examples
            self._halves[fakes] = Reals(self.train, self.held_out, self.space, *told, self.known)
        return self._halves[fakes]


_prepared: dict[tuple[object, ...], Real] = {}


TOGETHER = 64
"""Real examples that are turned into features at a time: the same for every training, since the last bits of features
depend on it and trainings share them.
"""


def real_side(config: Config, dataset: Dataset, world: World, remote_cache: RemoteCache | None) -> Real:
    """What generated images are compared with. Call it on every rank."""
    settings = config.evaluate
    names = ("extractor", "extractor_sha256", "resize", "real_samples")
    key = (dataset.fingerprint, *(getattr(settings, name) for name in names), world)
    if key not in _prepared:
        extractor = build(settings, dataset, world)
        features = _features(extractor, dataset, settings, world, remote_cache)
        complete = len(dataset) <= settings.real_samples
        labels, examples = dataset.train.labels, None
        if isinstance(dataset.train, Examples) and isinstance(dataset.test, Examples):
            examples = dataset.train, dataset.test
        if labels is not None:
            labels = labels[_chosen(len(dataset), settings.real_samples)]
        _prepared[key] = Real(extractor, *features, dataset.space, complete, labels, examples, dataset.known)
    return _prepared[key]


def _features(
    extractor: Extractor, dataset: Dataset, settings: Evaluate, world: World, remote_cache: RemoteCache | None
) -> tuple[Tensor, Tensor]:
    folder, found, at_most = Path(), None, settings.real_samples
    if world.rank == 0:
        parts = (dataset.fingerprint, extractor.id, settings.resize, at_most)
        folder = cache_folder() / f"real-{hashlib.sha256(repr(parts).encode()).hexdigest()[:16]}"
        if remote_cache is not None and not folder.exists():
            remote_cache.fetch(folder.name, folder)
        found = _read(folder)
    if not world.agree(found is not None):
        train, held_out = (_made(extractor, rows, at_most, world) for rows in (dataset.train, dataset.test))
        found = train, held_out
        if world.rank == 0:
            _keep(folder, found, extractor, remote_cache)
    return found if found is not None and world.rank == 0 else (torch.empty(0), torch.empty(0))


def _keep(folder: Path, found: tuple[Tensor, Tensor], extractor: Extractor, remote_cache: RemoteCache | None) -> None:
    """For trainings to come; this one has what it needs."""
    try:
        seal(folder, {FILE: save(dict(zip(("train", "held_out"), found, strict=True)))}, extractor=extractor.id)
    except OSError as error:
        log.warning("%s: features of real data can't be kept there (%s); set GANSWEEP_CACHE", folder, error)
        return
    if remote_cache is not None:
        remote_cache.keep(folder.name, folder)


def _read(folder: Path) -> tuple[Tensor, Tensor] | None:
    """None where it is not there, or damaged: it can be made again."""
    try:
        tensors = load(content(folder, FILE, facts(folder)))
    except CheckpointError:
        return None
    return tensors["train"], tensors["held_out"]


def _chosen(rows: int, at_most: int) -> Tensor:
    """Numbers of the rows that are compared with."""
    return torch.randperm(rows, generator=stream("real"))[:at_most]


def _made(extractor: Extractor, rows: Rows, at_most: int, world: World) -> Tensor:
    """Of a random choice in random order, each rank its share; read in the order of the rows, which is a file's."""
    chosen, place = _chosen(len(rows), at_most).sort()
    each = -(-len(chosen) // world.size)
    mine = chosen.roll(-each * world.rank)[:each]
    features = torch.cat([extractor(rows[part].floats()) for part in torch.split(mine, TOGETHER)])
    return world.all_gather(features)[: len(chosen)].cpu()[place.argsort()]
