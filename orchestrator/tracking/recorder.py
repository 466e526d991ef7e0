"""Sends the spool to MLflow on threads of its own, so that recording never slows or kills a trial.

Exactly one run per trial, whatever dies: a run is looked up by its tags before it is made, points carry the time of
their event, and what could not be sent stays in the spool for the next ``resume``.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any

from mlflow.tracking import MlflowClient

from orchestrator.errors import LeaseLostError
from orchestrator.paths import RunKey
from orchestrator.tracking.answers import words
from orchestrator.tracking.events import run_key
from orchestrator.tracking.run_writer import Experiment, RunWriter
from orchestrator.tracking.runs import GoneError, Runs
from orchestrator.tracking.spool import Event, Spool
from orchestrator.tracking.target import PATIENCE, Target
from orchestrator.tracking.views import page

if TYPE_CHECKING:
    from orchestrator.artifacts import Store

log = logging.getLogger(__name__)

PERIOD, LONGEST = 1.0, 5.0
"""Seconds between two sendings, and where these take long: as many as they take, up to so many. What came in meanwhile
goes out as one batch per run, so that a busy sweep asks little more of MLflow than a calm one.
"""
QUIET = 60.0
"""Seconds without a record taken, after which the end of a sweep waits no longer."""
EVENTS = 1_000
"""Of one sending at the most."""
AT_ONCE = 8
"""Runs that are written to at the same time: one after the other, they would spend it waiting for answers."""


class Recorder:
    """Empties a spool into MLflow; what belongs to one run goes in order, several runs at the same time.

    ``identity`` tells the sweep from another of its name on the same server; ``runs`` are the runs made so far,
    ``on_run`` hears of new ones, ``say`` of what people did to them in MLflow meanwhile. ``assure`` raises
    LeaseLostError where another driver has the sweep now: then nothing is written any more.
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
        assure: Callable[[], None] = lambda: None,
    ) -> None:
        self._assure, self._assured = assure, -math.inf
        self._spool, self._target, self._store, self._say = spool, target, store, say
        self._runs = Runs(sweep, identity, runs, on_run, target.artifact_root, say)
        self._closing, self._given_up = threading.Event(), threading.Event()
        self._done = set[int]()
        """Positions behind events that were sent while one before them could not be."""
        self._doubtful, self._old = math.inf, math.inf
        self._said_refused, self._starting, self._lock = False, False, threading.Lock()
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

    def close(self, timeout: float | None = None) -> None:
        """Send what is left, for at most ``timeout`` seconds; the rest stays in the spool. None: until MLflow has taken
        nothing for ``QUIET`` seconds, which begin when a server of ours has started.
        """
        self._closing.set()
        sent, since = self._spool.sent, time.monotonic()
        while self._thread.is_alive() and time.monotonic() - since < (QUIET if timeout is None else timeout):
            self._thread.join(0.1)
            if timeout is None and (self._spool.sent != sent or self._starting):
                sent, since = self._spool.sent, time.monotonic()
        self._given_up.set()

    @property
    def unsent(self) -> str | None:
        """Why records wait in the spool, in words; None where none does."""
        return None if self._spool.empty else self.trouble or "it has not answered yet"

    # -- the thread ------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        delay = PERIOD
        while not self._given_up.is_set():
            closing, sent, is_more, began = self._closing.is_set(), self._spool.sent, False, time.monotonic()
            try:
                if not hasattr(self, "_experiment"):
                    self._connect()
                is_more = self._send()
                self.trouble, delay = None, min(max(PERIOD, time.monotonic() - began), LONGEST)
            except GoneError:
                self._start_over()
                continue
            except LeaseLostError as error:
                self.trouble = str(error)
                return
            except Exception as error:  # whatever a server, a proxy or a database may throw: it is tried again
                self.trouble = words(error)
                delay = PERIOD if self._spool.sent != sent else min(2 * delay, 30.0)
                log.warning("recording waits: %s", self.trouble)
            if closing and not is_more and (self.trouble is None or hasattr(self, "_experiment")):
                return
            self._closing.wait(delay)
            if self._closing.is_set() and self.trouble:
                time.sleep(PERIOD)

    def _connect(self) -> None:
        self._starting = True
        try:
            self._target.ready()
        finally:
            self._starting = False
        client = MlflowClient(self._target.uri)
        self._runs.connect(client)
        if self._target.uri.startswith("http"):
            self._target.shown(page(self._target.uri, self._runs.experiment))
        self._experiment = Experiment(client, self._runs, self._store, self._target.views, self._set_aside)

    def _send(self) -> bool:
        """What is pending, as far as it can be. Returns whether there is more."""
        pending = list(islice(self._spool.pending(), EVENTS))
        of_run = defaultdict[RunKey, list[tuple[Event, int]]](list)
        for event, behind in pending:
            if behind not in self._done:
                of_run[run_key(event)].append((event, behind))
        failed: list[BaseException] = []
        for _, keys in groupby(sorted(of_run, key=_depth), _depth):  # a parent's run first
            failed += _at_once([partial(self._send_run, key, of_run[key]) for key in keys])
        position = self._spool.sent
        for _, behind in pending:
            if behind not in self._done:
                self._doubtful = max(self._doubtful, pending[-1][1])
                break
            position = behind
        self._spool.mark(position)
        self._done = {behind for behind in self._done if behind > position}
        if failed:
            raise next((error for error in failed if isinstance(error, GoneError | LeaseLostError)), failed[0])
        return len(pending) == EVENTS

    def _send_run(self, key: RunKey, pending: Iterable[tuple[Event, int]]) -> None:
        """The events of one run, in order, up to one that can't be sent."""
        writer = RunWriter(self._experiment, key, pictures_may_be_lost=self._closing.is_set())
        old, taken = not isinstance(key, int) or key < self._old, []
        for event, behind in pending:
            if self._given_up.is_set():
                return
            self._require_ours()
            writer.take(event, behind <= self._doubtful, old)
            taken.append(behind)
            if writer.has_written_all:
                self._done.update(taken)
        writer.flush()
        self._done.update(taken)

    def _require_ours(self) -> None:
        """Before each event, but asked once a second only: a driver that slept has been away for longer."""
        if time.monotonic() - self._assured > PERIOD:
            self._assure()
            self._assured = time.monotonic()

    def _start_over(self) -> None:
        self._say("runs of this sweep are gone from MLflow for good; all its records are sent again")
        del self._experiment
        self._runs.forget()
        self._spool.mark(0)
        self._done.clear()
        self._doubtful = self._spool.end

    def _set_aside(self, record: dict[str, Any], why: str) -> None:
        with self._lock:
            self._spool.set_aside({"why": why, **record})
            if not self._said_refused:
                self._said_refused = True
                self._say(f"MLflow refuses a record, which is kept with all of its kind in {self._spool.aside}: {why}")


def _at_once(work: Iterable[Callable[[], None]]) -> list[BaseException]:
    """Does all of it, ``AT_ONCE`` pieces at a time, and returns what failed. The threads are daemons, which those of an
    executor are not: a server that hangs must not hold up the end of the process.
    """
    left, failed = deque(work), list[BaseException]()

    def some() -> None:
        with suppress(IndexError):
            while True:
                piece = left.popleft()
                try:
                    piece()
                except BaseException as error:
                    failed.append(error)

    threads = [threading.Thread(target=some, name="recorder", daemon=True) for _ in range(min(AT_ONCE, len(left)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failed


def _depth(key: RunKey) -> int:
    """Of a run in the tree of the sweep's: its own, trials, their re-trainings."""
    return 0 if key is None else 1 if isinstance(key, int) else 2
