"""The MLflow run of each training of a sweep: found by its tags, or made; exactly one, whatever dies."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from mlflow.entities import LifecycleStage, ViewType
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME

from orchestrator.paths import RunKey
from orchestrator.tracking.answers import MISSING
from orchestrator.tracking.events import run_name
from orchestrator.tracking.experiment import IDENTITY, settled


class GoneError(Exception):
    """Somebody deleted an experiment or a run for good."""


class Runs:
    """``known`` are those made so far; ``on_run`` hears of each that is found or made. To be connected before use."""

    def __init__(
        self,
        sweep: str,
        identity: str,
        known: Mapping[RunKey, str],
        on_run: Callable[[RunKey, str], None],
        artifact_root: str | None,
        say: Callable[[str], None],
    ) -> None:
        self._sweep, self._id, self._known, self._on_run = sweep, identity, dict(known), on_run
        self._artifact_root, self._say = artifact_root, say
        self._new: set[RunKey] = set()
        self._lock = threading.RLock()  # a parent that is made has a parent
        self.restored = 0
        """How often something that people had deleted was taken back."""

    def connect(self, client: MlflowClient) -> None:
        """To the experiment of the sweep, which is found, made or taken out of MLflow's bin."""
        self._client = client
        self.experiment = settled(client, self._sweep, self._id, self._artifact_root, self._say)

    def of(self, key: RunKey, since: int | None = None, may_exist: bool = True) -> str:
        """The run of ``key``, found where it ``may_exist``, or made; it began at ``since``, in milliseconds, or now."""
        if key not in self._known:
            found = self._found(key) if may_exist else None
            if not found:
                self._new.add(key)
            self._known[key] = found or self._create(key, since)
            self._on_run(key, self._known[key])
        return self._known[key]

    def is_new(self, key: RunKey) -> bool:
        """Whether the run was made here, and nobody has asked since: it runs, and has no parameters."""
        is_new = key in self._new
        self._new.discard(key)
        return is_new

    def parentage(self, key: RunKey) -> dict[str, str]:
        """A run's parent, as a tag: the sweep's for a trial, the trial's for a re-training of it."""
        if key is None:
            return {}
        with self._lock:  # several of its children may be the first to ask
            return {MLFLOW_PARENT_RUN_ID: self.of(key[0] if isinstance(key, tuple) else None)}

    def restore(self, key: RunKey, before: int) -> bool:
        """Whether the experiment or the run was in MLflow's bin, and is back, since ``restored`` was ``before``. Raises
        GoneError where they are gone for good.
        """
        with self._lock:
            try:
                if self.restored == before and (self._experiment_is_back() or self._run_is_back(key)):
                    self.restored += 1
            except MlflowException as error:
                if error.error_code != MISSING:
                    raise
                raise GoneError from None
            return self.restored != before

    def _experiment_is_back(self) -> bool:
        if self._client.get_experiment(self.experiment).lifecycle_stage != LifecycleStage.DELETED:
            return False
        self.connect(self._client)
        return True

    def _run_is_back(self, key: RunKey) -> bool:
        run = self._known.get(key)
        if run is None or self._client.get_run(run).info.lifecycle_stage != LifecycleStage.DELETED:
            return False
        self._client.restore_run(run)
        self._say(f"run '{run_name(self._sweep, key)}' had been deleted in MLflow and is restored")
        return True

    def forget(self) -> None:
        """They are gone for good."""
        self._known.clear()
        self._new.clear()

    def _found(self, key: RunKey) -> str | None:
        of_key = f"tags.`{IDENTITY}` = '{self._identity(key)}'"
        found = self._client.search_runs([self.experiment], of_key, ViewType.ALL, max_results=1)
        return found[0].info.run_id if found else None

    def _identity(self, key: RunKey) -> str:
        if isinstance(key, tuple):
            return f"{self._identity(key[0])}/{key[1]}"
        return self._id if key is None else f"{self._id}/{key}"

    def _create(self, key: RunKey, since: int | None) -> str:
        tags = {IDENTITY: self._identity(key), "gansweep.sweep": self._sweep, **self.parentage(key)}
        tags[MLFLOW_RUN_NAME] = run_name(self._sweep, key)
        if isinstance(key, tuple):
            tags |= {"gansweep.confirms": str(key[0]), "gansweep.seed": str(key[1])}
        elif key is not None:
            tags["gansweep.trial"] = str(key)
        run_id: str = self._client.create_run(self.experiment, start_time=since, tags=tags).info.run_id
        return run_id
