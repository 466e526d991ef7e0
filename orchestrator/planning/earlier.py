"""How fast sweeps have trained here, for the plan of the next one like them."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from orchestrator.errors import UserError
from orchestrator.paths import Home
from orchestrator.spec import Sweep
from trainers.watching.shown import duration

ALIKE: dict[str, Any] = {
    "family": True,
    "data": {"name", "resolution", "channels"},
    "model": True,
    "train": {"batch_size", "n_dis", "packing", "precision", "compile"},
    "resources": True,
}
"""Settings that two sweeps of one pace have in common, or both search."""


class Stopwatch:
    """Images that were trained, over all slots, and the seconds between the first report and the last: without what
    comes before a first report, and with measuring.
    """

    def __init__(self) -> None:
        self.images, self.seconds = 0, 0.0
        self._first: float | None = None

    def report(self, images: int) -> None:
        """So many more."""
        now = time.monotonic()
        if self._first is None:
            self._first = now
            return
        self.images, self.seconds = self.images + images, now - self._first


class Earlier(NamedTuple):
    """A sweep that ran here, and its pace over all slots."""

    name: str
    images_per_second: float


def remember(file: Path, sweep: Sweep, watch: Stopwatch) -> None:
    """Keep the pace of a run that made more than one report."""
    if watch.images and watch.seconds:
        file.write_text(json.dumps({"like": _alike(sweep), "images": watch.images, "seconds": watch.seconds}))


def like(sweep: Sweep, home: Home) -> Earlier | None:
    """The last sweep of this home with settings that make for the same pace."""
    asked = _alike(sweep)
    found = [home.sweep(name) for name in home.sweeps()]
    for paths in sorted((p for p in found if p.pace.exists()), key=lambda p: p.pace.stat().st_mtime, reverse=True):
        with suppress(OSError, ValueError, KeyError):  # a cache: what can't be read is not there
            kept = json.loads(paths.pace.read_text())
            if kept["like"] == asked:
                return Earlier(paths.name, kept["images"] / kept["seconds"])
    return None


def require_room(sweep: Sweep, before: Earlier | None) -> None:
    """Raises UserError where the budget's hours end before the first comparison, at the pace of a sweep like it."""
    first, hours = sweep.rung_images()[0], sweep.budget.hours
    if before and hours is not None and hours * 3600 * before.images_per_second < first:
        takes = duration(first / before.images_per_second)
        raise UserError(
            f"budget.hours: {hours:g} h is too little for one rung: {first:,} images, the first comparison, take about "
            f"{takes} at the pace of sweep '{before.name}'; give it more hours, or train.images fewer"
        )


def _alike(sweep: Sweep) -> Any:
    values = sweep.model_dump(mode="json", include=ALIKE)
    for name in sweep.search.space:
        group, key = name.split(".")
        if key in values.get(group, {}):
            values[group][key] = "searched"
    return json.loads(json.dumps(values))
