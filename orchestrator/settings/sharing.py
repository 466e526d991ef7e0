"""Batches that the ranks of a trial can't share, anywhere in a space: inside an interval as well as at its ends."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.settings.dimension import Dimension

BATCH, PACKING = SHARED = ("train.batch_size", "train.packing")


def unshared(space: Mapping[str, Dimension], batch: int, packing: int, ranks: int) -> tuple[str, str] | None:
    """(the searched setting to mend, what is wrong with it and the way out); ``batch`` and ``packing`` are the file's.

    None where every batch of the space comes out even, or nothing of this is searched.
    """
    name = next((name for name in SHARED if name in space), None)
    if name is None:
        return None
    packings, batches = _occurring(space, PACKING, packing), _occurring(space, BATCH, batch)
    bad = [
        (size, packs)
        for packs in packings
        for size in batches[: ranks * packs if isinstance(batches, range) else None]  # then it repeats
        if size % (ranks * packs) and _together(space, size, packs)
    ]
    if not bad:
        return None
    size, packs = bad[0]
    by = f"{ranks} ranks" + (f" in packs of {packs}" if packs > 1 else "")
    units = [ranks * each for each in packings]
    return name, f"a batch of {size} can't be shared by {by}; {_way_out(space[name], name, bad, units)}"


def _way_out(dimension: Dimension, name: str, bad: Sequence[tuple[int, int]], units: Sequence[int]) -> str:
    if dimension.int_ is None or name == PACKING:
        return f"leave out {', '.join(map(str, sorted({each[SHARED.index(name)] for each in bad})))}"
    unit = math.lcm(*units, int(dimension.step or 1))
    low, high = -(-dimension.int_[0] // unit) * unit, dimension.int_[1] // unit * unit
    if low >= high:
        return f"only multiples of {unit} can"
    if dimension.log:
        powers = [low * 2**power for power in range((high // low).bit_length())]
        return f"write {{choice: {powers}}}"
    return f"write {{int: [{low}, {high}], step: {unit}}}"


def _occurring(space: Mapping[str, Dimension], name: str, otherwise: int) -> Sequence[int]:
    """The values of a setting: those searched, and the file's where it is not always searched."""
    dimension = space.get(name)
    if dimension is None:
        return [otherwise]
    if isinstance(dimension.values, range) and not dimension.when and dimension.values[0] > 0:
        return dimension.values
    values = [value for value in dimension.values or () if isinstance(value, int) and value > 0]
    return [*values, otherwise] if dimension.when else values


def _together(space: Mapping[str, Dimension], size: int, packs: int) -> bool:
    """Whether a trial can have both."""
    point: dict[str, Any] = {BATCH: size, PACKING: packs}
    return all(
        point[other] in values
        for name in SHARED
        if name in space
        for other, values in space[name].when.items()
        if other in point
    )
