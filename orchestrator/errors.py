"""Errors a user sees. Each says what went wrong, where, and what to do.

    GansweepError            exit status
    ├── StoppedAtOnceError   130 Ctrl-C for the second time
    ├── UserError            2   the input is wrong: a file, a name, a path
    └── WorkError            1   the work failed
        ├── UntrainableError 1   a trial's settings can't be trained: it would fail the same way each time
        ├── LedgerError      1   the ledger's database can't be written
        │   └── LeaseLostError   another driver has taken the sweep over
        ├── OutOfMemoryError 1   a trial needs more memory than it was given
        ├── RankLostError    1   the process of a rank died
        ├── HungError        1   ranks gave no sign of life, or made no step
        ├── NodeGoneError    1   a node was lost, preempted or drained: not the fault of any trial
        ├── DataGoneError    1   the data can't be read where a leg ran: not the fault of any trial
        └── StoreError       1   artifacts can't be read or written: not the fault of any trial
            └── DamagedArtifactError  what was stored is changed, incomplete or gone

An unreadable sweep file is a ``trainers.settings.SettingsError`` (exit status 2).
"""

from __future__ import annotations


class GansweepError(Exception):
    """Anything that ends a command with one clear message instead of a traceback."""

    exit_status = 1


class StoppedAtOnceError(GansweepError):
    """Ctrl-C for the second time: nothing was waited for."""

    exit_status = 130


class UserError(GansweepError):
    """What the user asked for can't be done as asked."""

    exit_status = 2


class WorkError(GansweepError):
    """The input was right, the work failed; what was recorded stays."""


class UntrainableError(WorkError):
    """Settings that fail the same way each time; the message is what the trainers said of them."""


class LedgerError(WorkError):
    """The ledger's database does not answer, or refuses; what it took stays."""


class LeaseLostError(LedgerError):
    """This driver slept or was cut off for so long that another has taken its sweep over: it may write no more."""


class OutOfMemoryError(WorkError):
    """A training for which a GPU or a host has too little memory; the message says what to lower."""


class RankLostError(WorkError):
    """The process of a rank died: killed, or crashed in a library."""


class HungError(WorkError):
    """A rank gave no sign of life, or the ranks made no step, for ``resources.hang_seconds``."""


class NodeGoneError(WorkError):
    """A node on which a leg ran was lost, preempted or drained. Where there was time for a checkpoint off any report,
    ``checkpoint`` is its key.
    """

    def __init__(self, message: str, checkpoint: str | None = None) -> None:
        super().__init__(message)
        self.checkpoint = checkpoint


class DataGoneError(WorkError):
    """Data that could be read when the sweep began can't be read by a worker: a node without the folder, a lost
    mount.
    """


class StoreError(WorkError):
    """The artifact store can't be reached, refuses, or is full."""


class DamagedArtifactError(StoreError):
    """What was stored is changed, incomplete or gone; an older one may do."""


def first_line(error: Exception) -> str:
    """Of its message; its class where it has none."""
    message = str(error).strip()
    return message.splitlines()[0] if message else type(error).__name__
