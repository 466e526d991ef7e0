"""The commands that need no sweep: one training, samples, data, the UI, the doctor."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli import options
from orchestrator.commands import HOME, PROFILE

data = typer.Typer(no_args_is_help=True, help="Bring pictures to where trainings read them.")


def init(
    kind: Annotated[
        str,
        typer.Argument(help="images, parquet, or a sweep file that came with gansweep: digits.", show_default=False),
    ],
    where: Annotated[
        str | None, typer.Argument(help="The folder of pictures, or s3://bucket/prefix.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The sweep file; default: named after the data.")
    ] = None,
    minutes: Annotated[float, typer.Option(min=1, help="How long the sweep may take here, about.")] = 30,
    home: options.HomeDir = Path(HOME),
) -> None:
    """Look at the data and write a first sweep file that fits the data and this machine."""
    from orchestrator import api, spec
    from orchestrator.commands import command
    from orchestrator.paths import Home
    from orchestrator.planning import earlier
    from orchestrator.terminal import planned

    file = api.init(kind, where, output=output, minutes=minutes, say=print)
    sweep = spec.load(file)
    measured = f"as measured a moment ago, and written at the head of {file}"
    planned.plan(sweep, earlier.like(sweep, Home(home)), measured if where else planned.UNKNOWN)
    print(f"\nwritten: {file}; next: {command('submit', file)}")


def train(
    file: options.File,
    overrides: options.Set = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Checkpoints, grids and reports; the same command again goes on.", show_default=False),
    ] = None,
    home: options.HomeDir = Path(HOME),
    profile: options.Profile = PROFILE,
    as_json: options.Json = False,
) -> None:
    """One training with no search: a line per report."""
    from orchestrator import api, profiles
    from orchestrator.terminal import show
    from orchestrator.training import changed
    from trainers.config import BAD
    from trainers.watching.shown import shown

    sweep = api.read(file, overrides or (), profiles.load(profile), here=True)
    ranks, folder = sweep.resources.workers_per_trial, out or api.place(home, PROFILE).root / "train" / sweep.name
    with shown(sweep.train.images, as_json) as watcher:
        heard = show.report_line if as_json else show.report
        trained = api.train(sweep, out=folder, ranks=ranks, heard=heard, watcher=watcher)
    if not trained.reports:
        found = changed(sweep.trial_config({}), trained.folder)
        told = f" with other settings ({found})" if found else ""
        print(
            f"{trained.folder}: ended before ({trained.verdict}){told}; give another --out to train anew",
            file=sys.stderr,
        )
    if trained.verdict in BAD:
        raise typer.Exit(1)


@data.command("import")
def import_(
    folder: Annotated[
        Path,
        typer.Argument(help="Image files; where all lie in sub-folders, these are the classes.", show_default=False),
    ],
    target: Annotated[str, typer.Argument(help="An empty folder, or s3://bucket/prefix.", show_default=False)],
    max_broken: Annotated[float, typer.Option(min=0, max=1, help="Share of images that may be unreadable.")] = 0.01,
    as_json: options.Json = False,
) -> None:
    """Pack a folder of images into Parquet shards, to be trained on from anywhere."""
    from orchestrator.terminal import show
    from trainers.data.pack import pack

    packed = pack(folder, target, max_broken)
    show.as_json(packed._asdict()) if as_json else show.packed(packed, target)


def ui(
    port: Annotated[int, typer.Option(help="0 takes a free one.")] = 5000,
    home: options.HomeDir = Path(HOME),
    profile: options.Profile = PROFILE,
) -> None:
    """The MLflow UI on runs and models; a home's own until Ctrl-C."""
    from orchestrator import api

    api.ui(port=port, home=home, profile=profile, say=options.say)


def doctor(
    file: Annotated[Path | None, typer.Argument(help="Also check what this sweep needs.", show_default=False)] = None,
    address: Annotated[
        str | None, typer.Option(help="Also ask each node of this Ray cluster: HOST:PORT or auto.", show_default=False)
    ] = None,
    home: options.HomeDir = Path(HOME),
    profile: options.Profile = PROFILE,
    as_json: options.Json = False,
) -> None:
    """Check Ray, MLflow, ledger, storage, GPU and disk; say what to fix."""
    from orchestrator import doctor as doctor_
    from orchestrator import spec
    from orchestrator.api import place
    from orchestrator.terminal import show

    at = place(home, profile)
    sweep = spec.load(file, resources=at.profile.default_resources) if file else None
    findings = doctor_.examine(at, sweep, address)
    show.as_json([finding.__dict__ for finding in findings]) if as_json else show.findings(findings)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


help_ = typer.Typer(no_args_is_help=True, help="What the settings of a sweep file mean.")


@help_.command("settings")
def settings(
    name: Annotated[
        str | None,
        typer.Argument(
            help="A setting or a group: train, train.loss.", show_default=False, autocompletion=options.setting_names
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Every setting with its meaning, range and default."""
    from orchestrator.planning import explained
    from orchestrator.terminal import show

    found = explained.settings(name)
    show.as_json([setting._asdict() for setting in found]) if as_json else show.settings(found)
