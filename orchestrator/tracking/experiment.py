"""The experiment of a sweep: its own, wherever people may have put it, and never another's of the same name."""

from __future__ import annotations

from collections.abc import Callable

from mlflow.entities import Experiment, LifecycleStage, ViewType
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

IDENTITY = "gansweep.id"
"""Tag of everything that is a sweep's own."""


def experiment_of(client: MlflowClient, sweep: str, identity: str) -> Experiment | None:
    """The experiment of the sweep that ``identity`` tells from others of its name; it may lie in the bin."""
    for name in _names(sweep, identity):
        found = client.get_experiment_by_name(name)
        if found is not None and _is_ours(client, found, identity):
            return found
    return None


def settled(
    client: MlflowClient, sweep: str, identity: str, artifact_root: str | None, say: Callable[[str], None]
) -> str:
    """The id of the sweep's experiment: found, taken back out of the bin, or made, under a name of its own where
    another has the sweep's. ``say`` is told what is unusual.
    """
    own = experiment_of(client, sweep, identity)
    if own is None:
        return _made(client, sweep, identity, artifact_root, say)
    if own.lifecycle_stage == LifecycleStage.DELETED:
        client.restore_experiment(own.experiment_id)
        say(f"experiment '{own.name}' had been deleted in MLflow and is restored")
    found: str = own.experiment_id
    return found


def _made(
    client: MlflowClient, sweep: str, identity: str, artifact_root: str | None, say: Callable[[str], None]
) -> str:
    plain, unique = _names(sweep, identity)
    name = plain if client.get_experiment_by_name(plain) is None else unique
    location = f"{artifact_root}/{name}" if artifact_root else None
    try:
        made: str = client.create_experiment(name, location, {IDENTITY: identity})
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS" or name == unique:
            raise
        return _made(client, sweep, identity, artifact_root, say)  # somebody took the name in this moment
    if name == unique:
        say(f"MLflow has an experiment '{plain}' that is not this sweep's; this one is recorded in '{unique}'")
    return made


def _names(sweep: str, identity: str) -> tuple[str, str]:
    return sweep, f"{sweep}-{identity[:8]}"


def _is_ours(client: MlflowClient, experiment: Experiment, identity: str) -> bool:
    """By its tag, or, where an older version made it, by the sweep's run in it."""
    if IDENTITY in experiment.tags:
        return bool(experiment.tags[IDENTITY] == identity)
    of_sweep = f"tags.`{IDENTITY}` = '{identity}'"
    return bool(client.search_runs([experiment.experiment_id], of_sweep, ViewType.ALL, max_results=1))
