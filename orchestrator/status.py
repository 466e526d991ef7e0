"""A sweep as others see it: the document of ``gansweep status --json``, made from the ledger alone.

Read-only callers import only this module: neither torch nor Ray nor MLflow.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from orchestrator.errors import GansweepError, UserError, WorkError
from orchestrator.paths import Home, SweepPaths
from orchestrator.search.known import FILE, Known, Reading, SweepState
from orchestrator.search.lease import lease_of
from orchestrator.search.trial import Trial
from orchestrator.spec import Sweep, loads
from trainers.reading.document import SettingsError

if TYPE_CHECKING:
    from orchestrator.search.database import Database


def sweeps(home: Home) -> list[str]:
    """The names of those that live here."""
    return _studies(home).names() if home.profile.is_shared else home.sweeps()


def find(name: str, home: Home) -> tuple[Sweep, SweepPaths]:
    """A sweep by name: in a shared ledger, or by its file in the home. Raises UserError where there is none."""
    paths = home.sweep(name)
    if not home.profile.is_shared:
        if not paths.spec.is_file():
            raise _unknown(name, home, str(home.root))
        return loads(paths.spec.read_text(), str(paths.spec)), paths
    attrs = _studies(home).attrs(name)
    if attrs is None:
        raise _unknown(name, home, "the profile's ledger")
    if FILE not in attrs:
        raise UserError(
            f"sweep '{name}' was made by an older version, which kept its file in a home: open it there once with: "
            "gansweep resume, and with its database as search.storage"
        )
    return loads(attrs[FILE], f"sweep '{name}' in the ledger"), paths


def _studies(home: Home) -> Database:
    from orchestrator.search.database import Database  # brings Optuna and SQLAlchemy

    return Database(home.profile.ledger)


def _unknown(name: str, home: Home, where: str) -> UserError:
    return UserError(f"no sweep '{name}' in {where}; sweeps there: {', '.join(sweeps(home)) or 'none yet'}")


def ledger_of(name: str, home: Home, told: bool = False) -> tuple[Reading, SweepPaths]:
    """The ledger of a sweep, for reading; ``told`` as for ``Reading``."""
    sweep, paths = find(name, home)
    return Reading(sweep, paths.ledger, told), paths


def stop(name: str, home: Home) -> bool:
    """Ask a running sweep to end after its current reports; False where none runs."""
    lease = lease_of(*find(name, home))
    running = lease.holder() is not None
    if running:
        lease.ask_to_stop()
    return running


def status(name: str, home: Home) -> dict[str, Any]:
    """The document of ``gansweep status --json``."""
    return describe(*ledger_of(name, home))


def overview(home: Home) -> list[dict[str, Any]]:
    """The status of every sweep that lives here; one that can't be read says why under ``error``."""
    return [_status_or_error(name, home) for name in sweeps(home)]


def _status_or_error(name: str, home: Home) -> dict[str, Any]:
    try:
        return status(name, home)
    except (GansweepError, SettingsError) as error:
        return {
            "name": name,
            "state": "unreadable",
            "trials": [],
            "best": None,
            "front": [],
            "confirmed": [],
            "error": str(error),
        }


def describe(ledger: Known, paths: SweepPaths) -> dict[str, Any]:
    """``{"name", "state", "trials": […], "best", "front", "confirmed", "spent", "first_rung"}``: the last is
    what ``first_rung.measured`` found, or None."""
    return {
        "name": ledger.sweep.name,
        "state": state(ledger, paths),
        "trials": rows(ledger),
        "best": best_row(ledger),
        "front": front_rows(ledger),
        "confirmed": ledger.confirmations.summaries(),
        "spent": ledger.spent()._asdict(),
        "first_rung": ledger.first_rung,
    }


def best_row(ledger: Known) -> dict[str, Any] | None:
    """The best trial, ``{"id", "score", "confirmed", "params"}``: its score in the search, and the median on fresh
    seeds, None where it has not been trained on them.
    """
    best = ledger.best()
    if best is None:
        return None
    medians = {summary["trial"]: summary["median"] for summary in ledger.confirmations.summaries()}
    return {"id": best.id, "score": best.score, "confirmed": medians.get(best.id), "params": best.params}


def best_words(best: Mapping[str, Any]) -> str:
    """What the best trial is worth: ``8.69 on fresh seeds, 1.94 in the search``."""
    found = f"{best['score']:.4g}"
    return found if best["confirmed"] is None else f"{best['confirmed']:.4g} on fresh seeds, {found} in the search"


def front_rows(ledger: Known) -> list[dict[str, Any]]:
    """The Pareto front of a sweep with several objectives: ``{"id", "scores" by metric, "confirmed" (whether they are
    medians on fresh seeds), "params"}``; empty with one.
    """
    metrics, standing, medians = ledger.sweep.objective.metrics, ledger.standing(), ledger.confirmations.medians()
    return [
        {"id": t.id, "scores": dict(zip(metrics, standing[t.id], strict=True)), "params": t.params}
        | {"confirmed": t.id in medians}
        for t in (ledger.front() if len(metrics) > 1 else ())
    ]


def front_words(front: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """A line for each of its trials."""
    for one in front:
        scores = ", ".join(f"{metric} {value:.4g}" for metric, value in one["scores"].items())
        yield f"trial {one['id']}: {scores}{' (confirmed)' if one['confirmed'] else ''}"


def require_fruit(document: dict[str, Any]) -> None:
    """Raises WorkError where a sweep is over and no trial finished: how they ended, with a reason for each kind."""
    trials = document["trials"]
    if document["state"] != "finished" or any(trial["state"] == "finished" for trial in trials):
        return
    ends = Counter(trial["state"] for trial in trials)
    first = {trial["state"]: trial for trial in reversed(trials)}
    why = "".join(f"\n  {count} {state}{_reason(first[state])}" for state, count in ends.most_common())
    raise WorkError(f"sweep '{document['name']}' is over and no trial finished:{why}")


def why(trial: Mapping[str, Any]) -> str:
    """The reason of its end, of one of the document's ``trials``; empty where none was recorded."""
    return (trial["error"] if trial["state"] == "crashed" else "") or "; ".join(trial["reasons"])


def origin_words(trial: Mapping[str, Any]) -> str:
    """Where one of the document's ``trials`` went on from, as ``3 at 20,000``; empty for one that began by itself."""
    origin = trial.get("origin")
    return f"{origin['trial']} at {origin['images']:,}" if origin else ""


def _reason(trial: dict[str, Any]) -> str:
    return f", as trial {trial['id']}: {reason}" if (reason := why(trial)) else ""


def rows(ledger: Known) -> list[dict[str, Any]]:
    """The ``trials`` of the document."""
    return [_trial(trial) for trial in ledger.trials()]


def state(ledger: Known, paths: SweepPaths) -> SweepState:
    """A sweep that says it runs, but whose driver is dead, is interrupted."""
    written = ledger.state()
    driven = written != "running" or lease_of(ledger.sweep, paths).holder()
    return written if driven else "interrupted"


def _trial(trial: Trial) -> dict[str, Any]:
    return {
        "id": trial.id,
        "origin": trial.origin
        and {"trial": trial.origin.trial, "images": trial.begun, "replaced": trial.origin.replaced},
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
