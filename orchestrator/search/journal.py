"""Where a ledger's study is stored: a journal file in the home, or a database by URL."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from orchestrator.errors import UserError
from orchestrator.lines import cut_torn_line


def open_storage(url: str, journal: Path) -> BaseStorage:
    """``auto`` is the file ``journal``; else an Optuna RDB URL, in which ``$NAME`` is taken from the environment.

    Raises UserError where a database can't be used.
    """
    if url == "auto":
        return JournalStorage(JournalFileBackend(str(journal), lock_obj=_FileLock(journal)))
    try:
        return RDBStorage(os.path.expandvars(url))
    except Exception as error:  # SQLAlchemy, the driver and the server each have errors of their own
        kind = type(error).__name__
        raise UserError(
            f"search.storage: the ledger's database can't be used ({kind}); check the URL, its driver, and that it runs"
        ) from None


class _FileLock(JournalFileOpenLock):
    """An advisory lock that the kernel drops with its holder, where Optuna's own outlives a killed process by 30 s.

    Taking it also cuts a line that a killed writer left half written: the next append would glue to it and make the
    journal unreadable.
    """

    def __init__(self, journal: Path) -> None:
        self._journal, self._held = journal, -1

    def acquire(self) -> bool:
        """Waits for the lock."""
        self._held = os.open(f"{self._journal}.lock", os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(self._held, fcntl.LOCK_EX)
        cut_torn_line(self._journal)
        return True

    def release(self) -> None:
        os.close(self._held)
