"""Checkpoints and sample grids go to the store from the node that made them, off the training thread."""

from __future__ import annotations

import shutil
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.artifacts import Store

KEEP = 2
"""Checkpoints kept per training: the newest, and one to go back to if it is damaged."""


class Uploader:
    """One background thread, uploads in order. A failed upload raises StoreError from the next call."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="upload")
        self._pending: deque[Future[None]] = deque()
        self.checkpoints: list[str] = []
        """Keys of stored checkpoints of the current training, oldest first."""
        self._told: tuple[str, ...] = ()
        self._shared: frozenset[str] = frozenset()

    def tell(self) -> list[str]:
        """The newest two stored checkpoints, for the ledger; these stay until others are told."""
        self._told = tuple(self.checkpoints[-KEEP:])
        return list(self._told)

    def begin(self, checkpoints: list[str], shared: frozenset[str] = frozenset()) -> None:
        """Start on another training, of which ``checkpoints`` are stored already; those that are ``shared`` stay. It
        is not blamed for the last one's failed uploads.
        """
        wait(self._pending)
        self._pending.clear()
        for key in set(self.checkpoints) - set(self._told) - self._shared:
            self._thread.submit(self._store.delete, key)
        self.checkpoints, self._shared = checkpoints, shared
        self._told = tuple(checkpoints)

    def checkpoint(self, folder: Path, key: str) -> None:
        self._submit(self._put_checkpoint, folder, key)

    def file(self, path: Path, key: str) -> None:
        self._submit(self._store.put, path, key)

    def flush(self) -> None:
        """Wait until everything is stored."""
        while self._pending:
            self._pending.popleft().result()

    def close(self) -> None:
        self._thread.shutdown(wait=True)

    def _submit(self, work: object, path: Path, key: str) -> None:
        while self._pending and self._pending[0].done():
            self._pending.popleft().result()
        self._pending.append(self._thread.submit(work, path, key))  # type: ignore[arg-type]

    def _put_checkpoint(self, folder: Path, key: str) -> None:
        self._store.put(folder, key)
        shutil.rmtree(folder)
        if key not in self.checkpoints:
            self.checkpoints.append(key)
        while len(self.checkpoints) > KEEP and self.checkpoints[0] not in self._told:
            oldest = self.checkpoints.pop(0)
            if oldest not in self._shared:
                self._store.delete(oldest)
