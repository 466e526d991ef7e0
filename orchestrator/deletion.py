"""What of a sweep is thrown away, and never while somebody drives it. MLflow and its registry keep what they have."""

from __future__ import annotations

import shutil
from pathlib import Path

from orchestrator.artifacts import store_of
from orchestrator.paths import Home
from orchestrator.search.journal import place
from orchestrator.search.known import Known
from orchestrator.search.lease import lease_of, place_of
from orchestrator.search.trial_requests import TrialRequests
from orchestrator.status import ledger_of


def delete(name: str, home: Home) -> None:
    """Remove a sweep: its files in the artifact store, then its ledger, then its folder here, so that the same command
    goes on after a death in between. Raises UserError where there is none, or somebody drives it.
    """
    ledger, paths = ledger_of(name, home)
    sweep, where = ledger.sweep, place_of(ledger.sweep, paths.ledger)
    with lease_of(sweep, paths).held():
        store_of(sweep, home).delete(ledger.key)
        if not isinstance(where, Path):  # a journal lies in the folder
            studies = place(where)
            for study in filter(None, map(studies.find, (TrialRequests.name_of(sweep), name))):
                studies.delete(study)
        for root in {paths.root, home.sweep(ledger.key).root}:  # under a shared profile it is named by the key
            shutil.rmtree(root, ignore_errors=True)


def delete_checkpoints(name: str, home: Home) -> int:
    """Remove the checkpoints of trials that have ended, but of the best and of whom is confirmed; returns how many.
    Scores, curves, grids and logs stay.
    """
    ledger, paths = ledger_of(name, home)
    with lease_of(ledger.sweep, paths).held():
        ledger.refresh()
        store, found = store_of(ledger.sweep, home), _spare(ledger)
        there = [key for key in found if store.exists(key)]
        for key in there:
            store.delete(key)
    return len(there)


def _spare(ledger: Known) -> list[str]:
    again, trials = ledger.confirmations.all(), ledger.trials()
    kept = {trial.id for trial in ledger.front()} | {run.trial for run in again}
    needed = {key for t in trials if not t.ended or t.id in kept for key in t.checkpoints}
    known = {key for t in trials for key in t.checkpoints} | ledger.branches()
    return sorted(known - needed)
