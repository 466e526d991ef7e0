"""Sends the spool to MLflow on a thread of its own, so that recording never slows or kills a trial.

Exactly one run per trial, whatever dies: a run is looked up by its tags before it is made, points carry the time of
their event, and what could not be sent stays in the spool for the next ``resume``.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from mlflow.entities import LifecycleStage, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from PIL import UnidentifiedImageError

from orchestrator.errors import GansweepError, first_line
from orchestrator.paths import RunKey, key_word
from orchestrator.secrets import without_secrets
from orchestrator.tracking.entries import dataset, metrics_of, tags_of
from orchestrator.tracking.events import run_key, run_name
from orchestrator.tracking.experiment import settled
from orchestrator.tracking.grids import has_grid, log_grid
from orchestrator.tracking.runs import Runs
from orchestrator.tracking.spool import Event, Spool
from orchestrator.tracking.target import PATIENCE, Target

if TYPE_CHECKING:
    from orchestrator.artifacts import Store

log = logging.getLogger(__name__)

REFUSALS = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST", "INVALID_STATE")
"""What MLflow says of a record that it will never take, and of one for a run or an experiment that was deleted."""
MISSING = "RESOURCE_DOES_NOT_EXIST"
PERIOD = 1.0
"""Seconds between two sendings: what came in meanwhile goes out as one batch per run."""


class Recorder:
    """One thread that empties a spool into MLflow.

    ``identity`` tells the sweep from another of its name on the same server; ``runs`` are the runs made so far,
    ``on_run`` hears of new ones, ``say`` of what people did to them in MLflow meanwhile.
    """

    def __init__(
        self,
        spool: Spool,
        target: Target,
        store: Store,
        sweep: str,
        identity: str,
        runs: dict[RunKey, str],
        on_run: Callable[[RunKey, str], None],
        say: Callable[[str], None],
    ) -> None:
        self._spool, self._target, self._store = spool, target, store
        self._sweep, self._id, self._say = sweep, identity, say
        self._runs = Runs(sweep, identity, runs, on_run)
        self._closing = threading.Event()
        self._resent = True  # the first event may have been sent before we died
        self._points: dict[tuple[str, str], set[int]] = {}  # of a run and a metric, the steps that MLflow has
        self._said_refused = False
        self.trouble: str | None = None
        """Why the last sending failed, in words; None while all is well."""
        self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)

    def start(self) -> None:
        os.environ.update(PATIENCE)
        self._thread.start()

    def close(self, timeout: float = 60.0) -> None:
        """Send what is left, for at most ``timeout`` seconds; the rest stays in the spool."""
        self._closing.set()
        self._thread.join(timeout)

    @property
    def unsent(self) -> str | None:
        """Why records wait in the spool, in words; None where none does."""
        return None if self._spool.empty else self.trouble or "it has not answered yet"

    # -- the thread ------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        delay = PERIOD
        while True:
            closing = self._closing.is_set()
            try:
                if not hasattr(self, "_client"):
                    self._connect()
                self._send()
                self.trouble, delay = None, PERIOD
            except _StartOverError:
                continue
            except Exception as error:  # whatever a server, a proxy or a database may throw: it is tried again
                self.trouble, delay = _words(error), min(2 * delay, 30.0)
                self._resent = True  # what went out before the error goes out again
                log.warning("recording waits: %s", self.trouble)
            if closing and (self.trouble is None or hasattr(self, "_client")):
                return
            self._closing.wait(delay)
            if self._closing.is_set() and delay > PERIOD:
                time.sleep(PERIOD)

    def _connect(self) -> None:
        self._target.ready()
        client = MlflowClient(self._target.uri)
        self._settle(client)
        self._client = client

    def _settle(self, client: MlflowClient) -> None:
        experiment = settled(client, self._sweep, self._id, self._target.artifact_root, self._say)
        self._runs.connect(client, experiment)

    def _send(self) -> None:
        """Everything pending, in order: the metrics of a run are gathered into one batch until an event of another kind
        comes.
        """
        metrics: dict[RunKey, list[Metric]] = {}
        position = self._spool.sent
        for event, behind in self._spool.pending():
            if event["kind"] == "report":
                if not self._stands(event):
                    metrics.setdefault(run_key(event), []).extend(metrics_of(event))
                self._samples(event)
                if len(metrics.get(run_key(event), ())) > 500:
                    self._flush(metrics, behind)
            else:
                self._flush(metrics, position)
                self._once(event)
                self._spool.mark(behind)
            position = behind
        self._flush(metrics, position)
        self._resent = False
        self._points.clear()

    def _stands(self, event: Event) -> bool:
        """Whether MLflow has all points of a report that may have been sent before: they were sent in order, so it has
        them all where it has the last.
        """
        if not self._resent or not event["metrics"]:
            return False
        run, last = self._runs.of(run_key(event), event["time"]), metrics_of(event)[-1].key
        if (run, last) not in self._points:
            try:
                history = self._client.get_metric_history(run, last)
            except MlflowException as error:
                if error.error_code != MISSING:
                    raise
                history = []  # the run is gone, which sending will find
            self._points[run, last] = {point.step for point in history}
        return event["images"] in self._points[run, last]

    def _flush(self, metrics: dict[RunKey, list[Metric]], position: int) -> None:
        """Sends what is gathered of the events before ``position``, which are done then."""
        for key, points in metrics.items():
            self._log(key, points)
        metrics.clear()
        if position != self._spool.sent:
            self._spool.mark(position)

    def _once(self, event: Event) -> None:
        key = run_key(event)
        if event["kind"] == "start":
            self._start_run(event)
        elif event["kind"] == "tags":
            self._log(key, tags_of(event["tags"]))
        elif event["kind"] == "text":
            self._write(event, lambda: self._client.log_text(self._runs.of(key), event["text"], event["file"]))
        elif event["kind"] == "pause":
            self._write(event, lambda: self._client.update_run(self._runs.of(key), status="SCHEDULED"))
        elif event["kind"] == "file":
            if Path(event["file"]).is_file():  # else whoever drives now has another home
                self._write(event, lambda: self._client.log_artifact(self._runs.of(key), event["file"]))
        else:
            self._log(key, tags_of(event["tags"]))
            self._write(event, lambda: self._client.set_terminated(self._runs.of(key), event["status"], event["time"]))

    def _start_run(self, event: Event) -> None:
        key, known = run_key(event), []

        def begin() -> None:
            run = self._client.get_run(self._runs.of(key, event["time"]))
            if run.info.status != "RUNNING":
                self._client.update_run(run.info.run_id, status="RUNNING")
            known.append(run)

        self._write(event, begin)
        # MLflow refuses to change a parameter; an extended sweep has its new settings in sweep.yaml.
        before = known[0].data.params if known else {}
        new = [Param(name, str(value)) for name, value in event["params"].items() if name not in before]
        self._log(key, [*new, *tags_of(event["tags"] | self._runs.parentage(key))])
        if key is None:
            for name, value in self._target.views(self._runs.of(key)).items():
                self._client.set_experiment_tag(self._runs.experiment, name, value)
        self._write(event, lambda: self._client.log_inputs(self._runs.of(key), [dataset(event)]))

    def _log(self, key: RunKey, entries: Sequence[Metric | Param | RunTag]) -> None:
        """All of ``entries`` that MLflow takes, the others set aside."""

        def write() -> None:
            self._client.log_batch(
                self._runs.of(key),
                metrics=[one for one in entries if isinstance(one, Metric)],
                params=[one for one in entries if isinstance(one, Param)],
                tags=[one for one in entries if isinstance(one, RunTag)],
            )

        def refused(why: str) -> None:
            half = len(entries) // 2
            if half:
                self._log(key, entries[:half])
                self._log(key, entries[half:])
            else:
                self._set_aside({"run": key_word(key), "kind": type(entries[0]).__name__, **dict(entries[0])}, why)

        if entries:
            self._unless_refused(key, write, refused)

    def _write(self, event: Event, write: Callable[[], None]) -> None:
        """What can't be divided: done, or set aside as a whole."""
        self._unless_refused(run_key(event), write, lambda why: self._set_aside(event, why))

    def _unless_refused(self, key: RunKey, write: Callable[[], None], refused: Callable[[str], None]) -> None:
        """What MLflow will never take must not hold up what comes behind it; what it refuses because somebody deleted
        where it belongs is written once that is back.
        """
        try:
            write()
        except UnidentifiedImageError as error:
            refused(str(error))
        except MlflowException as error:
            if error.error_code not in (*REFUSALS, MISSING):
                raise
            if self._restored(key):
                self._unless_refused(key, write, refused)
            elif error.error_code == MISSING:
                raise
            else:
                refused(_words(error))

    def _set_aside(self, record: dict[str, Any], why: str) -> None:
        self._spool.set_aside({"why": why, **record})
        if not self._said_refused:
            self._said_refused = True
            self._say(f"MLflow refuses a record, which is kept with all of its kind in {self._spool.aside}: {why}")

    def _restored(self, key: RunKey) -> bool:
        """Whether the experiment or the run was in MLflow's bin, and is back. Where it is gone for good, all starts
        over: the spool has everything.
        """
        try:
            if self._client.get_experiment(self._runs.experiment).lifecycle_stage == LifecycleStage.DELETED:
                self._settle(self._client)
                return True
            if self._runs.restored(key):
                self._say(f"run '{run_name(self._sweep, key)}' had been deleted in MLflow and is restored")
                return True
        except MlflowException as error:
            if error.error_code != MISSING:
                raise
            self._start_over()
        return False

    def _start_over(self) -> NoReturn:
        self._say("runs of this sweep are gone from MLflow for good; all its records are sent again")
        del self._client
        self._runs.forget()
        self._spool.mark(0)
        self._resent = True
        raise _StartOverError

    def _samples(self, event: Event) -> None:
        if event.get("samples"):
            self._write(event, lambda: self._log_grid(event))

    def _log_grid(self, event: Event) -> None:
        run = self._runs.of(run_key(event))
        if not (self._resent and has_grid(self._client, run, event["images"])):
            log_grid(self._client, run, event, self._store, may_be_lost=self._closing.is_set())


class _StartOverError(Exception):
    """The spool is to be sent from its beginning."""


def _words(error: Exception) -> str:
    if isinstance(error, GansweepError):
        return str(error)
    kind = error.error_code if isinstance(error, MlflowException) else type(error).__name__
    return f"{kind}: {without_secrets(first_line(error))[:200]}"
