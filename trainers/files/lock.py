"""One writer of a folder at a time."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from trainers.errors import TrainerError

PATIENCE = 10.0
"""Seconds to wait for the folder: a rank whose launcher was killed writes on for a moment."""


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Holds ``folder/lock``, which the kernel drops with its holder.

    Raises TrainerError where another process keeps it for ``PATIENCE`` seconds, or the folder can't be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / "lock").open("a")
    except OSError as error:
        raise TrainerError(f"{folder}: can't be written ({error.strerror}); give another folder") from error
    with file:
        _take(file, folder)
        yield


def _take(file: IO[str], folder: Path) -> None:
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                why = "another training writes there; wait for its end, or give this one a folder of its own"
                raise TrainerError(f"{folder}: {why}") from None
            time.sleep(0.05)
        except OSError:  # a file system without locks
            return None
