"""The commands that look at sweeps: how they stand, what was printed, what was found, and the best to the registry."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from orchestrator.cli import options
from orchestrator.commands import HOME, PROFILE
from orchestrator.errors import UserError


def list_(
    home: options.HomeDir = Path(HOME), profile: options.Profile = PROFILE, as_json: options.Json = False
) -> None:
    """The sweeps that live here."""
    from orchestrator import api
    from orchestrator import status as standing
    from orchestrator.terminal import show

    documents = standing.overview(api.place(home, profile))
    show.as_json(documents) if as_json else show.sweeps(documents)


def status(
    name: options.Name,
    watch: Annotated[bool, typer.Option("--watch", help="Keep showing until the sweep ends.")] = False,
    address: options.Dashboard = None,
    home: options.HomeDir = Path(HOME),
    profile: options.Profile = PROFILE,
    as_json: options.Json = False,
) -> None:
    """Trials with state, rung, verdict, score and images/s."""
    from orchestrator import status as standing
    from orchestrator.terminal import live, show

    if address:
        options.ask(name, ["status", name, *(["--json"] if as_json else [])], address, profile)
        return
    ledger, paths = options.sweep(name, home, profile).ledger()
    if watch and not as_json:
        live.watch(ledger, paths)
    else:
        document = standing.describe(ledger, paths)
        show.as_json(document) if as_json else show.status(document, ledger.notes, ledger.sweep.objective.direction)


def logs(
    name: options.Name,
    trial: Annotated[int | None, typer.Option(min=0, help="Of this trial only.", show_default=False)] = None,
    rank: Annotated[int | None, typer.Option(min=0, help="Of this rank only.", show_default=False)] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep showing until the sweep ends.")] = False,
    address: Annotated[
        str | None,
        typer.Option("--address", help="What the driver of a Ray job prints: http(s)://HOST:8265.", show_default=False),
    ] = None,
    home: options.HomeDir = Path(HOME),
    profile: options.Profile = PROFILE,
) -> None:
    """What the workers of a sweep printed, of dead ones too; or, with --address, its driver."""
    from orchestrator import logs as kept
    from orchestrator import remote

    which = [
        word
        for option, value in (("--trial", trial), ("--rank", rank))
        if value is not None
        for word in (option, str(value))
    ]
    if address and which and follow:
        raise UserError("--follow with --address shows the driver; leave out --trial and --rank")
    if address and which:
        options.ask(name, ["logs", name, *which], address, profile)
        return
    if address:
        remote.logs(name, address, follow, options.say)
        return
    handle = options.sweep(name, home, profile)
    kept.follow(lambda: handle.logs(trial, rank), lambda: follow and handle.state == "running", options.say)


def promote(
    name: options.Name,
    trial: Annotated[int | None, typer.Option(help="This trial instead of the best.", show_default=False)] = None,
    alias: Annotated[str, typer.Option(help="Alias of the registered model.")] = "champion",
    model: Annotated[
        str | None, typer.Option(help="Registered model; default: the sweep's name.", show_default=False)
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Promote a trial that the gate refuses; needs --reason.")
    ] = False,
    reason: Annotated[str | None, typer.Option(help="Why it is promoted all the same.", show_default=False)] = None,
    licence: Annotated[
        str | None, typer.Option(help="Of the generator, for the model's page.", show_default=False)
    ] = None,
    rollback: Annotated[bool, typer.Option("--rollback", help="Give the alias back to the version before.")] = False,
    home: options.HomeDir = Path(HOME),
    profile: options.Profile = PROFILE,
    as_json: options.Json = False,
) -> None:
    """The gate, then the registry: the best finished, healthy trial becomes the champion."""
    from orchestrator.terminal import show

    handle = options.sweep(name, home, profile)
    if rollback and (trial is not None or force or reason or licence):
        raise UserError("--rollback gives the alias back; leave out --trial, --force, --reason and --licence")
    if rollback:
        promoted = handle.rollback(alias=alias, model=model)
    else:
        promoted = handle.promote(trial, alias=alias, model=model, force=force, reason=reason, licence=licence)
    show.as_json(promoted) if as_json else show.promoted(promoted)


def report(
    name: options.Name,
    output: Annotated[Path, typer.Option("-o", "--output", help="The page.")] = Path("report.html"),
    home: options.HomeDir = Path(HOME),
    profile: options.Profile = PROFILE,
    as_json: options.Json = False,
) -> None:
    """What a sweep found, what it cost and what failed, as one page that opens offline; --json: as numbers."""
    from orchestrator.terminal import show

    handle = options.sweep(name, home, profile)
    if as_json:
        show.as_json(handle.numbers())
    else:
        show.reported(handle.reported(output), output)


def samples(
    name: options.Name,
    output: Annotated[Path, typer.Option("-o", "--output", help="The page.")] = Path("samples.html"),
    by: Annotated[Literal["score", "verdict"], typer.Option(help="In which order.")] = "score",
    home: options.HomeDir = Path(HOME),
    profile: options.Profile = PROFILE,
) -> None:
    """The sample grids of all trials side by side, on one page that opens offline."""
    shown, trials = options.sweep(name, home, profile).samples(output, by)
    print(f"{output}: sample grids of {shown:,} of {trials:,} trials; open it in a browser")
