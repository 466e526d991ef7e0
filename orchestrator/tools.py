"""The commands that need no sweep: one training, samples, data, the UI, the doctor."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from orchestrator import options
from orchestrator.commands import HOME, PROFILE
from orchestrator.errors import UserError

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
) -> None:
    """Look at the data and write a first sweep file, that fits it and this machine."""
    from orchestrator import api, earlier, planned, spec
    from orchestrator.commands import command
    from orchestrator.paths import Home

    file = api.init(kind, where, output=output, minutes=minutes, say=print)
    sweep = spec.load(file)
    planned.plan(sweep, earlier.like(sweep, Home(Path(HOME))))
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
    from orchestrator import api, profiles, show
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


def sample(
    model: Annotated[str, typer.Argument(help="models:/NAME@ALIAS, or a checkpoint folder.", show_default=False)],
    number: Annotated[
        int | None, typer.Option("-n", "--number", min=1, help="How many; 64, or 8 for --classes and films.")
    ] = None,
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help=".png: a grid; .npy: an array; .txt: text; .gif, .webp, .mp4: a film."),
    ] = Path("samples.png"),
    seed: Annotated[int, typer.Option(help="Of the first sample; the next ones count up.")] = 0,
    seeds: Annotated[str | None, typer.Option(help="These instead, as 3,7,9.", show_default=False)] = None,
    label: Annotated[
        str | None,
        typer.Option(help="Of a conditional generator: a class, or weather=snow,fog=0.3.", show_default=False),
    ] = None,
    classes: Annotated[bool, typer.Option("--classes", help="A row for every class.")] = False,
    interpolate: Annotated[bool, typer.Option("--interpolate", help="A film from sample to sample.")] = False,
    truncation: Annotated[
        float | None, typer.Option(help="Cut latents off at this value: typical, less varied.", show_default=False)
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="The plain generator of a checkpoint, not the averaged one.")
    ] = False,
    code_sha256: options.CodeSha256 = None,
    home: options.HomeDir = Path(HOME),
    profile: options.Profile = PROFILE,
) -> None:
    """Draw samples from a promoted generator or a checkpoint."""
    from orchestrator import sweep as story
    from orchestrator.api import place
    from orchestrator.sampling import Wish

    if number is None:
        number = 8 if classes or interpolate else 64
    chosen = _seeds(seeds) if seeds else range(seed, seed + number)
    wish = Wish(chosen, label, raw, truncation, classes, interpolate, code_sha256 or ())
    shape = story.sample(model, wish, output, place(home, profile))
    what = "a film through" if interpolate else "every class at" if classes else ""
    made = f"{len(chosen)} samples" + (f" of shape {'x'.join(map(str, shape))}" if shape else "")
    print(" ".join(filter(None, [f"{output}:", what, made])))


def translate(
    model: Annotated[str, typer.Argument(help="models:/NAME@ALIAS, or a checkpoint folder.", show_default=False)],
    pictures: Annotated[Path, typer.Argument(help="A picture, or a folder of them.", show_default=False)],
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder for the translations, as PNG.")] = Path(
        "translated"
    ),
    code_sha256: options.CodeSha256 = None,
    home: options.HomeDir = Path(HOME),
    profile: options.Profile = PROFILE,
) -> None:
    """Translate pictures with a promoted translator or a checkpoint."""
    from orchestrator.api import place
    from orchestrator.generator import registry_of
    from orchestrator.translating import translate as run

    done = run(model, pictures, output, registry_of(place(home, profile)), code_sha256 or ())
    print(f"{output}: {done.written} translated pictures")
    for unreadable in done.unreadable:
        print(f"warning: passed over: {unreadable}", file=sys.stderr)


def serve(
    model: Annotated[str, typer.Argument(help="models:/NAME@ALIAS, or a checkpoint folder.", show_default=False)],
    host: Annotated[
        str, typer.Option(help="Where to listen; any but this machine's own needs GANSWEEP_SERVE_TOKEN.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    code_sha256: options.CodeSha256 = None,
    home: options.HomeDir = Path(HOME),
    profile: options.Profile = PROFILE,
) -> None:
    """Answer requests for samples over HTTP, as PNG or array, until Ctrl-C."""
    from orchestrator import api

    api.serve(model, host=host, port=port, trusted=code_sha256 or (), home=home, profile=profile, say=_say)


def _say(line: str) -> None:
    print(line, flush=True)


def augment(
    model: Annotated[str, typer.Argument(help="models:/NAME@ALIAS, or a checkpoint folder.", show_default=False)],
    per_class: Annotated[int, typer.Option(min=1, help="Samples of each class.", show_default=False)],
    output: Annotated[
        str, typer.Option("-o", "--output", help="An empty folder, or s3://bucket/prefix, for Parquet files.")
    ] = "augmented",
    real: Annotated[
        str | None,
        typer.Option(
            "--data", help="Labelled pictures to add them to: a folder, Parquet, or a built-in set.", show_default=False
        ),
    ] = None,
    gain: Annotated[bool, typer.Option("--gain", help="Measure what they bring to a small classifier.")] = False,
    seed: Annotated[int, typer.Option(help="Of the first sample; the next ones count up.")] = 0,
    truncation: Annotated[
        float | None, typer.Option(help="Cut latents off at this value: typical, less varied.", show_default=False)
    ] = None,
    code_sha256: options.CodeSha256 = None,
    home: options.HomeDir = Path(HOME),
    profile: options.Profile = PROFILE,
    as_json: options.Json = False,
) -> None:
    """Write a labelled data set of real pictures and samples."""
    from orchestrator import api, show

    done = api.augment(
        model,
        output,
        per_class=per_class,
        data=real,
        gain=gain,
        seed=seed,
        truncation=truncation,
        trusted=code_sha256 or (),
        home=home,
        profile=profile,
    )
    if as_json:
        show.as_json({**asdict(done), "gain": done.gain and done.gain._asdict()})
    else:
        show.augmented(done, output)


def _seeds(text: str) -> list[int]:
    try:
        return [int(word) for word in text.split(",")]
    except ValueError:
        raise UserError(f"--seeds {text}: whole numbers with commas between, as 3,7,9") from None


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
    from orchestrator import show
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

    api.ui(port=port, home=home, profile=profile, say=_say)


def doctor(
    file: Annotated[Path | None, typer.Argument(help="Also check what this sweep needs.", show_default=False)] = None,
    address: Annotated[
        str | None, typer.Option(help="Also ask each node of this Ray cluster: HOST:PORT or auto.", show_default=False)
    ] = None,
    home: options.HomeDir = Path(HOME),
    profile: options.Profile = PROFILE,
    as_json: options.Json = False,
) -> None:
    """Check Ray, MLflow, ledger, storage, GPU and disk; say what to mend."""
    from orchestrator import doctor as doctor_
    from orchestrator import show, spec
    from orchestrator.api import place

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
    from orchestrator import explained, show

    found = explained.settings(name)
    show.as_json([setting._asdict() for setting in found]) if as_json else show.settings(found)
