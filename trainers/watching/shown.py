"""One training as it runs, on standard error: a bar on a terminal, a line now and then in a pipe."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from trainers.watching.watcher import Watcher

QUIET = 60.0
"""Seconds without a line in a pipe before one says how far it is."""


@contextmanager
def shown(images: int, as_json: bool = False) -> Iterator[Watcher]:
    """Whoever tells the user of a training of so many images; beside JSON, of what was loaded only."""
    if as_json:
        yield Start()
    elif sys.stderr.isatty():
        with Bar(images) as bar:
            yield bar
    else:
        yield Lines(images)


class Start(Watcher):
    """Says what was loaded."""

    def began(self, told: Sequence[str]) -> None:
        sys.stderr.write("".join(f"{line}\n" for line in told))
        sys.stderr.flush()


class Lines(Start):
    """For a pipe."""

    def __init__(self, total: int) -> None:
        self._total, self._said = total, 0.0

    def began(self, told: Sequence[str]) -> None:
        super().began(told)
        self._said = time.monotonic()

    def moved(self, images: int, speed: float) -> None:
        if time.monotonic() - self._said >= QUIET:
            self._said = time.monotonic()
            sys.stderr.write(f"{_way(images, self._total, speed)}\n")
            sys.stderr.flush()


class Bar(Watcher):
    """For a terminal; lines that are printed meanwhile stand above it."""

    def __init__(self, total: int) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._progress = Progress(
            BarColumn(bar_width=20),
            TextColumn("{task.description}", markup=False),
            console=self._console,
            redirect_stdout=sys.stdout.isatty(),
            refresh_per_second=1 / Watcher.TICK,
            transient=True,
        )
        self._total, self._task = total, self._progress.add_task("loading", total=total)

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def began(self, told: Sequence[str]) -> None:
        for line in told:
            self._console.print(line, markup=False, soft_wrap=True)
        self._progress.update(self._task, description="first steps")

    def moved(self, images: int, speed: float) -> None:
        self._progress.update(self._task, completed=images, description=_way(images, self._total, speed))


def duration(seconds: float) -> str:
    """``3 h 05 min``, ``2 min 10 s``."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"


def _way(images: int, total: int, speed: float) -> str:
    left = f"  {duration((total - images) / speed)} left" if speed else ""
    return f"{images:,} of {total:,} images  {speed:,.0f} images/s{left}"
