"""Sends the spool to MLflow on a thread of its own, so that recording never slows or kills a trial.

Exactly one run per trial, whatever dies: a run is looked up by its tags before it is made, points carry the time of
their event, and what could not be sent stays in the spool for the next ``resume``.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from mlflow.entities import LifecycleStage, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from PIL import UnidentifiedImageError

from orchestrator.errors import StoreError
from orchestrator.paths import RunKey, key_word
from orchestrator.tracking.answers import MISSING, REFUSALS, words
from orchestrator.tracking.entries import dataset, metrics_of, tags_of
from orchestrator.tracking.events import run_key, run_name
from orchestrator.tracking.experiment import settled
from orchestrator.tracking.grids import SHOWN, has_grid, log_grid
from orchestrator.tracking.runs import Runs
from orchestrator.tracking.sent import Sent
from orchestrator.tracking.spool import Event, Spool
from orchestrator.tracking.target import PATIENCE, Target

if TYPE_CHECKING:
    from orchestrator.artifacts import Store

log = logging.getLogger(__name__)

PERIOD, LONGEST = 1.0, 5.0
"""Seconds between two sendings, and where these take long: as many as they take, up to so many. What came in meanwhile
goes out as one batch per run, so that a busy sweep asks little more of MLflow than a calm one.
"""
EVENTS, ENTRIES = 1_000, 500
"""Of one sending at the most, and of one batch, of which MLflow takes 1,000."""
Entry = Metric | Param | RunTag


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
        self._reached, self._doubtful, self._old = 0, math.inf, math.inf
        self._sent = Sent()
        self._said_refused = False
        self.trouble: str | None = None
        """Why the last sending failed, in words; None while all is well."""
        self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)

    def start(self) -> None:
        os.environ.update(PATIENCE)
        self._thread.start()

    def begin(self, trials: int) -> None:
        """There are so many trials. What is appended from now on has not been sent before, and no later trial has a
        run; until now, another driver may have seen to it.
        """
        self._doubtful, self._old = self._spool.end, trials

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
            closing, sent, is_more, began = self._closing.is_set(), self._spool.sent, False, time.monotonic()
            try:
                if not hasattr(self, "_client"):
                    self._connect()
                is_more = self._send()
                self.trouble, delay = None, min(max(PERIOD, time.monotonic() - began), LONGEST)
            except _StartOverError:
                continue
            except Exception as error:  # whatever a server, a proxy or a database may throw: it is tried again
                self.trouble = words(error)
                delay = PERIOD if self._spool.sent != sent else min(2 * delay, 30.0)
                self._doubtful = max(self._doubtful, self._reached)
                log.warning("recording waits: %s", self.trouble)
            if closing and not is_more and (self.trouble is None or hasattr(self, "_client")):
                return
            self._closing.wait(delay)
            if self._closing.is_set() and self.trouble:
                time.sleep(PERIOD)

    def _connect(self) -> None:
        self._target.ready()
        client = MlflowClient(self._target.uri)
        self._settle(client)
        self._client = client

    def _settle(self, client: MlflowClient) -> None:
        experiment = settled(client, self._sweep, self._id, self._target.artifact_root, self._say)
        self._runs.connect(client, experiment)

    def _send(self) -> bool:
        """What is pending, for each run in order: its entries are gathered into one batch until an event of another
        kind comes. A picture that is not stored yet holds up what comes behind it. Returns whether there is more.
        """
        gathered: dict[RunKey, list[Entry]] = {}
        pending, position, waits = list(islice(self._spool.pending(), EVENTS)), self._spool.sent, None
        self._sent.forget()
        for event, behind in pending:
            self._reached = behind
            try:
                self._samples(event)
            except StoreError as error:
                waits = error
                break
            self._take(event, gathered.setdefault(run_key(event), []))
            position = behind
        for key, entries in gathered.items():
            self._log(key, entries)
        self._spool.mark(position)
        if waits:
            raise waits
        return len(pending) == EVENTS

    def _take(self, event: Event, entries: list[Entry]) -> None:
        """``entries``: of its run, not sent yet."""
        key, kind = run_key(event), event["kind"]
        if kind == "report":
            entries += [] if self._stands(event) else metrics_of(event)
            entries += [SHOWN] if event.get("samples") else []
        elif kind == "start":
            entries += self._started(event)
        elif kind in ("tags", "end"):
            entries += tags_of(event["tags"])
        if len(entries) > ENTRIES or kind in ("text", "pause", "file", "end"):
            self._log(key, entries)
            entries.clear()
            self._once(event)

    @property
    def _resent(self) -> bool:
        """Whether the event that is being sent may have been before."""
        return self._reached <= self._doubtful

    def _stands(self, event: Event) -> bool:
        """Whether MLflow has the points of a report."""
        run = self._runs.of(run_key(event), event["time"])
        return self._resent and bool(event["metrics"]) and self._sent.has(self._client, run, event)

    def _once(self, event: Event) -> None:
        key = run_key(event)
        if event["kind"] == "text":
            self._write(event, lambda: self._client.log_text(self._runs.of(key), event["text"], event["file"]))
        elif event["kind"] == "pause":
            self._write(event, lambda: self._client.update_run(self._runs.of(key), status="SCHEDULED"))
        elif event["kind"] == "file":
            if Path(event["file"]).is_file():  # else whoever drives now has another home
                self._write(event, lambda: self._client.log_artifact(self._runs.of(key), event["file"]))
        elif event["kind"] == "end":
            self._write(event, lambda: self._client.set_terminated(self._runs.of(key), event["status"], event["time"]))

    def _started(self, event: Event) -> list[Entry]:
        """The run of a start goes, and these are to be written of it."""
        key, known = run_key(event), []

        def begin() -> None:
            run = self._runs.of(key, event["time"], self._resent or not isinstance(key, int) or key < self._old)
            if self._runs.is_new(key):
                return
            known.append(self._client.get_run(run))
            self._client.update_run(run, status="RUNNING")

        self._write(event, begin)
        if key is None:
            for name, value in self._target.views(self._runs.of(key)).items():
                self._client.set_experiment_tag(self._runs.experiment, name, value)
        self._write(event, lambda: self._client.log_inputs(self._runs.of(key), [dataset(event)]))
        # MLflow refuses to change a parameter; an extended sweep has its new settings in sweep.yaml.
        before = known[0].data.params if known else {}
        new = [Param(name, str(value)) for name, value in event["params"].items() if name not in before]
        return [*new, *tags_of(event["tags"] | self._runs.parentage(key))]

    def _log(self, key: RunKey, entries: Sequence[Entry]) -> None:
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
        """As a whole."""
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
                refused(words(error))

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
        self._doubtful = self._spool.end
        raise _StartOverError

    def _samples(self, event: Event) -> None:
        def show() -> None:
            run = self._runs.of(run_key(event))
            if not (self._resent and has_grid(self._client, run, event["images"])):
                log_grid(self._client, run, event, self._store, may_be_lost=self._closing.is_set())

        if event.get("samples"):
            self._write(event, show)


class _StartOverError(Exception):
    """The spool is to be sent from its beginning."""
