"""Who drives a sweep: one process at a time, by a lease in the ledger's own store.

Of a journal file it is the kernel's lock on a file beside it, which goes with its holder; while he lives, however long
he sleeps, nobody else gets it. Of a database: ``rowlease.RowLease``.
"""

from __future__ import annotations

import fcntl
import getpass
import json
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

from orchestrator.commands import command
from orchestrator.errors import LeaseLostError, UserError

if TYPE_CHECKING:
    from orchestrator.paths import Home, SweepPaths
    from orchestrator.spec import Sweep

BEAT = 5.0
"""Seconds between two signs of life of a driver whose ledger is a database."""
ASKED = 10
"""Times, .05 s apart, that a file is tried which somebody may only have asked about."""
EXPIRY = 20.0
"""Seconds without a sign of life after which another driver may take the sweep over."""


@dataclass(frozen=True)
class Holder:
    """``who`` in words, and how many seconds ago it began and gave its last sign of life."""

    who: str
    since: float
    age: float


Refusal = Callable[[Holder], UserError]
"""Builds the error that a second driver gets."""


class Lease(Protocol):
    """``lost`` is set once another has taken it over; ``when_lost`` is called then, from another thread."""

    lost: LeaseLostError | None
    when_lost: Callable[[], None]

    @property
    def stop_asked(self) -> bool:
        """Whether somebody wants the holder to end after the current reports."""

    def holder(self) -> Holder | None:
        """Who has it now."""

    def held(self, note: Callable[[str], None] = lambda _: None) -> AbstractContextManager[None]:
        """Hold it. ``note`` is told where that has to wait for a holder that may have died. Raises UserError where
        another holds it.
        """

    def assure(self) -> None:
        """Raises LeaseLostError unless it is ours for the next seconds."""

    def ask_to_stop(self) -> None:
        """Ask its holder to end."""


def place_of(sweep: Sweep, default: Path | str) -> Path | str:
    """The ledger of a sweep: a journal file, or a database's URL, in which ``$NAME`` is taken from the environment."""
    return default if sweep.search.storage == "auto" else os.path.expandvars(sweep.search.storage)


def lease_of(sweep: Sweep, paths: SweepPaths) -> Lease:
    """Of the driver of a sweep. Raises UserError where its database can't be used."""
    return _lease(
        place_of(sweep, paths.ledger),
        sweep.name,
        paths.lock,
        paths.stop_request,
        lambda holder: _driven(sweep.name, holder),
    )


def promoting(model: str, home: Home) -> Lease:
    """Of whoever changes which version of a model has an alias."""
    if not re.fullmatch(r"[^/:\x00]+", model):
        raise UserError(f"model '{model}': a name without / and :, as MLflow has it")
    where, lock = home.profile.ledger if home.profile.is_shared else home.root, home.root / f"promoting-{model}.lock"
    return _lease(where, f"promoting:{model}", lock, lock.with_suffix(".stop"), lambda holder: _promoted(model, holder))


def _lease(where: Path | str, name: str, lock: Path, stop: Path, refusal: Refusal) -> Lease:
    if isinstance(where, Path):
        return FileLease(lock, stop, refusal)
    from orchestrator.search.rowlease import RowLease  # brings Optuna and SQLAlchemy

    return RowLease(where, name, refusal)


class FileLease:
    """Files ``lock`` and ``stop`` beside a journal."""

    def __init__(self, lock: Path, stop: Path, refusal: Refusal) -> None:
        self._lock, self._stop, self._refusal = lock, stop, refusal
        self.lost: LeaseLostError | None = None
        self.when_lost: Callable[[], None] = lambda: None

    @property
    def stop_asked(self) -> bool:
        return self._stop.exists()

    def holder(self) -> Holder | None:
        try:
            with self._lock.open("r") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return None
        except OSError:
            return self._written()
        return None

    @contextmanager
    def held(self, note: Callable[[str], None] = lambda _: None) -> Iterator[None]:
        with self._lock.open("a") as file:
            if not self._locked(file):
                raise self._refusal(self._written())
            self._stop.unlink(missing_ok=True)
            file.truncate(0)
            json.dump({"who": whoami(), "since": time.time()}, file)
            file.flush()
            yield

    def assure(self) -> None:
        """The kernel does."""

    def ask_to_stop(self) -> None:
        self._stop.touch()

    def _locked(self, file: IO[str]) -> bool:
        """Tried again for a moment: who asks for the ``holder`` locks the file too."""
        for _ in range(ASKED):
            with suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            time.sleep(0.05)
        return False

    def _written(self) -> Holder:
        """What the holder wrote, which an older version did not."""
        try:
            said = json.loads(self._lock.read_text())
            return Holder(said["who"], time.time() - said["since"], 0.0)
        except (ValueError, TypeError, KeyError):
            return Holder("another process", 0.0, 0.0)


def whoami(process: int | None = None) -> str:
    """``ada@node7 (process 4711)``; another process of this user, where one is named."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container's arbitrary user
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()} (process {process or os.getpid()})"


def _driven(sweep: str, holder: Holder) -> UserError:
    return UserError(
        f"sweep '{sweep}' is being run by {_words(holder)}; watch it with: {command('status', sweep, '--watch')}; or "
        f"end it with: {command('stop', sweep)}"
    )


def _promoted(model: str, holder: Holder) -> UserError:
    return UserError(f"model '{model}' is being promoted by {_words(holder)}; try again when that has ended")


def _words(holder: Holder) -> str:
    return f"{holder.who} since {_long(holder.since)}, heard of {_long(holder.age)} ago"


def _long(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
