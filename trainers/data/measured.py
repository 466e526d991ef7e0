"""A folder of pictures whose values are measurements: 12 and 16 bits, and the units of DICOM and NIfTI, are kept.

Networks see the window of ``data.intensity`` as -1 to 1, in float32; ``Space.window`` says which values these are.
Pictures of one patient are all trained on or all held out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from trainers.config import Data, Intensity
from trainers.data.dataset import Dataset, Examples, Space
from trainers.data.folder import FEWEST, TEST_SHARE, Pictures, image_files, require_memory
from trainers.data.picture import Skipped, shown, variety
from trainers.data.scan import Scan, Values, require, scan
from trainers.errors import DataError
from trainers.randomness import stream


def measured(settings: Data) -> Dataset:
    """Slices held in memory. Raises DataError as ``images`` does, where files are in different units, and where they
    are all of one patient.
    """
    assert settings.intensity is not None
    found = image_files(Path(settings.places[0]) if settings.places else None)
    require([*found.train.files, *(found.held_out.files if found.held_out else ())])
    require_memory(found.total, 4 * settings.resolution**2)
    skipped = Skipped(settings, found.total)
    train, *given = [_read(part, settings, skipped) for part in (found.train, found.held_out) if part]
    if len(train.values) < FEWEST:
        raise DataError(
            f"data.path: {len(train.values)} readable images below {shown(found.train.root)}; at least {FEWEST} are "
            "needed"
        )
    unit = _unit([one for part in (train, *given) for one in part.units])
    empty = sum(part.empty for part in (train, *given))
    if given and len(given[0].values):
        test = given[0]
        if both := len(set(train.patients) & set(test.patients)):
            raise DataError(
                f"data.path: {both} patients have pictures to train on and held out ones; move each to one side"
            )
    else:
        held = held_out(train.patients)
        train, test = train.rows(~held), train.rows(held)
    low, high = _window(train.values, settings.intensity)
    learned, judged = (one.seen(low, high) for one in (train, test))
    cut = float(((train.values < low) | (train.values > high)).mean())
    notes = [
        *skipped.told(),
        *found.notes,
        *([f"left aside: {empty:,} slices that show one value only"] if empty else []),
        f"values in {unit}; the window is {low:g} to {high:g}, and {cut:.1%} of the training values are cut off",
        f"{len(set(train.patients)):,} patients or files to train on, {len(set(test.patients)):,} held out",
        *variety(learned.values.numpy()),
    ]
    space = Space(
        (1, settings.resolution, settings.resolution), len(found.names), names=found.names, window=(low, high)
    )
    return Dataset("images", space, learned, judged, notes=tuple(notes))


class Slices(NamedTuple):
    """``values`` (n, 1, resolution, resolution) in the files' units, each slice's class, whose it is, and which file's
    ``units``; ``empty`` counts slices that were left aside.
    """

    values: Values
    labels: Tensor | None
    patients: list[str]
    units: list[tuple[str, str]]
    empty: int

    def seen(self, low: float, high: float) -> Examples:
        """As a network sees them through a window."""
        return Examples(torch.from_numpy(((self.values - low) / (high - low) * 2 - 1).clip(-1, 1)), self.labels)

    def rows(self, chosen: Tensor) -> Slices:
        """Those where ``chosen``, bool (n,), holds."""
        patients = [patient for patient, wanted in zip(self.patients, chosen.tolist(), strict=True) if wanted]
        labels = None if self.labels is None else self.labels[chosen]
        return self._replace(values=self.values[chosen.numpy()], labels=labels, patients=patients)


def held_out(patients: Sequence[str]) -> Tensor:
    """Which slices to hold out, bool (n,): those of as many patients, in an order drawn once, as fit into a tenth of
    all; at least of the one who has fewest. Raises DataError where there is one patient only.
    """
    counts, chosen, taken = Counter(patients), set(), 0
    if len(counts) == 1:
        raise DataError(
            "data.path: all pictures are of one patient, and none could be held out; bring others, or folders called "
            "train and test"
        )
    room, names = max(len(patients) // TEST_SHARE, min(counts.values())), list(counts)
    for number in torch.randperm(len(names), generator=stream("images")).tolist():
        if taken + counts[names[number]] <= room:
            chosen.add(names[number])
            taken += counts[names[number]]
    return torch.tensor([patient in chosen for patient in patients])


def _read(pictures: Pictures, settings: Data, skipped: Skipped) -> Slices:
    side, read = settings.resolution, list[tuple[Scan, str, int]]()
    for number, file in enumerate(pictures.files):
        try:
            read.append((scan(file, settings), shown(file), pictures.labels[number] if pictures.labels else 0))
        except DataError as error:
            skipped.add(shown(file), error)
    values = [one for found, _, _ in read for one in found.slices]
    labels = [label for found, _, label in read for _ in found.slices]
    return Slices(
        np.stack(values)[:, None] if values else np.zeros((0, 1, side, side), np.float32),
        torch.tensor(labels) if pictures.labels else None,
        [found.patient or file for found, file, _ in read for _ in found.slices],
        [(found.unit, file) for found, file, _ in read],
        sum(found.empty for found, _, _ in read),
    )


def _unit(units: Sequence[tuple[str, str]]) -> str:
    """What all values are measured in. Raises DataError where that differs."""
    counts, example = Counter(unit for unit, _ in units), dict(reversed(units))
    (unit, _), *others = counts.most_common()
    if others:
        told = "; ".join(f"{count:,} in {unit} (as {example[unit]})" for unit, count in counts.most_common())
        raise DataError(f"data.path: one window can't fit values in different units: {told}; keep one kind")
    return unit


def _window(values: Values, intensity: Intensity) -> tuple[float, float]:
    low, high = intensity.window or np.percentile(values, intensity.percentiles).tolist()
    if low >= high:
        raise DataError(f"data.intensity: both percentiles of the training values are {low:g}; give a window")
    least, most = float(values.min()), float(values.max())
    if most <= low or high <= least:
        message = f"the window {low:g} to {high:g} holds none of the training values, {least:g} to {most:g}"
        raise DataError(f"data.intensity: {message}; choose one among these")
    return low, high
