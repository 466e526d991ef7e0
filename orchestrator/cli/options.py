"""What commands share: arguments and options, the sweep that they name, and how it is asked on a cluster."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.commands import HOME, PROFILE
from orchestrator.errors import UserError

if TYPE_CHECKING:
    from orchestrator.client.handle import Handle
    from orchestrator.remote import JobOptions


def sweep_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """For the shell; nothing is made, and what can't be asked has no names."""
    from orchestrator.errors import GansweepError
    from orchestrator.paths import Home
    from orchestrator.status import sweeps
    from trainers.reading.document import SettingsError

    root = Path(ctx.params.get("home") or os.environ.get("GANSWEEP_HOME") or HOME)
    profile = ctx.params.get("profile") or os.environ.get("GANSWEEP_PROFILE") or PROFILE
    try:
        found = Home(root).sweeps() if profile == PROFILE else sweeps(Home.at(root, profile))
    except (GansweepError, SettingsError):
        return []
    return [name for name in found if name.startswith(incomplete)]


def setting_names(incomplete: str) -> list[str]:
    """For the shell."""
    from orchestrator.planning.explained import settings

    return [setting.name for setting in settings() if setting.name.startswith(incomplete)]


File = Annotated[Path, typer.Argument(help="The sweep file.", show_default=False)]
Name = Annotated[str, typer.Argument(help="The name of a sweep.", show_default=False, autocompletion=sweep_names)]
Set = Annotated[list[str] | None, typer.Option("--set", help="Override a setting: a.b=value. Can be repeated.")]
HomeDir = Annotated[Path, typer.Option("--home", envvar="GANSWEEP_HOME", help="Where gansweep keeps its files.")]
Profile = Annotated[
    str,
    typer.Option("--profile", envvar="GANSWEEP_PROFILE", help="Where sweeps live, as the user's config.toml names it."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Trials = Annotated[int | None, typer.Option(min=1, help="Trials in all.", show_default=False)]
Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Change the space (search.space.a.b={…}) or a setting that leaves trials comparable (budget.hours=9).",
    ),
]
WarmStart = Annotated[
    str | None,
    typer.Option(help="Begin with what this sweep knows.", show_default=False, autocompletion=sweep_names),
]
Address = Annotated[
    str | None,
    typer.Option(
        help="A Ray cluster: HOST:PORT or 'auto'; http://… submits a job; 'local' is this machine.",
        show_default=False,
    ),
]
Dashboard = Annotated[
    str | None,
    typer.Option("--address", help="Ask the Ray cluster with this dashboard: http(s)://HOST:8265.", show_default=False),
]
Detach = Annotated[bool, typer.Option("--detach", help="With --address http://…: return when the job is queued.")]
Forward = Annotated[
    list[str] | None,
    typer.Option("--env", help="With --address http://…: a variable that the job gets, by name. Can be repeated."),
]
DriverCpus = Annotated[
    float | None,
    typer.Option(
        min=0, help="With --address http://…: CPUs that the driver reserves, on any node.", show_default=False
    ),
]
DriverMemory = Annotated[float | None, typer.Option(min=0, help="Likewise: memory in GiB.", show_default=False)]


def job_options(
    address: str | None, detach: bool, env: Sequence[str] | None, driver_cpus: float | None, driver_memory: float | None
) -> JobOptions | None:
    """How a driver goes to the cluster whose dashboard is at ``address``; None where it runs here. Raises UserError
    where an option of Ray jobs stands beside a sweep that is none.
    """
    from orchestrator.profiles import is_dashboard

    if is_dashboard(address):
        from orchestrator.remote import JobOptions  # brings Ray, which reads its environment when it is imported

        return JobOptions(address, env or (), driver_cpus, driver_memory, detach)
    given = {"detach": detach, "env": env, "driver_cpus": driver_cpus, "driver_memory": driver_memory}
    if names := [name for name, value in given.items() if value]:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in names)
        raise UserError(
            f"{options} needs --address http://…, a Ray cluster's dashboard: this sweep's driver runs here, and ends "
            "with its terminal"
        )
    return None


def sweep(name: str, home: Path, profile: str) -> Handle:
    """The one that the options of a command name."""
    from orchestrator.api import place
    from orchestrator.client.handle import Handle

    return Handle(name, place(home, profile))


def ask(name: str, words: list[str], address: str, profile: str) -> None:
    """Have a command run where the job of a sweep runs, and print what it says."""
    from orchestrator import remote

    say(remote.ask(name, words, address, profile))


def say(text: str) -> None:
    """Print a line at once, also in a pipe."""
    print(text, flush=True)


CodeSha256 = Annotated[
    list[str] | None,
    typer.Option(help="The sha256 of code that a checkpoint brings and may run here. Can be repeated."),
]
