"""Between the ledger and the slots: hands out the ledger's legs, writes down what comes back, tells MLflow's spool and
the user.

Everything here runs in the driver's main thread and only appends to local files, so that nothing remote can hold a
trial up.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any, Literal, Protocol

from orchestrator.artifacts import Store
from orchestrator.errors import GansweepError, StoreError, WorkError
from orchestrator.execution.order import LegOrder
from orchestrator.paths import trial_key
from orchestrator.search.ledger import Ledger, SweepState
from orchestrator.search.trial import Leg, Trial
from orchestrator.tracking import events
from orchestrator.tracking.recorder import without_secrets
from orchestrator.tracking.spool import Spool
from trainers.provenance import IncomparableError

log = logging.getLogger(__name__)

FAILURES_IN_A_ROW = 6
"""So many legs dead without one report between them is no longer the fault of a trial: the sweep stops and says why."""

STORE_FAILURES_IN_A_ROW = 3
"""Each has been retried for a while by the store's own client."""

_MLFLOW_STATUS = {"crashed": "FAILED"}


class Progress(Protocol):
    """Who watches a sweep run."""

    def note(self, text: str) -> None:
        """Something worth a line."""

    def searching(self, ledger: Ledger, slots: int) -> None:
        """Legs are about to run."""

    def reported(self, leg: Leg, report: dict[str, Any]) -> None:
        """A leg made a report; the ledger knows it already."""

    def ended(self, leg: Leg, trial: Trial | None) -> None:
        """A leg ended or died; ``trial`` as it stands now, None for a confirmation."""


class Conductor:
    """``failure`` is why the sweep had to stop by itself, or None."""

    def __init__(self, ledger: Ledger, spool: Spool, store: Store, stop_request: Path, progress: Progress) -> None:
        self._ledger, self._spool, self._store = ledger, spool, store
        self._stop_request, self._progress = stop_request, progress
        self._legs: dict[str, Leg] = {}
        self._last: dict[str, str] = {}
        self._known: set[int] = set()
        self._measured: set[int] = set()
        self._verdicts = {trial.id: trial.verdict for trial in ledger.trials()}
        self._dead_in_a_row = 0
        self.interrupted = False
        self.failure: GansweepError | None = None
        self._dataset = _dataset(ledger)

    # -- what the executor calls -----------------------------------------------------------------------------------

    def next_leg(self) -> tuple[str, LegOrder] | Literal["wait", "done"]:
        if self.stopping():
            return "done"
        leg = self._ledger.next_leg()
        if isinstance(leg, str):
            return leg
        prefix = trial_key(self._ledger.key, leg.trial, leg.confirm_seed)
        self._legs[prefix] = leg
        self._introduce(leg)
        config = self._ledger.sweep.trial_config(leg.params | _seed(leg))
        return prefix, LegOrder(config.model_dump(mode="json"), leg.until, prefix, leg.checkpoints)

    def heard(self, order: LegOrder, report: dict[str, Any]) -> None:
        leg = self._legs[order.prefix]
        self._dead_in_a_row = 0
        try:
            self._ledger.require_comparable(leg, report["provenance"])
        except IncomparableError as error:
            way_out = "go on where the first trials were measured, or start a new sweep (--name)"
            self.failure = WorkError(f"{error}; {way_out}")
            return
        if leg.confirm_seed is None:  # before the ledger: what it knows is never trained, nor told, again
            self._spool.append(events.reported(leg.trial, report))
            self._tell_provenance(leg.trial, report["provenance"])
            self._tell_verdict(leg.trial, report)
        self._ledger.report(leg, report)
        self._last[order.prefix] = report["checkpoint"]
        self._progress.reported(leg, report)

    def ended(self, order: LegOrder) -> None:
        leg = self._legs.get(order.prefix)
        if leg and not self.stopping():  # else it may be cut short, and is settled in ``close``, its last upload done
            self._settle(order.prefix, leg)

    def failed(self, order: LegOrder, error: WorkError) -> None:
        leg = self._legs.pop(order.prefix)
        log.error("leg %s died: %s", order.prefix, error)
        storage = isinstance(error, StoreError)
        words = str(error) if storage else _last_lines(error)
        trial = self._ledger.fail_leg(leg, words, blame=not storage)
        self._dead_in_a_row += 1
        if self._dead_in_a_row >= (STORE_FAILURES_IN_A_ROW if storage else FAILURES_IN_A_ROW):
            self.failure = type(error)(f"{self._dead_in_a_row} legs died one after the other, the last of: {words}")
        self._tell_end(trial)
        self._progress.ended(leg, trial)

    def stopping(self) -> bool:
        return self.interrupted or self.failure is not None or self._stop_request.exists()

    # -- what the sweep calls --------------------------------------------------------------------------------------

    def open(self) -> None:
        sweep = self._ledger.sweep
        self._ledger.set_state("running")
        settings = _flat(
            sweep.model_dump(mode="json", by_alias=True, exclude={"tracking", "artifacts"}, exclude_none=True)
        )
        settings["search.storage"] = without_secrets(sweep.search.storage)
        tags = {"gansweep.state": "running", "seed": sweep.train.seed, **events.provenance()}
        self._spool.append(events.started(None, settings, tags, self._dataset))
        self._spool.append(events.text(None, "sweep.yaml", without_secrets(sweep.to_yaml())))
        for trial in self._ledger.trials():
            if trial.ended:  # who died between writing and telling has not told; the spool knows what was told
                self._tell_end(trial)

    def close(self) -> SweepState:
        """The slots are gone: settle legs cut short, and say how the sweep stands."""
        for prefix, leg in list(self._legs.items()):
            last = self._last.get(prefix)
            if last and last not in leg.checkpoints and self._is_stored(last):
                self._ledger.stored_late(leg, last)
            self._settle(prefix, leg)
        self._ledger.release()
        state = self._state()
        if state == "finished":
            for trial in self._ledger.close():
                self._tell_end(trial)
        self._ledger.set_state(state)
        best = self._ledger.best()
        tags = {"gansweep.state": state, "gansweep.best": best.id if best else "none"}
        status = {"finished": "FINISHED", "failed": "FAILED"}.get(state, "KILLED")
        self._spool.append(events.ended(None, status, tags))
        return state

    def _state(self) -> SweepState:
        if self.failure:
            return "failed"
        if self._ledger.is_over():
            return "finished"
        return "stopped" if self._stop_request.exists() else "interrupted"

    # -- below -----------------------------------------------------------------------------------------------------

    def _settle(self, prefix: str, leg: Leg) -> None:
        self._legs.pop(prefix)
        trial = self._ledger.end_leg(leg)
        if leg.confirm_seed is not None:
            self._tell_confirmation(leg)
        self._tell_end(trial)
        self._progress.ended(leg, trial)

    def _is_stored(self, key: str) -> bool:
        try:
            return self._store.exists(key)
        except StoreError as error:
            log.warning("%s; the leg will go on from the checkpoint before", error)
            return False

    def _introduce(self, leg: Leg) -> None:
        """A trial's run is announced once per driver: who died in between may not have got round to it."""
        if leg.trial in self._known:
            return
        self._known.add(leg.trial)
        config = self._ledger.sweep.trial_config(leg.params)
        if leg.confirm_seed is None:
            tags = {"gansweep.state": "running"}
            self._spool.append(events.started(leg.trial, _flat(config.model_dump(mode="json")), tags, self._dataset))

    def _tell_provenance(self, trial: int, provenance: dict[str, Any]) -> None:
        """How the metrics were measured, once per trial: values measured differently are never compared."""
        if trial not in self._measured:
            self._measured.add(trial)
            tags = {f"fid.{name}": value for name, value in provenance.items()}
            self._spool.append(events.tagged(trial, tags))

    def _tell_verdict(self, trial: int, report: dict[str, Any]) -> None:
        """Every change of it, and every rewind, stays as a tag with the reasons."""
        verdict, reasons = report["health"]["verdict"], "; ".join(report["health"]["reasons"])
        if verdict != self._verdicts.get(trial, "healthy"):
            said = f"{verdict}: {reasons}" if reasons else verdict
            tags = {f"gansweep.verdict.{report['images']}": said}
            tags |= {"gansweep.verdict": verdict, "gansweep.reasons": reasons or "none"}
            self._spool.append(events.tagged(trial, tags))
        if report["rewind"]:
            self._spool.append(events.tagged(trial, {f"gansweep.rewind.{report['images']}": reasons}))
        self._verdicts[trial] = verdict

    def _tell_end(self, trial: Trial | None) -> None:
        if trial is None:
            return
        tags = {"gansweep.state": trial.state, "gansweep.verdict": trial.verdict, "gansweep.rung": trial.rung}
        tags["gansweep.reasons"] = "; ".join(trial.reasons) or "none"
        tags |= {"gansweep.score": trial.score} if trial.score is not None else {}
        tags |= {"gansweep.checkpoint": f"{self._store.url}/{trial.checkpoint}"} if trial.checkpoint else {}
        tags |= {"gansweep.error": without_secrets(trial.error)} if trial.error and trial.state == "crashed" else {}
        if trial.ended:
            self._spool.append(events.ended(trial.id, _MLFLOW_STATUS.get(trial.state, "FINISHED"), tags))
        else:
            self._spool.append(events.tagged(trial.id, tags))

    def _tell_confirmation(self, leg: Leg) -> None:
        runs = self._ledger.confirmations.of(leg.trial)
        number = next(i for i, run in enumerate(runs) if run.seed == leg.confirm_seed)
        score = runs[number].score
        if score is not None:
            self._spool.append(events.confirmed(leg.trial, number, self._ledger.sweep.objective.metric, score))


def _seed(leg: Leg) -> dict[str, int]:
    return {} if leg.confirm_seed is None else {"train.seed": leg.confirm_seed}


def _dataset(ledger: Ledger) -> dict[str, str]:
    """What was learned from, for MLflow. Reading it here also shows missing or broken data before anything starts."""
    from trainers.data import load

    settings = ledger.sweep.data
    data = load(settings)
    source = json.dumps(settings.model_dump(mode="json", exclude_none=True))
    profile = json.dumps({"examples": len(data), "held_out": len(data.test), "shape": data.space.shape})
    return {"name": data.name, "digest": data.fingerprint[:16], "source": source, "profile": profile}


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings under their dotted names."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict) and prefix + key != "search.space":
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _last_lines(error: WorkError) -> str:
    """Class and message of what a worker raised: the end of its traceback."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " | ".join(lines[-2:])[-600:]
