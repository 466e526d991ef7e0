"""The commands on what a sweep found: the registry, the report, the samples."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from orchestrator import options
from orchestrator.commands import HOME, PROFILE


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
    rollback: Annotated[bool, typer.Option("--rollback", help="Give the alias back to the version before.")] = False,
    home: options.HomeDir = Path(HOME),
    profile: options.Profile = PROFILE,
    as_json: options.Json = False,
) -> None:
    """The gate, then the registry: the best finished, healthy trial becomes the champion."""
    from orchestrator import show

    handle = options.sweep(name, home, profile)
    if rollback:
        promoted = handle.rollback(alias=alias, model=model)
    else:
        promoted = handle.promote(trial, alias=alias, model=model, force=force, reason=reason)
    show.as_json(promoted) if as_json else show.promoted(promoted)


def report(
    name: options.Name,
    output: Annotated[Path, typer.Option("-o", "--output", help="The page.")] = Path("report.html"),
    home: options.HomeDir = Path(HOME),
    profile: options.Profile = PROFILE,
    as_json: options.Json = False,
) -> None:
    """What a sweep found, what it cost and what failed, as one page that opens offline; --json: as numbers."""
    from orchestrator import show

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
