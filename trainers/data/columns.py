"""What the columns of a Parquet file hold: pictures in one of several forms, and classes by number or name."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from trainers.errors import DataError

FEW = 32
"""Different whole numbers in a condition's column, up to which they are classes."""
Stored = bytes | str | None  # an encoded image, the path of one, or nothing


def images_in(kind: pa.DataType, column: str) -> Callable[[Any], Stored]:
    """What takes the image, or its path, out of a value of this column. Raises DataError where there can't be one."""
    if pa.types.is_dictionary(kind):
        return images_in(kind.value_type, column)
    if _is_bytes(kind) or _is_text(kind):
        return lambda value: value or None
    if pa.types.is_struct(kind):
        fields = {field.name for field in kind if _is_bytes(field.type) or _is_text(field.type)} & {"bytes", "path"}
        if fields:
            return lambda value: (value or {}).get("bytes") or (value or {}).get("path")
    raise DataError(
        f"column {column!r} holds {kind}; images are encoded (PNG, JPEG, …) as binary or struct<bytes, path>, or stand "
        "as paths of image files"
    )


@dataclass(frozen=True)
class Classes:
    """``numbers`` of the values of a label column; what the classes are called (nothing where by their numbers), and
    how many rows each has, int64 (classes,).
    """

    numbers: dict[Any, int]
    names: tuple[str, ...]
    counts: Tensor


def classes_in(column: pa.ChunkedArray, names: tuple[str, ...]) -> Classes | str:
    """The classes in a label column, or why its values are none; ``names`` are those that the file's schema gives to
    the numbers from 0.
    """
    kind = column.type
    if not (pa.types.is_integer(kind) or _is_text(kind) or pa.types.is_boolean(kind)):
        return f"holds {kind}; classes are integers or text"
    if column.null_count:
        return "has empty rows"
    found = {row["values"]: row["counts"] for row in pc.value_counts(column).to_pylist()}
    if pa.types.is_integer(kind) and min(found) < 0:
        return "has negative rows"
    if names and pa.types.is_integer(kind):
        if max(found) >= len(names):
            return f"holds {max(found)}, and the file names only {len(names)} classes"
        return Classes({n: n for n in found}, names, torch.tensor([found.get(n, 0) for n in range(len(names))]))
    if 2 * len(found) > len(column):
        return f"holds {len(found):,} different values in {len(column):,} rows: ids, and no classes"
    values = sorted(found)
    plain = values == list(range(len(values))) and not pa.types.is_boolean(kind)
    counts = torch.from_numpy(np.array([found[value] for value in values], dtype=np.int64))
    return Classes({v: n for n, v in enumerate(values)}, () if plain else tuple(map(str, values)), counts)


def condition_in(column: pa.ChunkedArray, name: str, names: tuple[str, ...]) -> list[str] | Tensor:
    """The values of one of several label columns: texts are classes, and so are whole numbers where they are few;
    others are numbers. ``names`` are those that the file's schema gives to the numbers from 0. Raises DataError.
    """
    kind = column.type
    if column.null_count:
        raise DataError(f"data.label_column: {name!r} has {column.null_count:,} empty rows; give every row a value")
    if pa.types.is_floating(kind):
        return torch.tensor(column.to_numpy())
    if not (pa.types.is_integer(kind) or pa.types.is_boolean(kind) or _is_text(kind)):
        raise DataError(f"data.label_column: {name!r} holds {kind}; conditions are text or numbers")
    if pa.types.is_integer(kind) and not names and len(pc.unique(column)) > FEW:
        return torch.tensor(column.to_numpy())
    values = column.to_pylist()
    return [names[value] for value in values] if names and pa.types.is_integer(kind) else list(map(str, values))


def class_names(schema: pa.Schema, column: str) -> tuple[str, ...]:
    """As Hugging Face's ``datasets`` keeps them beside a column; empty where nobody did."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return tuple(map(str, features[column]["names"]))
    except (KeyError, TypeError, ValueError):
        return ()


def with_class_names(schema: pa.Schema, image: str, label: str, names: tuple[str, ...]) -> pa.Schema:
    """The same, telling what the classes are called."""
    features = {image: {"_type": "Image"}, label: {"names": names, "_type": "ClassLabel"}}
    return schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def _is_bytes(kind: pa.DataType) -> bool:
    return any(test(kind) for test in _BYTES)


def _is_text(kind: pa.DataType) -> bool:
    return any(test(kind) for test in _TEXT)


_BYTES = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_fixed_size_binary)
_TEXT = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
