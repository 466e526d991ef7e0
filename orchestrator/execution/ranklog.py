"""What ranks print, kept in the artifact store beside the training that it belongs to.

Ray sends what a process prints to a file of its node. While a leg runs, a thread of the rank copies what is new of that
file; after a death somebody else on the node does.
"""

from __future__ import annotations

import os
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import StoreError
from orchestrator.paths import log_key

if TYPE_CHECKING:
    from orchestrator.artifacts import Store

LONGEST = 2**20
"""Bytes kept per rank of a training."""
EVERY = 5.0
"""Seconds between two copies."""


@dataclass(frozen=True)
class Part:
    """The part of a file that a leg printed, up to ``end`` or as far as it goes; ``heading`` tells it from others."""

    key: str
    heading: str
    file: str
    start: int
    end: int | None = None


def keep(store: Store, part: Part) -> None:
    """Put a part at the end of the log it belongs to, where an earlier copy of it may stand. One of a rank that has
    printed nothing says when and where it ran.
    """
    with Path(part.file).open("rb") as file:
        end = part.end or file.seek(0, os.SEEK_END)
        file.seek(max(part.start, end - LONGEST))
        printed = file.read(end - file.tell())
    with tempfile.TemporaryDirectory() as folder:
        before = Path(folder) / "before"
        with suppress(StoreError):
            store.get(part.key, before)
        old = before.read_bytes() if before.exists() else b""
        heading = f"--- {part.heading}\n".encode()
        (whole := Path(folder) / "log").write_bytes((old.split(heading)[0] + heading + printed)[-LONGEST:])
        store.put(whole, part.key)


class RankLog:
    """Of this process, whose standard output and error become one."""

    def __init__(self, store: Store, rank: int, node: str) -> None:
        self._store, self._rank, self._node = store, rank, node
        os.dup2(1, 2)
        self._file = _printed_to()
        self.part: Part | None = None
        self._ended: list[Part] = []
        self._copied: tuple[Part | None, int] = (None, 0)
        self._lock, self._wake, self._over = threading.Lock(), threading.Event(), False
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        if self._file.is_file():  # else a terminal, or nothing
            self._thread.start()

    def begin(self, leg: str, prefix: str) -> None:
        """From now on it is another leg that prints."""
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        heading = f"{now}  leg {leg}, rank {self._rank} on {self._node}"
        with self._lock:
            self._end()
            size = self._file.stat().st_size if self._file.is_file() else 0
            self.part = Part(log_key(prefix, self._rank), heading, str(self._file), size)

    def close(self) -> None:
        """Copies the rest."""
        with self._lock:
            self._end()
            self._over = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=EVERY)

    def _end(self) -> None:
        if self.part:
            self._ended.append(replace(self.part, end=self._file.stat().st_size if self._file.is_file() else 0))
            self.part = None

    def _run(self) -> None:
        while True:
            self._wake.wait(EVERY)
            with self._lock:
                parts, self._ended, over = [*self._ended, self.part], [], self._over
            for part in filter(None, parts):
                size = part.end if part.end is not None else self._file.stat().st_size
                if (replace(part, end=None), size) != self._copied:
                    with suppress(Exception):  # the store says so itself where it matters: with a checkpoint
                        keep(self._store, part)
                    self._copied = replace(part, end=None), size
            if over:
                return


def _printed_to() -> Path:
    """The file behind this process's standard output; one that is none where the system does not say."""
    with suppress(OSError):
        return Path("/proc/self/fd/1").readlink()
    return Path(os.devnull)
