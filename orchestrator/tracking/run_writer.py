"""What the events of one run are in MLflow: points, tags, parameters, pictures, files, beginning and end, in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from PIL import UnidentifiedImageError

from orchestrator.paths import RunKey, key_word
from orchestrator.tracking.answers import MISSING, REFUSALS, words
from orchestrator.tracking.entries import dataset, metrics_of, tags_of
from orchestrator.tracking.grids import SHOWN, has_grid, log_grid
from orchestrator.tracking.notes import EXPERIMENT, NOTE, RUN
from orchestrator.tracking.runs import Runs
from orchestrator.tracking.sent import Sent
from orchestrator.tracking.spool import Event

if TYPE_CHECKING:
    from orchestrator.artifacts import Store

ENTRIES = 500
"""Of one batch at the most, of which MLflow takes 1,000."""
Entry = Metric | Param | RunTag


@dataclass(frozen=True)
class Experiment:
    """Where all runs of a sweep are written.

    ``views`` are tags of the experiment by which its pages open well, given the sweep's own run; ``refused`` takes a
    record that MLflow will never take, and why.
    """

    client: MlflowClient
    runs: Runs
    store: Store
    views: Callable[[str], Mapping[str, str]]
    refused: Callable[[dict[str, Any], str], None]


class RunWriter:
    """Writes the run of ``key``. Its entries are gathered until an event of another kind comes, or ``flush``."""

    def __init__(self, experiment: Experiment, key: RunKey, pictures_may_be_lost: bool) -> None:
        self._to, self._client, self._runs, self._key = experiment, experiment.client, experiment.runs, key
        self._pictures_may_be_lost = pictures_may_be_lost
        self._sent = Sent()
        self._entries: list[Entry] = []

    @property
    def has_written_all(self) -> bool:
        return not self._entries

    def flush(self) -> None:
        """All that is gathered, in one batch."""
        self._log(self._entries)
        self._entries = []

    def take(self, event: Event, again: bool, old: bool) -> None:
        """The next event; one that may have been sent before comes ``again``, and the run may exist if it is ``old``.
        Raises StoreError for a picture that is not stored yet.
        """
        kind = event["kind"]
        if event.get("samples"):
            self._write(event, lambda: self._show(event, again))
        if kind == "report":
            self._entries += [] if again and self._stands(event) else metrics_of(event)
            self._entries += [SHOWN] if event.get("samples") else []
        elif kind == "start":
            self._entries += self._started(event, old or again)
        elif kind in ("tags", "end"):
            self._entries += self._tags(event["tags"])
        if len(self._entries) > ENTRIES or kind in ("text", "pause", "file", "end"):
            self.flush()
            self._once(event)

    def _show(self, event: Event, again: bool) -> None:
        run = self._runs.of(self._key)
        if not (again and has_grid(self._client, run, event["images"])):
            log_grid(self._client, run, event, self._to.store, self._pictures_may_be_lost)

    def _stands(self, event: Event) -> bool:
        """Whether MLflow has the points of a report."""
        run = self._runs.of(self._key, event["time"])
        return bool(event["metrics"]) and self._sent.has(self._client, run, event)

    def _once(self, event: Event) -> None:
        match event["kind"]:
            case "text":
                self._write(event, lambda: self._client.log_text(self._run, event["text"], event["file"]))
            case "pause":
                self._write(event, lambda: self._client.update_run(self._run, status="SCHEDULED"))
            case "file" if Path(event["file"]).is_file():  # else whoever drives now has another home
                self._write(event, lambda: self._client.log_artifact(self._run, event["file"]))
            case "end":
                self._write(event, lambda: self._client.set_terminated(self._run, event["status"], event["time"]))

    @property
    def _run(self) -> str:
        return self._runs.of(self._key)

    def _started(self, event: Event, may_exist: bool) -> list[Entry]:
        """The run of a start goes, and these are to be written of it."""
        known = []

        def begin() -> None:
            run = self._runs.of(self._key, event["time"], may_exist)
            if self._runs.is_new(self._key):
                return
            known.append(self._client.get_run(run))
            self._client.update_run(run, status="RUNNING")

        self._write(event, begin)
        if self._key is None:
            for name, value in self._to.views(self._run).items():
                self._client.set_experiment_tag(self._runs.experiment, name, value)
        self._write(event, lambda: self._client.log_inputs(self._run, [dataset(event)]))
        # MLflow refuses to change a parameter; an extended sweep has its new settings in sweep.yaml.
        before = known[0].data.params if known else {}
        new = [Param(name, str(value)) for name, value in event["params"].items() if name not in before]
        return [*new, *self._tags(event["tags"] | self._runs.parentage(self._key))]

    def _tags(self, tags: Mapping[str, Any]) -> list[RunTag]:
        if note := tags.get(NOTE):
            own = note.replace(RUN, self._run).replace(EXPERIMENT, self._runs.experiment)
            tags = {**tags, NOTE: own}
        return tags_of(tags)

    def _log(self, entries: Sequence[Entry]) -> None:
        """All of ``entries`` that MLflow takes, the others set aside."""

        def write() -> None:
            self._client.log_batch(
                self._run,
                metrics=[one for one in entries if isinstance(one, Metric)],
                params=[one for one in entries if isinstance(one, Param)],
                tags=[one for one in entries if isinstance(one, RunTag)],
            )

        def refused(why: str) -> None:
            half = len(entries) // 2
            if half:
                self._log(entries[:half])
                self._log(entries[half:])
            else:
                kind = type(entries[0]).__name__
                self._to.refused({"run": key_word(self._key), "kind": kind, **dict(entries[0])}, why)

        if entries:
            self._unless_refused(write, refused)

    def _write(self, event: Event, write: Callable[[], None]) -> None:
        """As a whole."""
        self._unless_refused(write, lambda why: self._to.refused(event, why))

    def _unless_refused(self, write: Callable[[], None], refused: Callable[[str], None]) -> None:
        """What MLflow will never take must not hold up what comes behind it; what it refuses because somebody deleted
        where it belongs is written once that is back.
        """
        restored = self._runs.restored
        try:
            write()
        except UnidentifiedImageError as error:
            refused(str(error))
        except MlflowException as error:
            if error.error_code not in (*REFUSALS, MISSING):
                raise
            if self._runs.restore(self._key, restored):
                self._unless_refused(write, refused)
            elif error.error_code == MISSING:
                raise
            else:
                refused(words(error))
