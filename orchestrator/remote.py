"""Sweeps on a Ray cluster by its jobs: the same commands, run there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator import profiles
from orchestrator.commands import PROFILE, set_words
from orchestrator.errors import UserError
from orchestrator.execution.jobs import CONFIG, Cluster, Job, Show, forwarded
from orchestrator.paths import Home
from orchestrator.secrets import has_secret
from orchestrator.spec import Sweep


@dataclass(frozen=True)
class JobOptions:
    """How a driver goes to a cluster: with the values of which variables, and where it lies there."""

    address: str
    environment: Sequence[str] = ()
    cpus: float | None = None
    memory_gb: float | None = None
    detach: bool = False


def behind(home: Home, address: str, environment: Sequence[str]) -> JobOptions:
    """How Python sends a driver, whose handle reads what it does in the ledger. Raises UserError where that would lie
    on the cluster's head alone.
    """
    if not home.profile.is_shared:
        raise UserError(f"address {address}: name a profile whose places this machine and the cluster both reach")
    return JobOptions(address, environment, detach=True)


def submit(sweep: Sweep, warm_start: str | None, options: JobOptions, profile: str, show: Show) -> None:
    """Run a sweep there, or join the job that does. Unless ``detach``, show what it prints until it ends."""
    warm, text = ["--warm-start", warm_start] if warm_start else [], sweep.to_yaml()
    if has_secret(sweep.model_copy(update={"code": {}}).to_yaml()):
        raise UserError(
            "the sweep file has a password in a URL, which everybody who sees the cluster's jobs could read: put the "
            "place into a profile, as ${NAME}, and set that variable where the nodes start"
        )
    _drive(sweep.name, ["submit", "sweep.yaml", *warm], {"sweep.yaml": text}, options, profile, show)


def resume(name: str, changes: Sequence[str], options: JobOptions, profile: str, show: Show) -> None:
    """Go on there with a sweep that the ledger knows."""
    _drive(name, ["resume", name, *set_words(changes)], {}, options, profile, show)


def ask(name: str, words: Sequence[str], address: str, profile: str) -> str:
    """What a command about a sweep answers there, where its ledger may lie on the head's disk."""
    return Cluster(address).run(Job(name, [*words, *_under(profile)], _config(profile)))


def logs(name: str, address: str, follow: bool, show: Show) -> None:
    """What the driver prints."""
    cluster = Cluster(address)
    if follow:
        cluster.follow(name, show)
    else:
        show(cluster.logs(name).rstrip("\n"))


def _drive(
    name: str, words: list[str], files: Mapping[str, str], options: JobOptions, profile: str, show: Show
) -> None:
    names = dict.fromkeys([*profiles.load(profile).environment, *options.environment])
    environment = forwarded(list(names))  # before anything is asked of the cluster
    arguments, files = [*words, "--address", "auto", *_under(profile)], {**files, **_config(profile)}
    cluster = Cluster(options.address)
    job = Job(name, arguments, files, environment, options.cpus, options.memory_gb)
    cluster.start(job, show)
    if not options.detach:
        cluster.follow(name, show)


def _under(profile: str) -> list[str]:
    return [] if profile == PROFILE else ["--profile", profile]


def _config(profile: str) -> dict[str, str]:
    """The profile travels with the job; there its variables are filled in."""
    return {} if profile == PROFILE else {CONFIG: profiles.as_written(profile)}
