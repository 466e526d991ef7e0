"""Data sets by name: what a training learns from and is judged against.

A data set is read once per process and kept, so that the second training on the same settings starts at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

from trainers.config import Data
from trainers.data.circle import circular_gaussians
from trainers.data.clips import clips
from trainers.data.dataset import Dataset, Examples, Order, Rows, Space
from trainers.data.digits import digits
from trainers.data.faces import faces
from trainers.data.few import few
from trainers.data.flags import flags
from trainers.data.folder import images
from trainers.data.gaussians import grid, ring
from trainers.data.grammar import grammar
from trainers.data.lines import lines
from trainers.data.measured import measured
from trainers.data.moving import moving_digits
from trainers.data.painted import painted_digits
from trainers.data.picture import hashes
from trainers.data.scenes import weather_scenes
from trainers.data.shards import parquet
from trainers.data.stacked import stacked_digits
from trainers.data.told import describe
from trainers.errors import DataError
from trainers.reading.registry import lookup

__all__ = ["DATASETS", "Dataset", "Examples", "Order", "Rows", "Space", "describe", "load"]

SAME = "data.source: holds the same pictures as data.path; give the folder of the other domain"
DATASETS: dict[str, Callable[[Data], Dataset]] = {
    "digits": digits,
    "stacked-digits": stacked_digits,
    "painted-digits": painted_digits,
    "inked-digits": painted_digits,
    "mixed-digits": painted_digits,
    "ring": ring,
    "grid": grid,
    "circular-gaussians": circular_gaussians,
    "weather-scenes": weather_scenes,
    "faces": faces,
    "flags": flags,
    "moving-digits": moving_digits,
    "clips": clips,
    "grammar": grammar,
    "lines": lines,
    "images": lambda settings: (measured if settings.intensity else images)(settings),
    "parquet": parquet,
}


@lru_cache(maxsize=4)
def load(settings: Data) -> Dataset:
    """The data set of these settings, with its ``source`` where they name one. Raises DataError where either is missing
    or broken, UnusableSettingError for an unknown name.
    """
    dataset: Dataset = lookup(DATASETS, settings.name, "data.name")(settings)
    if settings.per_class is not None:
        dataset = few(dataset, settings.per_class)
    return replace(dataset, source=_source(settings, dataset)) if settings.source else dataset


def _source(settings: Data, target: Dataset) -> Dataset:
    try:
        source = load(settings.model_copy(update={"path": settings.source, "source": None}))
    except DataError as error:
        raise DataError(str(error).replace("data.path", "data.source")) from error
    if source.fingerprint == target.fingerprint:
        raise DataError(SAME)
    theirs, mine = _pictures(source), _pictures(target)
    if theirs and theirs == mine:
        raise DataError(SAME)
    both = len(theirs & mine)
    note = f"{both:,} of {len(theirs):,} different pictures are those of data.path too; the domains are to differ"
    return replace(source, notes=(*source.notes, note)) if both else source


def _pictures(data: Dataset) -> set[int]:
    """A hash of each, whatever it is called; none of a set that is read as it is needed."""
    parts = (part.values.numpy() for part in (data.train, data.test) if isinstance(part, Examples))
    return set().union(*map(hashes, parts))
