"""From the ledger to the registry: choose, ask the gate, gather the evidence, publish."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from orchestrator.artifacts import Store
from orchestrator.choice import choose
from orchestrator.commands import command
from orchestrator.errors import StoreError, WorkError
from orchestrator.paths import samples_key, trial_key
from orchestrator.registry.card import SAMPLES
from orchestrator.registry.gate import Candidate, impossible, refusals
from orchestrator.registry.models import Evidence, RunGoneError
from orchestrator.registry.models import promote as publish
from orchestrator.search.known import Known
from orchestrator.search.population import words
from orchestrator.search.trial import Training
from orchestrator.secrets import without_secrets
from orchestrator.spec import Sweep
from trainers.data import describe, load

WEIGHTS = ("manifest.json", "state.json", "generator_ema.safetensors")
"""What of a checkpoint a generator needs."""


def promote(
    ledger: Known,
    store: Store,
    uri: str,
    model: str,
    alias: str,
    number: int | None,
    forced_reason: str | None,
    licence: str | None,
    assure: Callable[[], None],
) -> dict[str, Any]:
    """``assure`` raises where somebody else promotes this model by now."""
    trial, candidate, training, candidates = choose(ledger, number, forced=forced_reason is not None)
    refused = refusals(candidate)
    if no_way := impossible(candidate):
        raise WorkError(f"trial {trial.id} can't be promoted: {no_way}")
    if refused and forced_reason is None:
        raise WorkError(
            f"trial {trial.id} is not promoted: {'; '.join(refused)}. If you know better: "
            + command("promote", ledger.sweep.name, "--trial", trial.id, "--force", "--reason", "TEXT")
        )
    if training.mlflow_run_id is None:
        raise WorkError(
            f"trial {trial.id} is not recorded in MLflow yet; send what waits with: "
            + command("sync", ledger.sweep.name)
        )
    tags = _tags(ledger, candidate, refused, forced_reason) | _choice(candidate, candidates)
    tags |= {"gansweep.licence": licence} if licence else {}
    prefix = trial_key(ledger.key, trial.id, training.confirm_seed)
    with tempfile.TemporaryDirectory() as folder:
        evidence = _gather(Path(folder), training, prefix, ledger.sweep, store, tags)
        try:
            document = publish(uri, model, alias, training.mlflow_run_id, evidence, assure)
        except RunGoneError as error:
            raise WorkError(
                f"{error}; record the sweep again, then promote: {command('sync', ledger.sweep.name)}"
            ) from None
    return {**document, "trial": trial.id, "seed": training.seed}


def _choice(chosen: Candidate, candidates: Sequence[Candidate]) -> dict[str, str]:
    """Which training of the trial it is, and why that one."""
    scores = {c.seed: "none" if c.score is None else f"{c.score:.6g}" for c in candidates}
    passing = sum(not refusals(c) for c in candidates)
    why = f"the best score of those that the gate lets pass: {passing} of {len(candidates)} trainings"
    return {
        "gansweep.seed": str(chosen.seed),
        "gansweep.seed.scores": ", ".join(f"seed {seed}: {score}" for seed, score in scores.items()),
        "gansweep.seed.why": why if passing else "forced: the gate lets none pass, and this is the search's own",
    }


def _tags(ledger: Known, candidate: Candidate, refused: list[str], forced_reason: str | None) -> dict[str, str]:
    """The evidence that stays with the version. Never empty values: some registries drop them."""
    objective, data = ledger.sweep.objective, load(ledger.sweep.data)
    tags = {
        "gansweep.sweep": ledger.sweep.name,
        "gansweep.trial": str(candidate.trial),
        "gansweep.run_id": candidate.mlflow_run_id or "",
        "gansweep.checkpoint": candidate.checkpoint or "",
        "gansweep.verdict": candidate.verdict,
        "gansweep.family": ledger.sweep.family,
        "gansweep.objective": objective.told,
        "gansweep.data.fingerprint": data.fingerprint,
        "gansweep.data.told": describe(data)[0][:1_000],
    }
    told = ", ".join(data.space.names) or "; ".join(column.told for column in data.space.columns)
    tags |= {"gansweep.data.classes": told[:1_000]} if told else {}
    tags |= {"gansweep.score": f"{candidate.score:.6g}"} if candidate.score is not None else {}
    if changed := words(ledger.trial(candidate.trial), ledger.trials()):
        tags["gansweep.schedule"] = changed[:1_000]
    tags |= {f"gansweep.measured.{part}": str(value) for part, value in ledger.provenance.items()}
    tags |= {f"gansweep.metric.{name}": f"{value:.6g}" for name, value in candidate.metrics.items()}
    tags |= {f"gansweep.require.{metric}": bound for metric, bound in objective.require.items()}
    if candidate.confirmed and candidate.confirmed["median"] is not None:
        tags["gansweep.confirmed.scores"] = ", ".join(
            f"{s:.6g}" for s in candidate.confirmed["scores"] if s is not None
        )
        tags["gansweep.confirmed.median"] = f"{candidate.confirmed['median']:.6g}"
    if refused and forced_reason:
        tags |= {"gansweep.forced.reason": forced_reason, "gansweep.forced.refused": "; ".join(refused)}
    return tags


def _gather(
    folder: Path, training: Training, prefix: str, sweep: Sweep, store: Store, tags: dict[str, str]
) -> Evidence:
    assert training.checkpoint is not None
    checkpoint = store.get(training.checkpoint, folder / "checkpoint")
    generator = folder / "generator"
    generator.mkdir()
    for name in WEIGHTS:
        shutil.copy2(checkpoint / name, generator)
    samples: Path | None = folder / SAMPLES
    try:
        store.get(samples_key(prefix, training.images), folder / SAMPLES)
    except StoreError:
        samples = None  # a lost picture is no reason to refuse a generator
    sweep_file = folder / "sweep.yaml"
    sweep_file.write_text(without_secrets(sweep.to_yaml()))
    return Evidence(generator, sweep_file, samples, tags)
