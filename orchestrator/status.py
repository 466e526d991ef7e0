"""A sweep as others see it: the document of ``gansweep status --json``, made from the ledger alone.

Who only looks imports no more than this: neither torch nor Ray nor MLflow.
"""

from __future__ import annotations

import fcntl
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from orchestrator.commands import command
from orchestrator.errors import GansweepError, UserError
from orchestrator.paths import Home, SweepPaths
from orchestrator.search.known import Known, Reading, SweepState
from orchestrator.search.trial import Trial
from orchestrator.spec import Sweep, loads
from trainers.document import SettingsError


def find(name: str, home: Home) -> tuple[Sweep, SweepPaths]:
    """A sweep of this home, by name. Raises UserError where there is none."""
    paths = home.sweep(name)
    if not paths.spec.is_file():
        known = ", ".join(home.sweeps()) or "none yet"
        raise UserError(f"no sweep '{name}' in {home.root}; sweeps there: {known}")
    return loads(paths.spec.read_text(), str(paths.spec)), paths


def ledger_of(name: str, home: Home) -> tuple[Reading, SweepPaths]:
    """The ledger of a sweep of this home, for reading."""
    sweep, paths = find(name, home)
    return Reading(sweep, paths.ledger), paths


def stop(name: str, home: Home) -> bool:
    """Ask a running sweep to end after its current reports; False where none runs."""
    _, paths = find(name, home)
    running = is_driven(paths)
    if running:
        paths.stop_request.touch()
    return running


def status(name: str, home: Home) -> dict[str, Any]:
    """The document of ``gansweep status --json``."""
    return describe(*ledger_of(name, home))


def overview(home: Home) -> list[dict[str, Any]]:
    """The status of every sweep of this home; one that can't be read says why under ``error``."""
    return [_status_or_error(name, home) for name in home.sweeps()]


def _status_or_error(name: str, home: Home) -> dict[str, Any]:
    try:
        return status(name, home)
    except (GansweepError, SettingsError) as error:
        return {"name": name, "state": "unreadable", "trials": [], "best": None, "confirmed": [], "error": str(error)}


def describe(ledger: Known, paths: SweepPaths) -> dict[str, Any]:
    """``{"name", "state", "trials": […], "best", "confirmed"}``, as fixed in the design's section 4."""
    best = ledger.best()
    return {
        "name": ledger.sweep.name,
        "state": state(ledger, paths),
        "trials": rows(ledger),
        "best": {"id": best.id, "score": best.score, "params": best.params} if best else None,
        "confirmed": ledger.confirmations.summaries(),
    }


def fruitless(document: dict[str, Any]) -> str | None:
    """How the trials ended, with a reason for each kind of end, where none finished; None where one did."""
    trials = document["trials"]
    if any(trial["state"] == "finished" for trial in trials):
        return None
    ends = Counter(trial["state"] for trial in trials)
    first = {trial["state"]: trial for trial in reversed(trials)}
    return "".join(f"\n  {count} {state}{_reason(first[state])}" for state, count in ends.most_common())


def _reason(trial: dict[str, Any]) -> str:
    why = (trial["error"] if trial["state"] == "crashed" else "") or "; ".join(trial["reasons"])
    return f", as trial {trial['id']}: {why}" if why else ""


def rows(ledger: Known) -> list[dict[str, Any]]:
    """The ``trials`` of the document."""
    return [_trial(trial) for trial in ledger.trials()]


def state(ledger: Known, paths: SweepPaths) -> SweepState:
    """A sweep that says it runs, but whose driver is dead, is interrupted."""
    written = ledger.state()
    return "interrupted" if written == "running" and not is_driven(paths) else written


@contextmanager
def driving(paths: SweepPaths) -> Iterator[None]:
    """Hold the sweep's lock: one driver at a time, and the kernel drops it with the process. Raises UserError where it
    is held.
    """
    with paths.lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(
                f"sweep '{paths.name}' is being run by another process; watch it with: "
                f"{command('status', paths.name, '--watch')}; or end it with: {command('stop', paths.name)}"
            ) from None
        file.write(str(os.getpid()))
        file.flush()
        yield


def is_driven(paths: SweepPaths) -> bool:
    try:
        with paths.lock.open("r") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _trial(trial: Trial) -> dict[str, Any]:
    return {
        "id": trial.id,
        "state": trial.state,
        "params": trial.params,
        "images": trial.images,
        "rung": trial.rung,
        "score": trial.score,
        "metrics": trial.metrics,
        "verdict": trial.verdict,
        "reasons": list(trial.reasons),
        "mlflow_run_id": trial.mlflow_run_id,
        "checkpoint": trial.checkpoint,
        "images_per_second": trial.images_per_second,
        "violations": {name: distance for name, distance in trial.violations.items() if distance > 0},
        "error": trial.error,
    }
