"""A Prometheus endpoint of the driver, off unless asked for: ``GANSWEEP_METRICS=PORT`` (loopback) or ``HOST:PORT``.

Numbers move when a leg reports or ends, in the driver's main thread; what is scraped meanwhile costs the sweep nothing.
Ray's own metrics (``ray_…``: nodes, GPUs) come from Ray's endpoints; ``infra/grafana/`` shows both on one page.
"""

from __future__ import annotations

import errno
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, get_args

from orchestrator.conductor import Conductor, Progress
from orchestrator.errors import UserError
from orchestrator.paths import RunKey
from orchestrator.search.ledger import Ledger
from orchestrator.search.trial import Leg, State, Trial
from orchestrator.tracking.spool import Spool

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

VARIABLE = "GANSWEEP_METRICS"


@contextmanager
def exported(conductor: Conductor, sweep: str, spool: Spool) -> Iterator[None]:
    """An endpoint on a sweep while the ``with`` lasts, where ``GANSWEEP_METRICS`` asks for one; on another port where
    that one is taken. Raises UserError where it can't be opened.
    """
    asked = os.environ.get(VARIABLE)
    if not asked:
        yield
        return
    try:
        from prometheus_client import CollectorRegistry, start_http_server
    except ImportError:
        raise UserError(f"{VARIABLE} needs prometheus-client: pip install 'gansweep[cluster]'") from None
    registry = CollectorRegistry()
    conductor.progress = Measured(sweep, spool, conductor, conductor.progress, registry)
    host, _, port = asked.rpartition(":")

    def start(port: int) -> Any:
        try:
            return start_http_server(port, host or "127.0.0.1", registry)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            conductor.progress.note(f"{VARIABLE}={asked}: the port is taken, by another sweep maybe")
            return start(0)

    try:
        server, thread = start(int(port))
    except (OSError, ValueError, OverflowError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UserError(f"{VARIABLE}={asked}: {why}; give PORT, or HOST:PORT of this machine (0: any free)") from None
    shown = f"http://{host or '127.0.0.1'}:{server.server_port}/metrics"
    conductor.progress.note(f"metrics: {shown}")
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Measured:
    """A ``Progress`` that counts what it passes on."""

    def __init__(
        self, sweep: str, spool: Spool, conductor: Conductor, progress: Progress, registry: CollectorRegistry
    ) -> None:
        from prometheus_client import Counter as Count
        from prometheus_client import Gauge, ProcessCollector, Summary

        def gauge(name: str, text: str, *labels: str) -> Any:
            return Gauge(f"gansweep_{name}", text, ("sweep", *labels), registry=registry)

        def count(name: str, text: str, *labels: str) -> Any:
            return Count(f"gansweep_{name}", text, ("sweep", *labels), registry=registry)

        def summary(name: str, text: str) -> Any:
            return Summary(f"gansweep_{name}", text, ("sweep",), registry=registry).labels(sweep)

        self._progress, self._sweep = progress, sweep
        self._states: dict[int, str] = {}
        self._before: dict[object, tuple[int, float]] = {}
        self._unstored: set[object] = set()
        self._ranks = self._batch = 1
        self._trials = gauge("trials", "trials by state", "state")
        self._best = gauge("best_score", "score of the best trial so far").labels(sweep)
        self._uploads = gauge("uploads_pending", "trainings whose last checkpoint is not stored yet").labels(sweep)
        self._reports = count("reports_total", "reports of legs").labels(sweep)
        self._images = count("images_total", "images shown to discriminators").labels(sweep)
        self._device = count("device_seconds_total", "seconds of training, times ranks").labels(sweep)
        self._legs = count("legs_total", "legs that ended, by what became of the trial", "state")
        self._steps = summary("step_seconds", "mean time of a step between two reports")
        self._collective = summary("collective_seconds", "time of a step's all-reduces, taken apart at each report")
        self._training = gauge(
            "legs_training", "legs whose ranks make steps; of those running, the others wait or begin"
        )
        self._training = self._training.labels(sweep)
        gauge("legs_running", "legs handed out").labels(sweep).set_function(lambda: conductor.legs_out)
        slots = gauge("slots", "legs that fit on the cluster at once").labels(sweep)
        slots.set_function(lambda: conductor.places())
        gauge("recording_backlog_bytes", "records on their way to MLflow").labels(sweep).set_function(spool.backlog)
        gauge("recording_lag_seconds", "age of the oldest record not yet in MLflow").labels(sweep).set_function(
            lambda: _lag(spool)
        )
        ProcessCollector(registry=registry)

    def note(self, text: str) -> None:
        self._progress.note(text)

    def stage(self, doing: str) -> None:
        self._progress.stage(doing)

    def moved(self, images: Mapping[RunKey, int]) -> None:
        self._training.set(len(images))
        self._progress.moved(images)

    def searching(self, ledger: Ledger, slots: int) -> None:
        self._ledger = ledger
        self._ranks, self._batch = ledger.sweep.resources.workers_per_trial, ledger.sweep.train.batch_size
        self._states = {trial.id: trial.state for trial in ledger.trials()}
        self._count()
        self._progress.searching(ledger, slots)

    def reported(self, leg: Leg, report: dict[str, Any]) -> None:
        images, seconds = report["images"], report["seconds"]
        before = self._before.get(leg.run, (images, seconds) if leg.checkpoints else (0, 0.0))
        more, took = max(images - before[0], 0), max(seconds - before[1], 0.0)
        self._before[leg.run] = images, seconds
        self._reports.inc()
        self._images.inc(more)
        self._device.inc(took * self._ranks)
        if more:
            self._steps.observe(took * int(leg.params.get("train.batch_size", self._batch)) / more)
        if seconds := report["system"].get("collective_seconds"):  # several ranks
            self._collective.observe(seconds)
        (self._unstored.discard if report["checkpoint"] in (None, *report["stored"]) else self._unstored.add)(leg.run)
        self._uploads.set(len(self._unstored))
        if leg.confirm_seed is None and self._states.get(leg.trial) != "running":
            self._states[leg.trial] = "running"
            self._count()
        self._progress.reported(leg, report)

    def ended(self, leg: Leg, trial: Trial | None) -> None:
        self._unstored.discard(leg.run)  # a leg ends when its last upload has
        self._uploads.set(len(self._unstored))
        self._legs.labels(self._sweep, trial.state if trial else "confirmation").inc()
        if trial:
            self._states[trial.id] = trial.state
            self._count()
            if trial.state == "finished" and (best := self._ledger.best()) and best.score is not None:
                self._best.set(best.score)
        self._progress.ended(leg, trial)

    def _count(self) -> None:
        found = Counter(self._states.values())
        for state in get_args(State):
            self._trials.labels(self._sweep, state).set(found[state])


def _lag(spool: Spool) -> float:
    """Seconds; 0 where nothing waits."""
    oldest = next((event["time"] / 1000 for event, _ in spool.pending() if "time" in event), None)
    return 0.0 if oldest is None else max(time.time() - oldest, 0.0)
