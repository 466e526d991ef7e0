"""Is everything there that a sweep needs? Each check says what it found, or what to mend."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.errors import GansweepError
from orchestrator.paths import Home
from orchestrator.spec import Resources, Sweep

LOW_DISK = 5 * 2**30


@dataclass(frozen=True)
class Finding:
    what: str
    ok: bool
    detail: str


def examine(home: Home, sweep: Sweep | None) -> list[Finding]:
    """All checks, whatever the others found. Starts and stops an embedded Ray; trains nothing."""
    checks: list[tuple[str, Callable[[], str]]] = [
        ("disk", lambda: _disk(home)),
        ("torch", _torch),
        ("ledger", lambda: _ledger(home)),
        ("tracking", lambda: _tracking(home, sweep)),
        ("artifacts", lambda: _artifacts(home, sweep)),
        ("ray", lambda: _ray(home, sweep.resources if sweep else Resources())),
    ]
    if sweep:
        checks.append(("data", lambda: _data(sweep)))
    return [_finding(what, check) for what, check in checks]


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
    from orchestrator.tracking.recorder import check, without_secrets

    uri = home.tracking(sweep)
    if uri == "auto":
        return f"embedded MLflow on loopback, store {home.mlflow}"
    check(uri)
    return f"{without_secrets(uri)} answers"


def _artifacts(home: Home, sweep: Sweep | None) -> str:
    from orchestrator.artifacts import open_store

    store = open_store(home.store_url(sweep), home.artifacts)
    store.check()
    return f"{store.url} can be written and read"


def _ray(home: Home, resources: Resources) -> str:
    from orchestrator.execution.environment import prepare

    prepare(None, home.root / "ray.token")
    from orchestrator.execution.cluster import cluster, slots

    with cluster(None):
        return f"starts on loopback; {slots(resources)} trials of {resources.workers_per_trial} workers fit at once"


def _data(sweep: Sweep) -> str:
    from trainers.data import describe, load

    return "; ".join(describe(load(sweep.data)))
