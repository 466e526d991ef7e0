"""``gansweep augment``: labelled pictures and what a generator makes of their classes, as one Parquet set."""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from orchestrator.errors import UserError
from orchestrator.generators.generator import Generator, opened

if TYPE_CHECKING:
    import pyarrow as pa

    from trainers.data import Dataset, Rows, Space
    from trainers.data.conditions import Column
    from trainers.metrics.gain import Gain

TOGETHER = 256
"""Pictures in memory at a time."""
CLASSIFIERS = 5
"""Per mix, where the gain is measured."""
Row = dict[str, Any]


@dataclass(frozen=True)
class AugmentOptions:
    """``per_class`` samples of each class, or combination of classes, from ``seed`` on, beside pictures of ``data``:
    a folder, Parquet files, or a built-in set. A translator makes its samples of those, at most so many of each class.
    """

    per_class: int
    data: str | None = None
    seed: int = 0
    truncation: float | None = None
    trusted: Sequence[str] = ()


@dataclass(frozen=True)
class Augmented:
    """How many rows were written; ``gain`` where it was asked for."""

    real: int
    generated: int
    held_out: int
    gain: Gain | None = None


def augment(source: str, options: AugmentOptions, target: str, uri: str, measure: bool = False) -> Augmented:
    """Write the set to ``target``, an empty folder or ``s3://bucket/prefix``, as ``data.name: parquet`` reads it. Its
    columns are ``image`` (PNG), one for each condition, ``generated`` and ``seed``; its schema names the model. What
    ``data`` holds out stays held out.

    With ``measure`` classifiers are taught with and without the samples. Raises UserError where model and data don't go
    together, trainers.errors.DataError where the data can't be read, or the set not be written.
    """
    from trainers.data.pack import write
    from trainers.families import FAMILIES

    generator = opened(source, raw=False, trusted=options.trusted, uri=uri)
    if not generator.space.is_image:
        raise UserError(f"{source}: makes no pictures, and a labelled set is of those; use gansweep sample")
    if generator.space.window:
        raise UserError(f"{source}: its samples are in units, and a set of pictures has 8 bits; use gansweep sample")
    translates = FAMILIES[generator.config.family].translates
    data = _labelled(options.data, generator, translates) if options.data else None
    if translates and (data is None or measure):
        other = "--gain needs labelled pictures of the target" if data else "--data: give the pictures to translate"
        raise UserError(f"{source} is a translator; {other}")
    if measure and data is None:
        raise UserError("--gain: needs --data, the labelled pictures to compare with")
    if measure and data and not _in_memory(data):
        raise UserError("--gain: needs classes of one kind, and data that fit in memory; leave it out")
    space = data.space if data and translates else generator.space
    if not (translates or generator.config.model.conditional) or not space.conditions:
        raise UserError(f"{source}: knows no classes, and samples without a label teach a classifier nothing")
    made = list(_translated(generator, data, options) if data and translates else _drawn(generator, options))
    real = list(_rows(data.train, space)) if data and not translates else []
    held_out = list(_rows(data.test, space)) if data and not translates else []
    parts = {"train": chain(real, made), "test": held_out} if held_out else {"part": chain(real, made)}
    write(parts, _schema(space, _told(source, options, generator)), target)
    return Augmented(len(real), len(made), len(held_out), _gain(data, made) if measure and data else None)


def _labelled(where: str, generator: Generator, translates: bool) -> Dataset:
    """The pictures of ``where``, as large as the generator's, in columns of the names and under the classes that it
    knows; for a translator, of whichever classes.
    """
    from trainers.config import Data
    from trainers.data import load
    from trainers.errors import DataError, UnusableSettingError

    (channels, side, _), known = generator.space.shape, generator.config.data
    columns = {"image_column": known.image_column, "label_column": known.label_column}
    try:
        data = load(Data(**_found(where), **columns, resolution=side, channels=channels))  # type: ignore[arg-type]
    except (DataError, UnusableSettingError, ValueError) as error:
        raise UserError(f"--data {where}: {error}") from error
    data = data.source if translates and data.source else data
    if data.space.shape != generator.space.shape:
        theirs, mine = ("x".join(map(str, s.shape)) for s in (data.space, generator.space))
        raise UserError(f"--data {where}: its examples are of shape {theirs}, the generator's {mine}; make them alike")
    if not data.space.conditions:
        raise UserError(f"--data {where}: {data.unlabelled or 'has no labels'}; sub-folders are classes, or a column")
    knows, has = (tuple((column.name, column.names) for column in s.conditions) for s in (generator.space, data.space))
    if not translates and knows != has:
        raise UserError(f"--data {where}: its classes are {has}, the generator's {knows}; they must be the same")
    return data


def _found(where: str) -> dict[str, str]:
    """Which reader is for it."""
    from trainers.check import BUILT_IN

    if where in BUILT_IN:
        return {"name": where}
    is_parquet = where.startswith("s3://") or where.endswith(".parquet") or any(Path(where).glob("*.parquet"))
    return {"name": "parquet" if is_parquet else "images", "path": where}


def _drawn(generator: Generator, options: AugmentOptions) -> Iterator[Row]:
    """Samples class by class, each with a seed of its own."""
    from trainers.sample import conditions, every_class, sample

    space, seed = generator.space, options.seed
    for row in every_class(space):
        for start in range(0, options.per_class, TOGETHER):
            seeds = np.arange(seed, seed + min(TOGETHER, options.per_class - start))
            seed += len(seeds)
            labels = conditions({name: [v] * len(seeds) for name, v in row.items()}, generator.config, space, seeds)
            assert labels is not None
            pictures = sample(generator.module, generator.config, seeds, labels, options.truncation)
            for one, picture, label in zip(seeds.tolist(), pictures, labels, strict=True):
                yield _row(picture, f"generated/{one}.png", label, space) | {"generated": True, "seed": one}


def _translated(generator: Generator, data: Dataset, options: AugmentOptions) -> Iterator[Row]:
    """The first training pictures of each class, in the other look."""
    taken, chosen = Counter[tuple[float, ...]](), []
    for number, (picture, label) in enumerate(_pictures(data.train)):
        kind = tuple(np.atleast_1d(label).tolist())
        taken[kind] += 1
        if taken[kind] <= options.per_class:
            chosen.append((number, picture, label))
    for start in range(0, len(chosen), TOGETHER):
        numbers, pictures, labels = zip(*chosen[start : start + TOGETHER], strict=True)
        for number, made, label in zip(numbers, generator.translate(np.stack(pictures)), labels, strict=True):
            yield _row(made, f"translated/{number}.png", label, data.space) | {"generated": True, "seed": None}


def _rows(rows: Rows, space: Space) -> Iterator[Row]:
    """Real pictures."""
    for number, (picture, label) in enumerate(_pictures(rows)):
        yield _row(picture, f"real/{number}.png", label, space) | {"generated": False, "seed": None}


def _pictures(rows: Rows) -> Iterator[tuple[NDArray[np.uint8], NDArray[Any]]]:
    """uint8 (H, W, C) and what it is labelled with."""
    import torch

    from trainers.sample import to_arrays

    for part in torch.split(torch.arange(len(rows)), TOGETHER):
        examples = rows[part]
        assert examples.labels is not None
        yield from zip(to_arrays(examples.floats()), examples.labels.numpy(), strict=True)


def _row(picture: NDArray[np.uint8], name: str, label: NDArray[Any], space: Space) -> Row:
    buffer = io.BytesIO()
    Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture).save(buffer, "PNG")
    values = np.atleast_1d(label).tolist()
    told = {column.name: _value(column, v, space) for column, v in zip(space.conditions, values, strict=True)}
    return {"image": {"bytes": buffer.getvalue(), "path": name}, **told}


def _value(column: Column, value: float, space: Space) -> int | float | str:
    """Classes of one kind by number, which the schema names; of several kinds by name."""
    if not column.names:
        return float(value)
    return column.names[int(value)] if space.columns else int(value)


def _schema(space: Space, told: dict[str, Any]) -> pa.Schema:
    import pyarrow as pa

    from trainers.data.columns import with_class_names
    from trainers.data.pack import IMAGE

    by_name = pa.string() if space.columns else pa.int64()
    kinds = {column.name: by_name if column.names else pa.float64() for column in space.conditions}
    schema = pa.schema({"image": IMAGE, **kinds, "generated": pa.bool_(), "seed": pa.int64()})
    if not space.columns:
        schema = with_class_names(schema, "image", "label", space.conditions[0].names)
    return schema.with_metadata({**(schema.metadata or {}), "gansweep": json.dumps(told)})


def _told(source: str, options: AugmentOptions, generator: Generator) -> dict[str, Any]:
    """Where the samples come from: the same weights and seeds make them again."""
    from trainers.files.sealed import own_version

    digest = hashlib.sha256()
    for name, tensor in sorted(generator.module.state_dict().items()):
        digest.update(name.encode() + tensor.cpu().numpy().tobytes())
    made = {
        "per_class": options.per_class,
        "seed": options.seed,
        "truncation": options.truncation,
        "data": options.data,
    }
    return {"model": source, "weights_sha256": digest.hexdigest(), **made, "gansweep": own_version()}


def _in_memory(data: Dataset) -> bool:
    """With classes of one kind: what a classifier can be taught with."""
    from trainers.data import Examples

    return not data.space.columns and isinstance(data.train, Examples) and isinstance(data.test, Examples)


def _gain(data: Dataset, made: Sequence[Row]) -> Gain:
    """On what ``data`` holds out."""
    import torch

    from trainers.data import Examples
    from trainers.metrics.gain import gain

    assert isinstance(data.train, Examples) and isinstance(data.test, Examples)
    pictures = np.stack([np.array(Image.open(io.BytesIO(row["image"]["bytes"]))) for row in made])
    values = torch.from_numpy(pictures.reshape(len(made), *pictures.shape[1:3], -1)).permute(0, 3, 1, 2)
    samples = Examples(values, torch.tensor([row["label"] for row in made]))
    return gain(data.train, samples, data.test, range(CLASSIFIERS))
