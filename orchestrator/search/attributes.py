"""What a driver writes of a sweep as a whole: attributes of its study."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from orchestrator.paths import RunKey
from orchestrator.search.journal import Place, Study
from orchestrator.search.known import FILE, MADE, Known
from orchestrator.search.record import history_of
from orchestrator.search.trial import Leg
from orchestrator.search.writer import StudyWriter
from orchestrator.secrets import without_secrets
from orchestrator.spec import Sweep
from trainers.provenance import require_comparable


class Attributes(Known):
    """Safe to use from several threads of one process."""

    def __init__(self, sweep: Sweep, study: Study, studies: Place) -> None:
        super().__init__(sweep)
        self._studies, self._lock, self._writer = studies, threading.RLock(), StudyWriter(study)
        self._take(study.attrs, study.trials, self._writer.set_attr)

    def require_comparable(self, leg: Leg, provenance: dict[str, Any]) -> None:
        """Raises IncomparableError where a leg measures in another way than the legs before."""
        if known := self.provenance:
            require_comparable({"this sweep so far": known, f"trial {leg.trial} now": provenance})
        else:
            self._set("gansweep.provenance", provenance)

    def keep_file(self) -> None:
        """The sweep file as it now is, without passwords, so that the sweep can be opened from anywhere."""
        text = without_secrets(self.sweep.to_yaml())
        if self._attrs.get(FILE) != text:
            self._set(FILE, text)

    def made(self, by: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """When the sweep began, by whom and on what, as ``by`` said at its first start."""
        if MADE not in self._attrs:
            self._set(MADE, by())
        found: dict[str, Any] = self._attrs[MADE]
        return found

    def history(self) -> dict[RunKey, dict[int, dict[str, Any]]]:
        """Every report of every training, by images: read anew, since it is much."""
        study = self._studies.find(self.sweep.name)
        assert study is not None
        return history_of(study.attrs, study.trials)

    def _set(self, name: str, value: Any) -> None:
        with self._lock:
            self._writer.set_attr(name, value)
