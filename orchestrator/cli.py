"""Every command: each parses, calls one function and prints. Heavy imports stand inside the commands, so that help
answers at once.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer
from typer.core import TyperGroup

from orchestrator import surroundings
from orchestrator.commands import HOME, PROFILE, command
from orchestrator.errors import GansweepError, StoppedAtOnceError, UserError, WorkError
from trainers.files.sealed import own_version

if TYPE_CHECKING:
    from orchestrator.paths import Home
    from orchestrator.remote import Way


class _Group(TyperGroup):
    """Lets ``main`` see Ctrl-C, which typer turns into a bare exit status."""

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise StoppedAtOnceError(
                f"stopped at once; what was recorded is kept; go on with: {command('resume', 'NAME')}"
            ) from None


app = typer.Typer(
    cls=_Group,
    help="Hyper-parameter sweeps for GANs that end in a generator you can trust.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

data = typer.Typer(no_args_is_help=True, help="Bring pictures to where trainings read them.")
app.add_typer(data, name="data")

File = Annotated[Path, typer.Argument(help="The sweep file.", show_default=False)]
Name = Annotated[str, typer.Argument(help="The name of a sweep.", show_default=False)]
Set = Annotated[list[str] | None, typer.Option("--set", help="Override a setting: a.b=value. Can stand several times.")]
HomeDir = Annotated[Path, typer.Option("--home", envvar="GANSWEEP_HOME", help="Holds everything embedded.")]
Profile = Annotated[
    str,
    typer.Option("--profile", envvar="GANSWEEP_PROFILE", help="Where sweeps live, as the user's config.toml names it."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Trials = Annotated[int | None, typer.Option(min=1, help="Trials in all.", show_default=False)]
By = Literal["score", "verdict"]
Address = Annotated[
    str | None,
    typer.Option(
        help="A Ray cluster: HOST:PORT, ray://… or 'auto'; http://… submits a job; 'local' is this machine.",
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
    typer.Option(
        "--env", help="With --address http://…: a variable that the job gets, by name. Can stand several times."
    ),
]
DriverCpus = Annotated[
    float | None,
    typer.Option(
        min=0, help="With --address http://…: CPUs that the driver reserves, on any node.", show_default=False
    ),
]
DriverMemory = Annotated[float | None, typer.Option(min=0, help="Likewise: memory in GiB.", show_default=False)]


def _version(asked: bool) -> None:
    if asked:
        print(f"gansweep {own_version()}")
        raise typer.Exit()


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", envvar="GANSWEEP_DEBUG", help="Show tracebacks and libraries' logs.")
    ] = False,
) -> None:
    os.environ["GANSWEEP_DEBUG"] = "1" if debug else ""
    surroundings.mend()
    logging.basicConfig(level=logging.INFO if debug else logging.CRITICAL, format="%(name)s: %(message)s")


@app.command()
def plan(
    file: File,
    overrides: Set = None,
    resolved: Annotated[
        bool, typer.Option("--resolved", help="Also every setting, and the networks' sizes, which loads torch.")
    ] = False,
    home: HomeDir = Path(HOME),
    profile: Profile = PROFILE,
    as_json: Json = False,
) -> None:
    """Check a sweep file; say what it asks for. Runs nothing."""
    from orchestrator import earlier, profiles, show, spec
    from orchestrator.paths import Home

    sweep = spec.load(file, overrides or (), here=True, resources=profiles.load(profile).default_resources)
    before = earlier.like(sweep, Home(home))
    _print_json(show.plan_document(sweep, before)) if as_json else show.plan(sweep, before)
    for name, message in spec.warnings(sweep):
        print(f"warning: {name}: {message}", file=sys.stderr)
    if resolved and not as_json:
        show.resolved(sweep)


@app.command()
def submit(
    file: File,
    overrides: Set = None,
    name: Annotated[str | None, typer.Option(help="Another name for the sweep.", show_default=False)] = None,
    trials: Trials = None,
    address: Address = None,
    detach: Detach = False,
    env: Forward = None,
    driver_cpus: DriverCpus = None,
    driver_memory: DriverMemory = None,
    home: HomeDir = Path(HOME),
    profile: Profile = PROFILE,
    as_json: Json = False,
) -> None:
    """Run a sweep; submitted again, it goes on where it stands."""
    from orchestrator import profiles, spec
    from orchestrator import sweep as story

    known = profiles.load(profile)
    address = known.cluster(address)
    given = [*(overrides or ()), *([f"name={name}"] if name else ()), *([f"search.trials={trials}"] if trials else ())]
    sweep = spec.load(file, given, here=address is None, resources=known.default_resources)
    if way := _way(address, detach=detach, env=env, driver_cpus=driver_cpus, driver_memory=driver_memory):
        from orchestrator import remote

        remote.submit(sweep, way, _say)
        return
    _run(lambda at, progress: story.submit(sweep, at, progress, address), sweep.name, _home(home, profile), as_json)


@app.command()
def resume(
    name: Name,
    trials: Trials = None,
    address: Address = None,
    detach: Detach = False,
    env: Forward = None,
    driver_cpus: DriverCpus = None,
    driver_memory: DriverMemory = None,
    home: HomeDir = Path(HOME),
    profile: Profile = PROFILE,
    as_json: Json = False,
) -> None:
    """Go on after any death, or add trials."""
    from orchestrator import sweep as story

    at = _home(home, profile)
    address = at.profile.cluster(address)
    if way := _way(address, detach=detach, env=env, driver_cpus=driver_cpus, driver_memory=driver_memory):
        from orchestrator import remote

        remote.resume(name, trials, way, _say)
        return
    _run(lambda at, progress: story.resume(name, at, progress, trials, address), name, at, as_json)


@app.command()
def stop(name: Name, address: Dashboard = None, home: HomeDir = Path(HOME), profile: Profile = PROFILE) -> None:
    """Ask a running sweep to finish its current reports and end; everything is kept."""
    from orchestrator import status as standing

    if address:
        _ask(name, ["stop", name], address)
        return
    running = standing.stop(name, _home(home, profile))
    print(
        f"sweep '{name}' ends after its current reports; go on with: {command('resume', name)}"
        if running
        else f"sweep '{name}' is not running"
    )


@app.command()
def sync(name: Name, home: HomeDir = Path(HOME), profile: Profile = PROFILE) -> None:
    """Send MLflow what the ledger knows and it does not: after a lost machine, or into a new MLflow."""
    from orchestrator import live
    from orchestrator import sweep as story

    with live.progress(quiet=False) as progress:
        unsent = story.sync(name, _home(home, profile), progress)
    if unsent:
        raise WorkError(f"some records wait for MLflow ({unsent}); send them with: {command('sync', name)}")
    print(f"MLflow has all that the ledger of sweep '{name}' knows")


@app.command("list")
def list_sweeps(home: HomeDir = Path(HOME), profile: Profile = PROFILE, as_json: Json = False) -> None:
    """The sweeps that live here."""
    from orchestrator import show
    from orchestrator import status as standing

    documents = standing.overview(_home(home, profile))
    _print_json(documents) if as_json else show.sweeps(documents)


@app.command()
def status(
    name: Name,
    watch: Annotated[bool, typer.Option("--watch", help="Keep showing until the sweep ends.")] = False,
    address: Dashboard = None,
    home: HomeDir = Path(HOME),
    profile: Profile = PROFILE,
    as_json: Json = False,
) -> None:
    """Trials with state, rung, verdict, score and images/s."""
    from orchestrator import live, show
    from orchestrator import status as standing

    if address:
        _ask(name, ["status", name, *(["--json"] if as_json else [])], address)
        return
    ledger, paths = standing.ledger_of(name, _home(home, profile))
    if watch and not as_json:
        live.watch(ledger, paths)
    else:
        document = standing.describe(ledger, paths)
        _print_json(document) if as_json else show.status(document, ledger.notes, ledger.sweep.objective.direction)


@app.command()
def logs(
    name: Name,
    trial: Annotated[int | None, typer.Option(min=0, help="Of this trial only.", show_default=False)] = None,
    rank: Annotated[int | None, typer.Option(min=0, help="Of this rank only.", show_default=False)] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep showing until the sweep ends.")] = False,
    address: Annotated[
        str | None,
        typer.Option("--address", help="What the driver of a Ray job prints: http(s)://HOST:8265.", show_default=False),
    ] = None,
    home: HomeDir = Path(HOME),
    profile: Profile = PROFILE,
) -> None:
    """What the workers of a sweep printed, of dead ones too; or, with --address, its driver."""
    from orchestrator import logs as kept
    from orchestrator import status as standing
    from orchestrator.artifacts import store_of

    if address:
        from orchestrator import remote

        remote.logs(name, address, follow, _say)
        return
    at = _home(home, profile)

    def read() -> Iterator[tuple[str, str]]:
        ledger, _ = standing.ledger_of(name, at)
        return kept.logs(ledger, store_of(ledger.sweep, at), trial, rank)

    def runs() -> bool:
        return follow and standing.state(*standing.ledger_of(name, at)) == "running"

    kept.follow(read, runs, _say)


@app.command()
def train(
    file: File,
    overrides: Set = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Checkpoints, grids and reports; the same command again goes on.", show_default=False),
    ] = None,
    home: HomeDir = Path(HOME),
    profile: Profile = PROFILE,
    as_json: Json = False,
) -> None:
    """One training with no search: a line per report."""
    from orchestrator import profiles, spec
    from orchestrator import sweep as story
    from trainers.config import BAD

    sweep = spec.load(file, overrides or (), here=True, resources=profiles.load(profile).default_resources)
    folder = out or _home(home, PROFILE).root / "train" / sweep.name
    verdict = story.train(sweep, folder, as_json)
    if verdict in BAD:
        raise typer.Exit(1)


@app.command()
def promote(
    name: Name,
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
    home: HomeDir = Path(HOME),
    profile: Profile = PROFILE,
    as_json: Json = False,
) -> None:
    """The gate, then the registry: the best finished, healthy trial becomes the champion."""
    from orchestrator import show
    from orchestrator import sweep as story

    if force and not (reason and reason.strip()):
        raise UserError("--force needs --reason TEXT: it is recorded beside the model")
    model = model or name
    if rollback:
        promoted = story.rollback(name, model, alias, _home(home, profile))
    else:
        promoted = story.promote(name, model, alias, trial, reason if force else None, _home(home, profile))
    _print_json(promoted) if as_json else show.promoted(promoted)


@app.command()
def sample(
    model: Annotated[str, typer.Argument(help="models:/NAME@ALIAS, or a checkpoint folder.", show_default=False)],
    number: Annotated[
        int | None, typer.Option("-n", "--number", min=1, help="How many; 64, or 8 for --classes and films.")
    ] = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", help=".png: a grid; .npy: the array; .gif, .webp, .mp4: a film.")
    ] = Path("samples.png"),
    seed: Annotated[int, typer.Option(help="Of the first sample; the next ones count up.")] = 0,
    seeds: Annotated[str | None, typer.Option(help="These instead, as 3,7,9.", show_default=False)] = None,
    label: Annotated[
        str | None, typer.Option(help="Class of a conditional generator, by name or number.", show_default=False)
    ] = None,
    classes: Annotated[bool, typer.Option("--classes", help="A row for every class.")] = False,
    interpolate: Annotated[bool, typer.Option("--interpolate", help="A film from sample to sample.")] = False,
    truncation: Annotated[
        float | None, typer.Option(help="Cut latents off at this value: typical, less varied.", show_default=False)
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="The plain generator of a checkpoint, not the averaged one.")
    ] = False,
    code_sha256: Annotated[
        list[str] | None,
        typer.Option(help="Of code of its own that a checkpoint may run here. Can stand several times."),
    ] = None,
    home: HomeDir = Path(HOME),
    profile: Profile = PROFILE,
) -> None:
    """Draw samples from a promoted generator or a checkpoint."""
    from orchestrator import sweep as story
    from orchestrator.sampling import Wish

    if number is None:
        number = 8 if classes or interpolate else 64
    chosen = _seeds(seeds) if seeds else range(seed, seed + number)
    wish = Wish(chosen, label, raw, truncation, classes, interpolate, code_sha256 or ())
    shape = story.sample(model, wish, output, _home(home, profile))
    what = "a film through" if interpolate else "every class at" if classes else ""
    print(" ".join(filter(None, [f"{output}:", what, f"{len(chosen)} samples of shape {'x'.join(map(str, shape))}"])))


def _seeds(text: str) -> list[int]:
    try:
        return [int(word) for word in text.split(",")]
    except ValueError:
        raise UserError(f"--seeds {text}: whole numbers with commas between, as 3,7,9") from None


@app.command()
def report(
    name: Name,
    output: Annotated[Path, typer.Option("-o", "--output", help="The page.")] = Path("report.html"),
    home: HomeDir = Path(HOME),
    profile: Profile = PROFILE,
    as_json: Json = False,
) -> None:
    """What a sweep found, what it cost and what failed, as one page that opens offline; --json: as numbers."""
    from orchestrator import report as reporting
    from orchestrator import show
    from orchestrator import status as standing
    from orchestrator.artifacts import store_of

    at = _home(home, profile)
    ledger, paths = standing.ledger_of(name, at)
    if as_json:
        _print_json(reporting.numbers(ledger, standing.state(ledger, paths)))
        return
    page, document = reporting.report(ledger, standing.state(ledger, paths), store_of(ledger.sweep, at))
    _write(output, page)
    show.reported(document, output)


@app.command()
def samples(
    name: Name,
    output: Annotated[Path, typer.Option("-o", "--output", help="The page.")] = Path("samples.html"),
    by: Annotated[By, typer.Option(help="In which order.")] = "score",
    home: HomeDir = Path(HOME),
    profile: Profile = PROFILE,
) -> None:
    """The sample grids of all trials side by side, on one page that opens offline."""
    from orchestrator import report as reporting
    from orchestrator import status as standing
    from orchestrator.artifacts import store_of

    at = _home(home, profile)
    ledger, _ = standing.ledger_of(name, at)
    page, shown = reporting.samples(ledger, by, store_of(ledger.sweep, at))
    _write(output, page)
    print(f"{output}: sample grids of {shown:,} of {len(ledger.trials()):,} trials; open it in a browser")


@data.command("import")
def import_(
    folder: Annotated[
        Path,
        typer.Argument(help="Image files; where all lie in sub-folders, these are the classes.", show_default=False),
    ],
    target: Annotated[str, typer.Argument(help="An empty folder, or s3://bucket/prefix.", show_default=False)],
    max_broken: Annotated[float, typer.Option(min=0, max=1, help="Share of images that may be unreadable.")] = 0.01,
    as_json: Json = False,
) -> None:
    """Pack a folder of images into Parquet shards, to be trained on from anywhere."""
    from orchestrator import show
    from trainers.data.pack import pack

    packed = pack(folder, target, max_broken)
    _print_json(packed._asdict()) if as_json else show.packed(packed, target)


@app.command()
def ui(
    port: Annotated[int, typer.Option(help="0 takes a free one.")] = 5000,
    home: HomeDir = Path(HOME),
    profile: Profile = PROFILE,
) -> None:
    """The MLflow UI on runs and models; a home's own until Ctrl-C."""
    from orchestrator import sweep as story

    story.serve_ui(_home(home, profile), port, lambda line: print(line, flush=True))


@app.command()
def doctor(
    file: Annotated[Path | None, typer.Argument(help="Also check what this sweep needs.", show_default=False)] = None,
    address: Annotated[
        str | None, typer.Option(help="Also ask each node of this Ray cluster: HOST:PORT or auto.", show_default=False)
    ] = None,
    home: HomeDir = Path(HOME),
    profile: Profile = PROFILE,
    as_json: Json = False,
) -> None:
    """Check Ray, MLflow, ledger, storage, GPU and disk; say what to mend."""
    from orchestrator import doctor as doctor_
    from orchestrator import show, spec

    at = _home(home, profile)
    sweep = spec.load(file, resources=at.profile.default_resources) if file else None
    findings = doctor_.examine(at, sweep, address)
    _print_json([finding.__dict__ for finding in findings]) if as_json else show.findings(findings)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


def main() -> NoReturn:
    """The console script: errors become one message and an exit status."""
    try:
        sys.exit(app(standalone_mode=False) or 0)
    except GansweepError as error:
        _fail(str(error), error.exit_status, error)
    except Exception as error:
        _unforeseen(error)


def _unforeseen(error: Exception) -> NoReturn:
    """Errors of the libraries below: typer's usage errors, the trainers' own, a full disk, what nobody thought of."""
    from trainers.errors import TrainerError
    from trainers.reading.document import SettingsError

    if hasattr(error, "format_message"):  # click's usage errors
        error.show()  # type: ignore[attr-defined]
        sys.exit(2)
    if isinstance(error, SettingsError):
        _fail(str(error), 2, error)
    if isinstance(error, TrainerError):
        _fail(str(error), 1 if type(error) is TrainerError else 2, error)
    if isinstance(error, OSError) and error.errno in (28, 122):
        where = f" while writing {error.filename}" if error.filename else ""
        _fail(f"no space left{where}; free some, then resume: what was recorded is kept", 1, error)
    _fail(
        f"{type(error).__name__}: {error}\nthis is a bug of gansweep, or of a library below it; --debug shows where",
        1,
        error,
    )


def _fail(message: str, exit_status: int, error: BaseException) -> NoReturn:
    if os.environ.get("GANSWEEP_DEBUG"):
        traceback.print_exception(error)
    print(f"gansweep: {message}", file=sys.stderr)
    sys.exit(exit_status)


def _run(work: Callable[[Home, Any], Any], name: str, at: Home, as_json: bool) -> None:
    """Run or go on with a sweep under a display that fits where the output goes; end with its table."""
    from orchestrator import live, show
    from orchestrator import status as standing
    from orchestrator.sweep import grid_of

    with live.progress(quiet=as_json) as progress:
        outcome = work(at, progress)
    ledger, paths = standing.ledger_of(name, at)
    document = standing.describe(ledger, paths)
    if as_json:
        _print_json(document)
    else:
        show.ending(document, ledger.notes, ledger.sweep.objective.direction, outcome, grid_of(ledger, at))
    if outcome.state == "interrupted":
        raise typer.Exit(130)
    if outcome.state == "finished" and (why := standing.fruitless(document)):
        raise WorkError(f"sweep '{name}' is over and no trial finished:{why}")


def _way(
    address: str | None, detach: bool, env: list[str] | None, driver_cpus: float | None, driver_memory: float | None
) -> Way | None:
    """How a driver goes to the cluster whose dashboard is at ``address``; None where it runs here. Raises UserError
    where an option of Ray jobs stands beside a sweep that is none.
    """
    if address is not None and address.startswith(("http://", "https://")):
        from orchestrator.remote import Way

        return Way(address, env or (), driver_cpus, driver_memory, detach)
    given = {"detach": detach, "env": env, "driver_cpus": driver_cpus, "driver_memory": driver_memory}
    if names := [name for name, value in given.items() if value]:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in names)
        raise UserError(
            f"{options} needs --address http://…, a Ray cluster's dashboard: this sweep's driver runs here, and ends "
            "with its terminal"
        )
    return None


def _ask(name: str, words: list[str], address: str) -> None:
    from orchestrator import remote

    _say(remote.ask(name, words, address))


def _say(text: str) -> None:
    print(text, flush=True)


def _write(output: Path, text: str) -> None:
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"-o {output} can't be written: {error.strerror}") from None


def _home(root: Path, profile: str) -> Home:
    from orchestrator.paths import Home

    given = root != Path(HOME) or profile == PROFILE
    return Home.open(root if given else None, profile)


def _print_json(document: Any) -> None:
    print(json.dumps(document, indent=2))
