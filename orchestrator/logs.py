"""What the ranks of a sweep's trainings printed, from the artifact store, wherever they ran and whether they live."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from orchestrator.artifacts import Store
from orchestrator.errors import DamagedArtifactError, UserError
from orchestrator.paths import log_key, trial_key
from orchestrator.search.known import Known

Log = tuple[str, str]
"""Name and text."""
AGAIN = 2.0
"""Seconds between two looks at what still grows."""
OVERLAP = 400
"""Characters of overlap by which a truncated log is aligned again."""


def follow(read: Callable[[], Iterator[Log]], runs: Callable[[], bool], show: Callable[[str], None]) -> None:
    """Show what ``read`` gives, and while ``runs`` what is new in it."""
    shown: dict[str, str] = {}
    while True:
        last = not runs()
        for name, text in read():
            if new := _new(shown.get(name, ""), text):
                show(f"==> {name}\n{new.rstrip()}")
            shown[name] = text
        if last:
            return
        time.sleep(AGAIN)


def logs(ledger: Known, store: Store, trial: int | None, rank: int | None) -> Iterator[Log]:
    """Each log there is, of all trials and ranks or of one. Raises UserError for one that is not
    there.
    """
    known = [t.id for t in ledger.trials()]
    if trial is not None and trial not in known:
        raise UserError(f"sweep '{ledger.sweep.name}' has no trial {trial}; it has {len(known)}, counted from 0")
    ranks = range(ledger.sweep.resources.workers_per_trial)
    if rank is not None and rank not in ranks:
        raise UserError(f"a trial of sweep '{ledger.sweep.name}' has {len(ranks)} ranks, counted from 0; not {rank}")
    trainings: list[tuple[int, int | None]] = [(number, None) for number in known]
    trainings += [(run.trial, run.seed) for run in ledger.confirmations.all()]
    for number, seed in trainings:
        for one in ranks:
            if trial in (None, number) and rank in (None, one):
                text = _text(store, log_key(trial_key(ledger.key, number, seed), one))
                if text is not None:
                    yield f"trial {number}{'' if seed is None else f' on seed {seed}'}, rank {one}", text


def _text(store: Store, key: str) -> str | None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            return store.get(key, Path(folder) / "log").read_text(errors="replace")
        except DamagedArtifactError:  # it has not begun, or a moment ago
            return None


def _new(before: str, now: str) -> str:
    if now.startswith(before):
        return now[len(before) :]
    _, seam, rest = now.rpartition(before[-OVERLAP:])
    return rest if seam else now
