"""The commands on a trained generator, from the registry or from a checkpoint's folder."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli import options
from orchestrator.commands import HOME, PROFILE
from orchestrator.errors import UserError


def sample(
    model: Annotated[str, typer.Argument(help="models:/NAME@ALIAS, or a checkpoint folder.", show_default=False)],
    number: Annotated[
        int | None, typer.Option("-n", "--number", min=1, help="How many; 64, or 8 for --classes and animations.")
    ] = None,
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            help=".png: a grid or strips; .npy: an array; .txt: text; .gif, .webp, .mp4: an animation.",
        ),
    ] = Path("samples.png"),
    seed: Annotated[int, typer.Option(help="Of the first sample; the next ones count up.")] = 0,
    seeds: Annotated[str | None, typer.Option(help="These instead, as 3,7,9.", show_default=False)] = None,
    label: Annotated[
        str | None,
        typer.Option(help="Of a conditional generator: a class, or weather=snow,fog=0.3.", show_default=False),
    ] = None,
    classes: Annotated[bool, typer.Option("--classes", help="A row for every class.")] = False,
    interpolate: Annotated[bool, typer.Option("--interpolate", help="An animation from sample to sample.")] = False,
    truncation: Annotated[
        float | None, typer.Option(help="Cut latents off at this value: typical, less varied.", show_default=False)
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="The plain generator of a checkpoint, not the averaged one.")
    ] = False,
    frames: Annotated[
        int | None, typer.Option(help="Of each clip, for a generator of clips; left out: as many as it has learned.")
    ] = None,
    code_sha256: options.CodeSha256 = None,
    home: options.HomeDir = Path(HOME),
    profile: options.Profile = PROFILE,
) -> None:
    """Draw samples from a promoted generator or a checkpoint."""
    from orchestrator.api import place
    from orchestrator.generators.generator import registry_of
    from orchestrator.generators.sampling import SampleOptions
    from orchestrator.generators.sampling import sample as run

    if seeds and (number is not None or seed):
        raise UserError("--seeds names the samples one by one; leave out -n and --seed")
    if number is None:
        number = 8 if classes or interpolate else 64
    chosen = _seeds(seeds) if seeds else range(seed, seed + number)
    wanted = SampleOptions(chosen, label, raw, truncation, classes, interpolate, code_sha256 or (), frames)
    shape = run(model, wanted, output, registry_of(place(home, profile)))
    made = f"{len(chosen)} sample{'s' if len(chosen) != 1 else ''}"
    made = f"an animation through {made}" if interpolate else f"{made} of each class" if classes else made
    print(f"{output}: {made}" + (f", of shape {'x'.join(map(str, shape))}" if shape else ""))


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
    from orchestrator.generators.generator import registry_of
    from orchestrator.generators.translating import translate as run

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

    api.serve(model, host=host, port=port, trusted=code_sha256 or (), home=home, profile=profile, say=options.say)


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
    from orchestrator import api
    from orchestrator.terminal import show

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
