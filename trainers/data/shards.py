"""Pictures in Parquet, as public image sets keep them: encoded in a column (bytes, or struct{bytes, path}), or as paths
of files beside it; an optional column of labels, by number or name, or several columns of conditions.

A set that fits in memory is decoded once. A larger one is read row group by row group while training goes over it: each
epoch shuffles the groups, and the rows within windows of a few groups, so every rank finds its rows in groups that are
at hand. Where no file is called a test split, every tenth row is held out for judging.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import torch

from trainers.config import Data
from trainers.data.columns import Classes, condition_in
from trainers.data.conditions import Column, columns
from trainers.data.dataset import Dataset, Examples, Space
from trainers.data.files import parquet_files
from trainers.data.picture import Skipped, readable, variety
from trainers.data.row_groups import Shards, require_alike
from trainers.data.streamed import TEST_SHARE, Part, Streamed
from trainers.errors import DataError

IN_MEMORY = 2 * 2**30  # bytes of decoded pixels; more are streamed


def parquet(settings: Data) -> Dataset:
    """Files, folders or patterns, local or ``s3://`` (endpoint and keys from the environment). Raises DataError."""
    try:
        files = parquet_files(settings.places)
        shards = Shards(settings, files.system, files.train)
        held_out = Shards(settings, files.system, files.held_out, shards.classes) if files.held_out else None
        if held_out and not held_out.has_only(shards.classes):
            held_out = None
        told = _conditions(shards, held_out) if shards.several else ()
    except (OSError, pa.ArrowException, TypeError) as error:
        raise DataError(f"data.path: {settings.path!r} cannot be read as Parquet: {error}") from error
    if len(shards) < TEST_SHARE:
        raise DataError(f"data.path: {settings.path!r} holds {len(shards)} rows; at least {TEST_SHARE} are needed")
    parts = (Part(shards, None), Part(held_out, None)) if held_out else (Part(shards, False), Part(shards, True))
    classes = shards.classes
    numbered = (len(classes.counts), classes.names) if isinstance(classes, Classes) else (0, ())
    shape = settings.channels, settings.resolution, settings.resolution
    space = Space(shape, numbered[0], names=numbered[1], columns=told)
    why = "" if isinstance(classes, Classes) else classes
    splits = [files.splits.told(held_out is not None)] if files.splits else []
    notes = [*splits, *([why] if why and shards.labelled and not told else [])]
    if (len(shards) + len(held_out or ())) * np.prod(shape) <= IN_MEMORY:
        skipped = Skipped(settings, len(shards) + len(held_out or ()))
        train, test = (_decoded(part, settings, skipped) for part in parts)
        notes = [*skipped.told(), *notes, *variety(train.values.numpy())]
        return Dataset("parquet", space, train, test, notes=tuple(notes), unlabelled=why)
    skipped = Skipped(settings, len(shards) + len(held_out or ()))
    streamed, judged = (Streamed(part, settings, skipped) for part in parts)
    digest = "".join(each.digest() for each in (shards, held_out) if each)
    return Dataset("parquet", space, streamed, judged, streamed.blocks(), digest, tuple(notes), why, skipped.told)


def _decoded(part: Part, settings: Data, skipped: Skipped) -> Examples:
    shards = part.shards
    every = [row for group in range(len(shards.groups)) for row in shards.rows(group)]
    read = list(readable((row for number, row in enumerate(every) if number in part), settings, skipped))
    return Examples(torch.from_numpy(np.stack([p for p, _ in read])), shards.labels([n for _, n in read]))


def _conditions(shards: Shards, held_out: Shards | None) -> tuple[Column, ...]:
    """What several label columns mean, over both splits; each of them is given its rows' values."""
    both = [shards, held_out] if held_out else [shards]
    require_alike([group for part in both for group in part.groups], shards.columns)
    values = {}
    for column, names in shards.names.items():
        whole = pa.chunked_array([chunk for part in both for chunk in part.values(column).chunks])
        values[column] = condition_in(whole, column, names)
    table, told = columns(values)
    for part, rows in zip(both, torch.split(table, [len(part) for part in both]), strict=True):
        part.conditions = rows
    return told
