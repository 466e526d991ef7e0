"""Generators in the MLflow model registry: publish with evidence, roll back."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.entities import LifecycleStage
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.tracking import MlflowClient
from mlflow.types import ColSpec, Schema, TensorSpec
from mlflow.types.schema import AnyType

import trainers
from orchestrator.errors import UserError, WorkError
from orchestrator.registry import card
from orchestrator.registry.connection import connected
from orchestrator.secrets import without_secrets
from trainers.data import Space
from trainers.data.conditions import Column
from trainers.families import FAMILIES
from trainers.files.sealed import facts
from trainers.state import load_space

NEEDS = ("torch", "safetensors", "numpy", "pydantic", "PyYAML", "pillow", "pyarrow", "scikit-learn", "pandas")
"""What serving a generator imports; pinned in the model, since MLflow's own inference takes ten seconds and guesses."""

NAME_OR_NUMBER = AnyType()  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class Evidence:
    """All that a promotion leaves behind beside the weights: local files, and tags for the model version."""

    generator: Path
    sweep_file: Path
    samples: Path | None
    tags: Mapping[str, str]


class RunGoneError(WorkError):
    """The run that the version would belong to is not in MLflow any more, not even in its bin."""


def promote(
    uri: str, model: str, alias: str, run_id: str, evidence: Evidence, assure: Callable[[], None]
) -> dict[str, Any]:
    """Register the generator as a new version of ``model``, linked to the trial's run, and give it ``alias``.

    The version that stands for the same checkpoint of the same run already is taken, with the new evidence. The run
    stays as it ended, and is restored where somebody deleted it. Returns what ``gansweep promote --json`` prints.
    ``assure`` raises, before anything is written and right before the alias is given, where somebody else promotes by
    now. Raises RunGoneError.
    """
    with connected(uri) as client:
        restored = _restored(client, run_id)
        assure()
        standing = _same(client, model, evidence.tags)
        found = standing or _publish(client, model, alias, run_id, evidence)
        for key, value in evidence.tags.items() if standing else ():
            client.set_model_version_tag(model, found.version, key, value)
        _describe(client, model, str(found.version), evidence)
        previous = _holder(client, model, alias)
        number = str(found.version)
        if previous != number:
            assure()
            client.set_model_version_tag(model, number, f"gansweep.before.{alias}", previous or "none")
            client.set_registered_model_alias(model, alias, number)
        document = _document(uri, model, alias, number, evidence.tags, new=previous != number)
        return {**document, "restored_run": restored}


def rollback(uri: str, model: str, alias: str, assure: Callable[[], None]) -> dict[str, Any]:
    """Give ``alias`` back to the version that held it before. Raises UserError where there is none."""
    with connected(uri) as client:
        now = _holder(client, model, alias)
        if now is None:
            raise UserError(f"no version of model '{model}' holds the alias '{alias}'")
        before = client.get_model_version(model, now).tags.get(f"gansweep.before.{alias}")
        if before in (None, "none"):
            raise UserError(f"version {now} of model '{model}' is the first '{alias}': there is none to go back to")
        assure()
        client.set_registered_model_alias(model, alias, before)
        return _document(uri, model, alias, before, client.get_model_version(model, before).tags, new=True)


def _restored(client: MlflowClient, run_id: str) -> bool:
    """Whether somebody had deleted the run, or its experiment; it is back."""
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        raise RunGoneError(f"the run {run_id} is gone from MLflow") from None
    if run.info.lifecycle_stage != LifecycleStage.DELETED:
        return False
    if client.get_experiment(run.info.experiment_id).lifecycle_stage == LifecycleStage.DELETED:
        client.restore_experiment(run.info.experiment_id)  # with its runs
    if client.get_run(run_id).info.lifecycle_stage == LifecycleStage.DELETED:
        client.restore_run(run_id)
    return True


def _publish(client: MlflowClient, model: str, alias: str, run_id: str, evidence: Evidence) -> ModelVersion:
    config, space = facts(evidence.generator)["config"], load_space(evidence.generator)
    example = _example(config, space)
    shown = example.head(3).to_dict("list") if isinstance(example, pd.DataFrame) else None
    conditions = space.conditions if config["model"]["conditional"] else ()
    about = card.of_model(model, alias, space, conditions, shown)
    file = evidence.generator.with_name("model_card.md")
    file.write_text(f"# {model}\n\n{about}\n\n{_told(evidence.tags)}\n")
    artifacts = {"generator": evidence.generator, "sweep": evidence.sweep_file, "card": file}
    artifacts |= {"samples": evidence.samples} if evidence.samples else {}
    logged = _logged(client, run_id, artifacts, _signature(example, space, conditions), example, evidence.tags)
    with contextlib.redirect_stderr(io.StringIO()):  # where it announces each step
        made = mlflow.register_model(logged, model, tags=dict(evidence.tags))
    if not client.get_registered_model(model).description:  # else somebody wrote a better one, or a licence into ours
        shown = f"{about}\n\n{card.picture(model, str(made.version))}" if evidence.samples else about
        client.update_registered_model(model, description=shown)
    return made


def _describe(client: MlflowClient, model: str, number: str, evidence: Evidence) -> None:
    """A version, and of its model what changes with it."""
    told, samples = _told(evidence.tags), card.picture(model, number) if evidence.samples else ""
    client.update_model_version(model, number, description="\n\n".join(filter(None, (told, samples))))
    if about := client.get_registered_model(model).description:
        about = card.renewed(about, samples, evidence.tags.get("gansweep.licence"))
        client.update_registered_model(model, description=about)


def _told(tags: Mapping[str, str]) -> str:
    return card.of_version({name.removeprefix("gansweep."): value for name, value in tags.items()})


def _logged(
    client: MlflowClient,
    run_id: str,
    artifacts: Mapping[str, Path],
    signature: ModelSignature,
    example: Any,
    tags: Mapping[str, str],
) -> str:
    """The URI of the model that is logged to a run, without opening it: a notebook may have a run of its own open, and
    an experiment of its own chosen.
    """
    run = client.get_run(run_id)
    logged = client.create_logged_model(
        run.info.experiment_id, "generator", source_run_id=run_id, params=run.data.params
    )
    Model.log(
        artifact_path=None,
        name="generator",
        flavor=mlflow.pyfunc,
        run_id=run_id,
        model_id=logged.model_id,
        python_model=str(Path(__file__).with_name("served.py")),
        artifacts={name: str(path) for name, path in artifacts.items()},
        code_paths=[str(Path(trainers.__file__).parent)],
        signature=signature,
        input_example=example,
        pip_requirements=[f"{name}=={version(name).split('+')[0]}" for name in NEEDS],
        metadata=dict(tags),
    )
    return str(logged.model_uri)


def _example(config: Mapping[str, Any], space: Space) -> Any:
    """Rows that a generator answers: seeds, and conditions beside them; of a translator a picture."""
    if FAMILIES[config.get("family", "gan")].translates:
        channels, height, width = space.shape
        return np.zeros((1, height, width, channels), np.uint8)
    rows = pd.DataFrame({"seed": np.arange(4, dtype=np.int64)})
    for column in space.conditions if config["model"]["conditional"] else ():
        numbered = space.classes and not space.names
        classes = range(space.classes) if numbered else column.names
        span = np.linspace(column.low, column.high, 4)
        rows[column.name] = [classes[number % len(classes)] for number in range(4)] if classes else span
    return rows


def _signature(example: Any, space: Space, conditions: tuple[Column, ...]) -> ModelSignature:
    inputs: list[ColSpec | TensorSpec] = [ColSpec("long", "seed")]
    for column in conditions:
        inputs.append(ColSpec(NAME_OR_NUMBER if column.names else "double", column.name, required=False))
    if space.is_image:
        channels, height, width = space.shape
        output = TensorSpec(np.dtype(np.float32 if space.window else np.uint8), (-1, height, width, channels))
    elif space.is_clip:
        inputs.append(ColSpec("long", "frames", required=False))
        _, channels, height, width = space.shape
        output = TensorSpec(np.dtype(np.uint8), (-1, -1, height, width, channels))
    elif space.alphabet:
        output = TensorSpec(np.dtype(np.str_), (-1,))
    else:
        output = TensorSpec(np.dtype(np.float32), (-1, *space.shape))
    given = Schema(inputs) if isinstance(example, pd.DataFrame) else Schema([output])  # a picture for a picture
    return ModelSignature(inputs=given, outputs=Schema([output]))


def _same(client: MlflowClient, model: str, tags: Mapping[str, str]) -> ModelVersion | None:
    """Two homes may have sweeps of one name on one server: the checkpoint's key alone does not tell them apart."""
    own = ("gansweep.run_id", "gansweep.checkpoint")
    versions = client.search_model_versions(f"name = '{model}'")
    return next((v for v in versions if all(v.tags.get(key) == tags[key] for key in own)), None)


def _holder(client: MlflowClient, model: str, alias: str) -> str | None:
    try:
        return str(client.get_model_version_by_alias(model, alias).version)
    except MlflowException:
        return None


def _document(uri: str, model: str, alias: str, number: str, tags: Mapping[str, str], new: bool) -> dict[str, Any]:
    return {
        "tracking_uri": without_secrets(uri),
        "model": model,
        "version": int(number),
        "alias": alias,
        "uri": f"models:/{model}@{alias}",
        "new": new,
        "evidence": dict(tags),
    }
