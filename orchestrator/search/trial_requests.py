"""What people want of single trials while a sweep may run: written beside the ledger, which only its driver writes."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from optuna.exceptions import DuplicatedStudyError
from optuna.study import StudyDirection

from orchestrator.errors import UserError
from orchestrator.search.journal import Place, Study, place
from orchestrator.search.lease import place_of
from orchestrator.spec import Sweep

log = logging.getLogger(__name__)

EVERY = 2.0
"""Seconds between two looks of a driver."""


class TrialRequests:
    """Attributes of a study of their own: in the same database, or in a journal beside the ledger's."""

    def __init__(self, sweep: Sweep, default: Path | str) -> None:
        where = place_of(sweep, default)
        self._where = where.with_name("wishes.journal") if isinstance(where, Path) else where
        self._name, self._looked = self.name_of(sweep), -EVERY

    @staticmethod
    def name_of(sweep: Sweep) -> str:
        """Of the study that holds those of ``sweep`` in a database."""
        return f"wishes:{sweep.name}"

    def add(self, request: Mapping[str, Any]) -> None:
        """For the driver, now or at the next resume: ``{"add": settings}`` or ``{"stop": trial}``."""
        study = self._studies.find(self._name) or self._created()
        study.storage.set_study_user_attr(study.id, f"{time.time_ns():020d}", dict(request))

    def all(self) -> dict[str, dict[str, Any]]:
        """The requests so far, by key, the oldest first; none before it is time to look again."""
        if time.monotonic() - self._looked < EVERY or (isinstance(self._where, Path) and not self._where.exists()):
            return {}
        self._looked = time.monotonic()
        try:
            study = self._studies.find(self._name)
        except UserError as error:  # a database that does not answer: what the driver has to write will tell
            log.warning("%s; requests wait", error)
            return {}
        return dict(sorted(study.attrs.items())) if study else {}

    @cached_property
    def _studies(self) -> Place:
        return place(self._where)

    def _created(self) -> Study:
        with suppress(DuplicatedStudyError):  # by somebody else, a moment ago
            return self._studies.create(self._name, [StudyDirection.MINIMIZE])
        study = self._studies.find(self._name)
        assert study
        return study
