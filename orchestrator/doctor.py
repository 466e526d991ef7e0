"""Is everything there that a sweep needs? Each check says what it found, or what to mend."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orchestrator.errors import GansweepError
from orchestrator.paths import Home
from orchestrator.spec import Sweep, counted

if TYPE_CHECKING:
    from orchestrator.execution.order import GangSpec

LOW_DISK = 5 * 2**30


@dataclass(frozen=True)
class Finding:
    """``columns`` are those of a node, which stands in a table."""

    what: str
    ok: bool
    detail: str
    columns: dict[str, str] | None = None


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
    """What each node says, how many trials fit, and how fast the nodes add up together."""
    from orchestrator.execution.environment import prepare

    prepare(address, home.root / "ray.token")
    from orchestrator.artifacts import store_of
    from orchestrator.execution import gcs
    from orchestrator.execution.cluster import cluster
    from orchestrator.execution.listener import require_head
    from orchestrator.execution.probe import faults, probe
    from orchestrator.execution.slots import fit, needs, room
    from orchestrator.sweep import gang_of

    gang = gang_of(sweep, store_of(sweep, home), str(home.cache))
    try:
        require_head(address)
        with cluster(address):
            nodes, began = gcs.nodes(), time.time()
            said = probe(gang, nodes, sweep.model_dump(mode="json"))
            ended, held = time.time(), room(gang)
            wrong = faults(said, began, ended)
            found = []
            for node, facts in said.items():
                ranks = f"{counted(held.get(node, 0), 'rank')} of a trial"
                columns = facts.columns(began, ended) | {"ranks": str(held.get(node, 0))}
                is_well = node not in wrong or node not in held  # nothing trains on a head without CPUs
                found.append(Finding(f"node {facts.node}", is_well, wrong.get(node, f"room for {ranks}"), columns))
            well = {node: ranks for node, ranks in held.items() if node in said and node not in wrong}
            gangs = fit(gang, well.values())
            found.append(Finding("room", gangs > 0, f"{counted(gangs, 'trial')} of {needs(gang)} at once"))
            return [*found, *_reach(gang, list(well), all(bool(said[node].gpus) for node in well))]
    except GansweepError as error:
        return [Finding("ray", False, str(error))]


def _reach(gang: GangSpec, nodes: list[str], gpus: bool) -> list[Finding]:
    """Between the nodes on which ranks run; over NCCL, too, where all have ``gpus``."""
    from orchestrator.execution.reach import all_reduce

    if len(nodes) < 2:
        return []
    kinds = [replace(gang, gpus=0), *([replace(gang, gpus=1)] if gpus else [])]
    return [_finding(f"all-reduce over {kind.backend}", lambda kind=kind: all_reduce(kind, nodes)) for kind in kinds]  # type: ignore[misc]


def _data(sweep: Sweep) -> str:
    from trainers.data import describe, load

    return "; ".join(describe(load(sweep.data)))
