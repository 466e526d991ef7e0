"""Between the ledger and the slots: hands out the ledger's legs, writes down what comes back, tells MLflow's spool and
the user.

Everything here runs in the driver's main thread and only appends to local files, so that nothing remote can hold a
trial up.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

from orchestrator.artifacts import Store
from orchestrator.earlier import Stopwatch
from orchestrator.errors import DataGoneError, GansweepError, StoreError, UntrainableError, WorkError
from orchestrator.execution.order import LegOrder
from orchestrator.paths import RunKey, trial_key
from orchestrator.search.confirmation import Confirmation
from orchestrator.search.known import SweepState
from orchestrator.search.ledger import Ledger
from orchestrator.search.trial import Leg, Trial
from orchestrator.tracking import events
from orchestrator.tracking.recorder import without_secrets
from orchestrator.tracking.spool import Spool
from trainers.provenance import IncomparableError

log = logging.getLogger(__name__)

FAILURES_IN_A_ROW = 6
"""So many legs dead without one report between them is no longer the fault of a trial: the sweep stops and says why."""

OUTSIDE_FAILURES_IN_A_ROW = 3
"""Of the store, each of which its own client has retried for a while, or of the data: no trial is at fault."""

_MLFLOW_STATUS = {"finished": "FINISHED", "crashed": "FAILED"}
"""Of a run that ended; every other end was ours, and is KILLED. MLflow shows both with the same red mark, so the name
of a run that did not finish says how it ended.
"""


class Progress(Protocol):
    """Who watches a sweep run."""

    def note(self, text: str) -> None:
        """Something worth a line."""

    def stage(self, doing: str) -> None:
        """What goes on before legs run, and may take a while."""

    def searching(self, ledger: Ledger, slots: int) -> None:
        """Legs are about to run."""

    def moved(self, images: Mapping[RunKey, int]) -> None:
        """About every second while legs run: images shown so far by each training that has begun."""

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
        self._known: set[RunKey] = set()
        self._measured: set[RunKey] = set()
        self._verdicts: dict[RunKey, str] = {trial.id: trial.verdict for trial in ledger.trials() if trial.reports}
        self._verdicts |= {(run.trial, run.seed): run.verdict for run in ledger.confirmations.all() if run.reports}
        self._dead_in_a_row = 0
        self.stopwatch = Stopwatch()
        self.interrupted = False
        self.failure: GansweepError | None = None
        self._dataset = _dataset(ledger, progress)

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
        self._spool.append(events.reported(leg.run, report))  # before the ledger: what it knows is never told again
        self._tell_provenance(leg.run, report["provenance"])
        self._tell_verdict(leg.run, report)
        self.stopwatch.report(report["images"] - self._images(leg))
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
        outside, hopeless = isinstance(error, StoreError | DataGoneError), isinstance(error, UntrainableError)
        words = str(error)
        trial = self._ledger.fail_leg(leg, words, blame=not outside, hopeless=hopeless)
        self._dead_in_a_row += 1
        if self._dead_in_a_row >= (OUTSIDE_FAILURES_IN_A_ROW if outside else FAILURES_IN_A_ROW):
            self.failure = type(error)(f"{self._dead_in_a_row} legs died one after the other, the last of: {words}")
        self._tell(leg)
        self._progress.ended(leg, trial)

    def moved(self, images: Mapping[str, int]) -> None:
        known = [(leg, images[prefix]) for prefix, leg in self._legs.items() if prefix in images]
        self._progress.moved({leg.run: shown for leg, shown in known})

    def stopping(self) -> bool:
        return self.interrupted or self.failure is not None or self._stop_request.exists()

    @property
    def progress(self) -> Progress:
        """Who watches."""
        return self._progress

    @progress.setter
    def progress(self, progress: Progress) -> None:
        self._progress = progress

    @property
    def legs_out(self) -> int:
        """Legs handed out that have not ended."""
        return len(self._legs)

    # -- what the sweep calls --------------------------------------------------------------------------------------

    def open(self) -> None:
        sweep = self._ledger.sweep
        self._ledger.set_state("running")
        settings = _flat(
            sweep.model_dump(mode="json", by_alias=True, exclude={"tracking", "artifacts", "code"}, exclude_none=True)
        )
        settings["search.storage"] = without_secrets(sweep.search.storage)
        tags = {"gansweep.state": "running", "seed": sweep.train.seed, **events.provenance()}
        self._spool.append(events.started(None, settings, tags, self._dataset))
        self._spool.append(events.text(None, "sweep.yaml", without_secrets(sweep.to_yaml())))
        for sha, bundle in sweep.code.items():
            for path, source in bundle.items():
                self._spool.append(events.text(None, f"code/{sha[:12]}/{path}", source))
        for trial in self._ledger.trials():
            if trial.ended:  # who died between writing and telling has not told; the spool knows what was told
                self._tell_trial(trial)
        for run in self._ledger.confirmations.all():
            if run.done and run.reported_at:  # else it was trained by a version that made no runs of them
                self._tell_confirmation(run)

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
                self._tell_trial(trial)
        else:
            self._pause()
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
        self._tell(leg)
        self._progress.ended(leg, trial)

    def _images(self, leg: Leg) -> int:
        """Shown so far, as the ledger has it."""
        if leg.confirm_seed is None:
            return self._ledger.trial(leg.trial).images
        return self._ledger.confirmations.of_leg(leg).images

    def _pause(self) -> None:
        """Runs of what is at no end would look in MLflow as if somebody trained it still."""
        for trial in self._ledger.trials():
            if not trial.ended:
                self._spool.append(events.paused(trial.id))
        for run in self._ledger.confirmations.all():
            if not run.done:
                self._spool.append(events.paused((run.trial, run.seed)))

    def _is_stored(self, key: str) -> bool:
        try:
            return self._store.exists(key)
        except StoreError as error:
            log.warning("%s; the leg will go on from the checkpoint before", error)
            return False

    def _introduce(self, leg: Leg) -> None:
        """A run is announced once per driver: who died in between may not have got round to it."""
        if leg.run in self._known:
            return
        self._known.add(leg.run)
        config = self._ledger.sweep.trial_config(leg.params | _seed(leg))
        tags = {"gansweep.state": "running"}
        self._spool.append(
            events.started(leg.run, _flat(config.model_dump(mode="json", exclude={"code"})), tags, self._dataset)
        )

    def _tell_provenance(self, run: RunKey, provenance: dict[str, Any]) -> None:
        """How the metrics were measured, once per run: values measured differently are never compared."""
        if run not in self._measured:
            self._measured.add(run)
            tags = {f"fid.{name}": value for name, value in provenance.items()}
            self._spool.append(events.tagged(run, tags))

    def _tell_verdict(self, run: RunKey, report: dict[str, Any]) -> None:
        """Every change of it, and every rewind, stays as a tag with the reasons."""
        verdict, reasons = report["health"]["verdict"], "; ".join(report["health"]["reasons"])
        before = self._verdicts.get(run, verdict if verdict in ("unjudged", "healthy") else None)
        if verdict != before:
            said = f"{verdict}: {reasons}" if reasons else verdict
            tags = {f"gansweep.verdict.{report['images']}": said}
            tags |= {"gansweep.verdict": verdict, "gansweep.reasons": reasons or "none"}
            self._spool.append(events.tagged(run, tags))
        if report["rewind"]:
            self._spool.append(events.tagged(run, {f"gansweep.rewind.{report['images']}": reasons}))
        self._verdicts[run] = verdict

    def _tell(self, leg: Leg) -> None:
        """What has become of the leg's training."""
        if leg.confirm_seed is None:
            self._tell_trial(self._ledger.trial(leg.trial))
        else:
            self._tell_confirmation(self._ledger.confirmations.of_leg(leg))

    def _tell_trial(self, trial: Trial) -> None:
        self._tell_state(trial.id, trial, trial.ended, {"gansweep.rung": trial.rung})

    def _tell_confirmation(self, run: Confirmation) -> None:
        self._tell_state((run.trial, run.seed), run, run.done, {})
        if run.score is not None:
            number = [other.seed for other in self._ledger.confirmations.of(run.trial)].index(run.seed)
            metric = self._ledger.sweep.objective.metric
            self._spool.append(events.confirmed(run.trial, number, metric, run.score))

    def _tell_state(self, key: RunKey, one: Trial | Confirmation, ended: bool, tags: dict[str, Any]) -> None:
        """A run ends when its last report came, whenever the sweep settles what has become of it."""
        tags |= {"gansweep.state": one.state, "gansweep.verdict": one.verdict}
        tags["gansweep.reasons"] = "; ".join(one.reasons) or "none"
        tags |= {"gansweep.score": one.score} if one.score is not None else {}
        tags |= {"gansweep.checkpoint": f"{self._store.url}/{one.checkpoints[-1]}"} if one.checkpoints else {}
        tags |= {"gansweep.error": without_secrets(one.error)} if one.error and one.state == "crashed" else {}
        if not ended:
            self._spool.append(events.tagged(key, tags))
            return
        if one.state != "finished":
            tags["mlflow.runName"] = f"{events.run_name(self._ledger.sweep.name, key)} {one.state}"
        status = _MLFLOW_STATUS.get(one.state, "KILLED")
        self._spool.append(events.ended(key, status, tags, one.reported_at if one.state != "crashed" else None))


def _seed(leg: Leg) -> dict[str, int]:
    return {} if leg.confirm_seed is None else {"train.seed": leg.confirm_seed}


def _dataset(ledger: Ledger, progress: Progress) -> dict[str, str]:
    """What was learned from, for MLflow. Reading it here also shows missing or broken data before anything starts, and
    the user what was passed over.
    """
    progress.stage("reading the data")
    from trainers.data import describe, load

    settings = ledger.sweep.data
    data = load(settings)
    for line in describe(data):
        progress.note(line)
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
