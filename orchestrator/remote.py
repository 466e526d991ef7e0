"""Sweeps on a Ray cluster by its jobs: the same commands, run there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from orchestrator.execution.jobs import Cluster, Job, Show, forwarded
from orchestrator.spec import Sweep

if TYPE_CHECKING:
    from orchestrator.options import Way


def submit(sweep: Sweep, way: Way, show: Show) -> None:
    """Run a sweep there, or join the job that does. Unless ``detach``, show what it prints until it ends."""
    _drive(sweep.name, ["submit", "sweep.yaml"], {"sweep.yaml": sweep.to_yaml()}, way, show)


def resume(name: str, trials: int | None, way: Way, show: Show) -> None:
    """Go on there with a sweep that the ledger knows."""
    _drive(name, ["resume", name, *(["--trials", str(trials)] if trials else [])], {}, way, show)


def ask(name: str, words: Sequence[str], address: str) -> str:
    """What a command about a sweep answers there, where its ledger may lie on the head's disk."""
    return Cluster(address).run(Job(name, words))


def logs(name: str, address: str, follow: bool, show: Show) -> None:
    """What the driver prints."""
    cluster = Cluster(address)
    if follow:
        cluster.follow(name, show)
    else:
        show(cluster.logs(name).rstrip("\n"))


def _drive(name: str, words: list[str], files: dict[str, str], way: Way, show: Show) -> None:
    environment = forwarded(way.environment)  # before anything is asked of the cluster
    cluster = Cluster(way.address)
    job = Job(name, [*words, "--address", "auto"], files, environment, way.cpus, way.memory_gb)
    cluster.start(job, show)
    if not way.detach:
        cluster.follow(name, show)
