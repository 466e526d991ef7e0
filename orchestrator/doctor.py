"""Is everything there that a sweep needs? Each check says what it found, or what to mend."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.errors import GansweepError
from orchestrator.paths import Home
from orchestrator.spec import Sweep

LOW_DISK = 5 * 2**30


@dataclass(frozen=True)
class Finding:
    what: str
    ok: bool
    detail: str


def examine(home: Home, sweep: Sweep | None, address: str | None = None) -> list[Finding]:
    """All checks, whatever the others found. Starts and stops an embedded Ray, or asks every node of the cluster at
    ``address``; trains nothing.
    """
    checks: list[tuple[str, Callable[[], str]]] = [
        ("disk", lambda: _disk(home)),
        ("torch", _torch),
        ("ledger", lambda: _ledger(home)),
        ("tracking", lambda: _tracking(home, sweep)),
        ("artifacts", lambda: _artifacts(home, sweep)),
    ]
    if address is None:
        checks.append(("ray", lambda: _ray(home, sweep or Sweep(name="doctor"))))
    if sweep:
        checks.append(("data", lambda: _data(sweep)))
    findings = [_finding(what, check) for what, check in checks]
    return findings if address is None else [*findings, *_cluster(home, sweep or Sweep(name="doctor"), address)]


def _finding(what: str, check: Callable[[], str]) -> Finding:
    from trainers.errors import TrainerError
    from trainers.settings import SettingsError

    try:
        return Finding(what, True, check())
    except (GansweepError, TrainerError, SettingsError) as error:
        return Finding(what, False, str(error))


def _disk(home: Home) -> str:
    home.make()
    free = shutil.disk_usage(home.root).free
    if free < LOW_DISK:
        raise GansweepError(f"only {free / 2**30:.1f} GiB free under {home.root}; checkpoints need room")
    return f"{free / 2**30:.0f} GiB free under {home.root}"


def _torch() -> str:
    import torch

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return f"{torch.__version__}, {', '.join(gpus) or 'no GPU'}, {os.cpu_count()} CPUs"


def _ledger(home: Home) -> str:
    from orchestrator.status import ledger_of, sweeps

    names = sweeps(home)
    for name in names:
        ledger_of(name, home)
    return f"{len(names)} sweeps, all readable"


def _tracking(home: Home, sweep: Sweep | None) -> str:
    from orchestrator.secrets import without_secrets
    from orchestrator.tracking.target import check

    uri = home.tracking(sweep)
    if uri == "auto":
        return f"embedded MLflow on loopback, store {home.mlflow}"
    check(uri)
    return f"{without_secrets(uri)} answers"


def _artifacts(home: Home, sweep: Sweep | None) -> str:
    from orchestrator.artifacts import store_of

    store = store_of(sweep, home)
    store.check()
    return f"{store.url} can be written and read"


def _ray(home: Home, sweep: Sweep) -> str:
    from orchestrator.execution.environment import prepare

    prepare(None, home.root / "ray.token")
    from orchestrator.artifacts import store_of
    from orchestrator.execution.cluster import cluster
    from orchestrator.execution.slots import Slots
    from orchestrator.sweep import gang_of

    with cluster(None):
        fit = Slots(gang_of(sweep, store_of(sweep, home), str(home.cache)), sweep.most_trials, comes=False).count()
        return f"starts on loopback; {fit} trials of {sweep.resources.workers_per_trial} workers fit at once"


def _cluster(home: Home, sweep: Sweep, address: str) -> list[Finding]:
    """A line per node, in the words of the node, and how fast they add up together."""
    from orchestrator.execution.environment import prepare

    prepare(address, home.root / "ray.token")
    from orchestrator.artifacts import store_of
    from orchestrator.execution import gcs
    from orchestrator.execution.cluster import cluster
    from orchestrator.execution.listener import require_head
    from orchestrator.execution.probe import faults, probe
    from orchestrator.execution.reach import all_reduce
    from orchestrator.sweep import gang_of

    gang = gang_of(sweep, store_of(sweep, home), str(home.cache))
    try:
        require_head(address)
        with cluster(address):
            nodes, began = gcs.nodes(), time.time()
            said = probe(gang, nodes, sweep.model_dump(mode="json"))
            wrong = faults(said, began, time.time())
            found = [
                Finding(f"node {facts.node}", node not in wrong, wrong.get(node, facts.words()))
                for node, facts in said.items()
            ]
            well = [node for node in said if node not in wrong]
            reach = [_finding("all-reduce", lambda: all_reduce(gang, well))] if len(well) > 1 else []
            return [*found, *reach]
    except GansweepError as error:
        return [Finding("ray", False, str(error))]


def _data(sweep: Sweep) -> str:
    from trainers.data import describe, load

    return "; ".join(describe(load(sweep.data)))
