"""Where a ledger's study is stored: a journal file in the home, or a database by URL."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import optuna
from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from orchestrator.lines import cut_torn_line
from orchestrator.search.lease import Lease
from orchestrator.search.replay import JournaledTrial, Replay

optuna.logging.set_verbosity(optuna.logging.ERROR)


@dataclass(frozen=True)
class Study:
    """As it stands in ``storage``, under ``id`` there. What is written ``together`` costs one wait for the disk, where
    the storage can do that; a death in the middle of it leaves the first part.
    """

    storage: BaseStorage
    id: int
    attrs: dict[str, Any]
    trials: list[FrozenTrial]
    together: Callable[[], AbstractContextManager[None]] = nullcontext


class Place(Protocol):
    """What holds studies."""

    def find(self, name: str) -> Study | None:
        """The study of this name."""

    def create(self, name: str, directions: Sequence[StudyDirection]) -> Study:
        """A new one, without attributes and trials."""

    def delete(self, study: Study) -> None:
        """Gone, with its trials."""


def place(where: Path | str, lease: Lease | None = None) -> Place:
    """A journal file, or a database by URL, in which what is written is fenced by the ``lease``.

    Raises UserError where a database can't be used.
    """
    if isinstance(where, Path):
        return Journal(where)
    from orchestrator.search.database import Database

    return Database(where, lease)


class Journal:
    def __init__(self, file: Path) -> None:
        self._file = file
        self._backend = JournalFileBackend(str(file), lock_obj=_FileLock(file))

    def find(self, name: str) -> Study | None:
        replay = Replay(self._file, told=True)
        study = replay.study(name)
        if study is None:
            return None
        storage = _AppendOnlyStorage(self._backend, len(replay.trials))
        return Study(storage, study.id, study.user_attrs, [_frozen(trial) for trial in study.trials], storage.together)

    def create(self, name: str, directions: Sequence[StudyDirection]) -> Study:
        study = JournalStorage(self._backend).create_new_study(directions, name)
        storage = _AppendOnlyStorage(self._backend, len(Replay(self._file).trials))
        return Study(storage, study, {}, [], storage.together)

    def delete(self, study: Study) -> None:
        JournalStorage(self._backend).delete_study(study.id)


class _AppendOnlyStorage(JournalStorage):
    """Appends as Optuna's own storage does, and reads nothing back: that takes 10 s for 10,000 trials, and their memory
    twice. ``trials`` is how many the journal has, of all studies.
    """

    def __init__(self, backend: JournalFileBackend, trials: int) -> None:
        super().__init__(backend)
        self._trials = trials
        self._held: list[dict[str, Any]] | None = None

    @contextmanager
    def together(self) -> Iterator[None]:
        """One append of what is written inside."""
        held: list[dict[str, Any]] = []
        self._held = held
        try:
            yield
        finally:
            self._held = None
        self._backend.append_logs(held)

    def _write_log(self, op_code: int, extra_fields: dict[str, Any]) -> None:
        if self._held is None:
            super()._write_log(op_code, extra_fields)
        else:
            self._held.append({"op_code": op_code, "worker_id": self._worker_id_prefix, **extra_fields})

    def _sync_with_backend(self) -> None:
        """Who writes knows what stands there."""

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        self._replay_result._last_created_trial_id_by_this_process = self._trials  # what reading it back would say
        self._trials += 1
        return super().create_new_trial(study_id, template_trial)


def _frozen(trial: JournaledTrial) -> FrozenTrial:
    return FrozenTrial(
        number=trial.number,
        state=TrialState(trial.state),
        value=None,
        values=trial.values,
        datetime_start=None,
        datetime_complete=None,
        params=trial.params,
        distributions=_distributions(trial.distributions),
        user_attrs=trial.user_attrs,
        system_attrs=trial.system_attrs,
        intermediate_values=trial.intermediate_values,
        trial_id=trial.id,
    )


def _distributions(kinds: Mapping[str, str]) -> dict[str, BaseDistribution]:
    return {name: _distribution(kind) for name, kind in kinds.items()}


@cache
def _distribution(kind: str) -> BaseDistribution:
    return json_to_distribution(kind)


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
