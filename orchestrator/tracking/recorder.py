"""Sends the spool to MLflow on a thread of its own, so that recording never slows or kills a trial.

Exactly one run per trial, whatever dies: a run is looked up by its tags before it is made, points carry the time of
their event, and what could not be sent stays in the spool for the next ``resume``.
"""

from __future__ import annotations

import logging
import os
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME
from PIL import Image

from orchestrator.errors import GansweepError, StoreError, UserError
from orchestrator.paths import RunKey
from orchestrator.secrets import without_secrets as without_secrets
from orchestrator.tracking.events import run_key, run_name
from orchestrator.tracking.spool import Event, Spool

if TYPE_CHECKING:
    from orchestrator.artifacts import Store

log = logging.getLogger(__name__)

PATIENCE = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",  # a run whose making was answered into the void would be made twice
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""A server that is down must not hold a call for minutes: the spool is the patience."""
PERIOD = 1.0
"""Seconds between two sendings: what came in meanwhile goes out as one batch per run."""


@dataclass(frozen=True)
class Target:
    """Where a sweep is recorded: ``ready`` blocks until the server answers; ``artifact_root`` is None where the server
    decides.
    """

    uri: str
    ready: Callable[[], None]
    artifact_root: str | None = None


def check(uri: str) -> None:
    """Raise UserError unless an MLflow server or database answers at ``uri``."""
    os.environ.update(PATIENCE)
    try:
        MlflowClient(uri).search_experiments(max_results=1)
    except Exception as error:  # requests, SQLAlchemy and MLflow each have errors of their own
        reason = without_secrets(str(error)).splitlines()[0][:200]
        raise UserError(
            f"tracking.uri {without_secrets(uri)} can't be used ({type(error).__name__}: {reason}); "
            "start the server, correct the address, or use 'auto'"
        ) from None


def runs_page(server: str, sweep: str, metric: str) -> str | None:
    """The page of a sweep's runs, sorted by the objective (MLflow's default page is made for language models)."""
    experiment = MlflowClient(server).get_experiment_by_name(sweep)
    if experiment is None:
        return None
    order = f"workflowType=machine_learning&orderByKey=metrics.%60{metric}%60&orderByAsc=true"
    return f"{server}/#/experiments/{experiment.experiment_id}/runs?{order}"


class Recorder:
    """One thread that empties a spool into MLflow.

    ``identity`` tells the sweep from another of its name on the same server; ``runs`` are the runs made so far,
    ``on_run`` hears of new ones.
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
    ) -> None:
        self._spool, self._target, self._store = spool, target, store
        self._sweep, self._id = sweep, identity
        self._runs, self._on_run = dict(runs), on_run
        self._closing = threading.Event()
        self._resent = True  # the first event may have been sent before we died
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

    # -- the thread ------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        delay = PERIOD
        while True:
            closing = self._closing.is_set()
            try:
                if not self._client_ready():
                    self._connect()
                self._send()
                self.trouble, delay = None, PERIOD
            except Exception as error:  # whatever a server, a proxy or a database may throw: it is tried again
                self.trouble, delay = _words(error), min(2 * delay, 30.0)
                self._resent = True  # what went out before the error goes out again
                log.warning("recording waits: %s", self.trouble)
            if closing and (self.trouble is None or self._client_ready()):
                return
            self._closing.wait(delay)
            if self._closing.is_set() and delay > PERIOD:
                time.sleep(PERIOD)

    def _client_ready(self) -> bool:
        return hasattr(self, "_client")

    def _connect(self) -> None:
        self._target.ready()
        client = MlflowClient(self._target.uri)
        self._experiment = _experiment(client, self._sweep, self._target.artifact_root)
        self._client = client

    def _send(self) -> None:
        """Everything pending, in order: the metrics of a run are gathered into one batch until an event of another kind
        comes.
        """
        metrics: dict[RunKey, list[Metric]] = {}
        position = self._spool.sent
        for event, behind in self._spool.pending():
            if event["kind"] == "report":
                metrics.setdefault(run_key(event), []).extend(_metrics(event))
                self._samples(event)
                if len(metrics[run_key(event)]) > 500:
                    self._flush(metrics, behind)
            else:
                self._flush(metrics, position)
                with self._unless_refused():
                    self._once(event)
                self._spool.mark(behind)
            position = behind
        self._flush(metrics, position)
        self._resent = False

    def _flush(self, metrics: dict[RunKey, list[Metric]], position: int) -> None:
        """Sends what is gathered of the events before ``position``, which are done then."""
        for key, points in metrics.items():
            with self._unless_refused():
                self._client.log_batch(self._run(key), metrics=points)
        metrics.clear()
        if position != self._spool.sent:
            self._spool.mark(position)

    @contextmanager
    def _unless_refused(self) -> Iterator[None]:
        """What MLflow will never take must not hold up what comes behind it."""
        try:
            yield
        except MlflowException as error:
            if error.error_code != "INVALID_PARAMETER_VALUE":
                raise
            log.error("MLflow refuses a record, which is left out: %s", _words(error))

    def _once(self, event: Event) -> None:
        match event["kind"]:
            case "start":
                self._start_run(event)
            case "tags":
                self._client.log_batch(self._run(run_key(event)), tags=_tags(event["tags"]))
            case "text":
                self._client.log_text(self._run(run_key(event)), event["text"], event["file"])
            case "end":
                self._client.log_batch(self._run(run_key(event)), tags=_tags(event["tags"]))
                self._client.set_terminated(self._run(run_key(event)), event["status"], event["time"])

    def _start_run(self, event: Event) -> None:
        run = self._run(run_key(event), event["time"])
        known = self._client.get_run(run)
        # MLflow refuses to change a parameter; an extended sweep has its new settings in sweep.yaml.
        new = [Param(key, str(value)) for key, value in event["params"].items() if key not in known.data.params]
        self._client.log_batch(run, params=new, tags=_tags(event["tags"]))
        if known.info.status != "RUNNING":
            self._client.update_run(run, status="RUNNING")
        data = event["dataset"]
        dataset = Dataset(data["name"], data["digest"], "code", data["source"], None, data["profile"])
        self._client.log_inputs(run, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])

    def _run(self, key: RunKey, since: int | None = None) -> str:
        """The MLflow run of ``key``, found or made; it began at ``since``, in milliseconds, or now."""
        if key not in self._runs:
            found = self._client.search_runs(
                [self._experiment], f"tags.`gansweep.id` = '{self._identity(key)}'", max_results=1
            )
            self._runs[key] = found[0].info.run_id if found else self._create(key, since)
            self._on_run(key, self._runs[key])
        return self._runs[key]

    def _identity(self, key: RunKey) -> str:
        if isinstance(key, tuple):
            return f"{self._identity(key[0])}/{key[1]}"
        return self._id if key is None else f"{self._id}/{key}"

    def _create(self, key: RunKey, since: int | None) -> str:
        """A run under its parent: the sweep's for a trial, the trial's for a re-training of it."""
        tags = {"gansweep.id": self._identity(key), "gansweep.sweep": self._sweep}
        tags[MLFLOW_RUN_NAME] = run_name(self._sweep, key)
        if isinstance(key, tuple):
            tags |= {"gansweep.confirms": str(key[0]), "gansweep.seed": str(key[1])}
            tags[MLFLOW_PARENT_RUN_ID] = self._run(key[0])
        elif key is not None:
            tags |= {"gansweep.trial": str(key), MLFLOW_PARENT_RUN_ID: self._run(None)}
        run_id: str = self._client.create_run(self._experiment, start_time=since, tags=tags).info.run_id
        return run_id

    def _samples(self, event: Event) -> None:
        key = event.get("samples")
        run = self._run(run_key(event))
        if not key or (self._resent and self._has_picture(run, event["images"])):
            return
        with tempfile.TemporaryDirectory() as folder:
            try:
                file = self._store.get(key, Path(folder) / "samples.png")
            except StoreError:
                if not self._closing.is_set():
                    raise  # its upload may still be under way
                return  # the leg died before it stored the grid; the next report brings another
            with Image.open(file) as picture:
                self._client.log_image(
                    run,
                    picture.convert("RGB"),
                    key="samples",
                    step=event["images"],
                    timestamp=event["time"],
                    synchronous=True,
                )

    def _has_picture(self, run: str, images: int) -> bool:
        of_step = re.compile(rf"[+%]step[+%]{images}[+%]")
        return any(of_step.search(item.path) for item in self._client.list_artifacts(run, "images"))


def _experiment(client: MlflowClient, name: str, artifact_root: str | None) -> str:
    found = client.get_experiment_by_name(name)
    if found is not None:
        identifier: str = found.experiment_id
        return identifier
    location = f"{artifact_root}/{name}" if artifact_root else None
    created: str = client.create_experiment(name, artifact_location=location)
    return created


def _metrics(event: Event) -> list[Metric]:
    named = {re.sub(r"[^\w./ :-]", "_", name): value for name, value in event["metrics"].items()}  # as MLflow allows
    return [Metric(name, value, event["time"], event["images"]) for name, value in named.items()]


def _tags(tags: dict[str, Any]) -> list[RunTag]:
    return [RunTag(key, str(value)[:5000]) for key, value in tags.items()]


def _words(error: Exception) -> str:
    if isinstance(error, GansweepError):
        return str(error)
    kind = error.error_code if isinstance(error, MlflowException) else type(error).__name__
    return f"{kind}: {without_secrets(str(error)).splitlines()[0][:200]}"
