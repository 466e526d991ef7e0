"""The commands that run sweeps: each parses, calls one function and prints."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from orchestrator.cli import options
from orchestrator.commands import HOME, PROFILE, command
from orchestrator.errors import StoppedAtOnceError, UserError, WorkError

if TYPE_CHECKING:
    from orchestrator.client.handle import Handle
    from orchestrator.sweep import Outcome


def plan(
    file: options.File,
    overrides: options.Set = None,
    resolved: Annotated[
        bool, typer.Option("--resolved", help="Also every setting, and the networks' sizes, which loads torch.")
    ] = False,
    home: options.HomeDir = Path(HOME),
    profile: options.Profile = PROFILE,
    as_json: options.Json = False,
) -> None:
    """Check a sweep file; say what it asks for. Runs nothing."""
    from orchestrator import api, spec
    from orchestrator.paths import Home
    from orchestrator.planning import earlier, estimate
    from orchestrator.profiles import load
    from orchestrator.terminal import planned, show

    sweep = api.read(file, overrides or (), load(profile), here=True)
    before = earlier.like(sweep, Home(home))
    show.as_json(estimate.document(sweep, before)) if as_json else planned.plan(sweep, before)
    for name, message in spec.warnings(sweep):
        print(f"warning: {name}: {message}", file=sys.stderr)
    if resolved and not as_json:
        planned.resolved(sweep)


def submit(
    file: options.File,
    overrides: options.Set = None,
    name: Annotated[str | None, typer.Option(help="Another name for the sweep.", show_default=False)] = None,
    trials: options.Trials = None,
    warm_start: options.WarmStart = None,
    address: options.Address = None,
    detach: options.Detach = False,
    env: options.Forward = None,
    driver_cpus: options.DriverCpus = None,
    driver_memory: options.DriverMemory = None,
    home: options.HomeDir = Path(HOME),
    profile: options.Profile = PROFILE,
    as_json: options.Json = False,
) -> None:
    """Run a sweep; submitted again, it goes on where it stands."""
    from orchestrator import api, spec
    from orchestrator.profiles import load

    known = load(profile)
    address = known.cluster(address)
    given = [*(overrides or ()), *spec.overrides(name=name, trials=trials)]
    sweep = api.read(file, given, known, here=address is None)
    if job := options.job_options(address, detach, env, driver_cpus, driver_memory):
        from orchestrator import remote

        remote.submit(sweep, warm_start, job, profile, options.say)
        return
    handle = options.sweep(sweep.name, home, profile)
    _run(lambda progress: handle.run(progress, sweep, address=address, warm_start=warm_start), handle, as_json)


def resume(
    name: options.Name,
    trials: options.Trials = None,
    changes: options.Changes = None,
    address: options.Address = None,
    detach: options.Detach = False,
    env: options.Forward = None,
    driver_cpus: options.DriverCpus = None,
    driver_memory: options.DriverMemory = None,
    home: options.HomeDir = Path(HOME),
    profile: options.Profile = PROFILE,
    as_json: options.Json = False,
) -> None:
    """Go on after any crash, add trials, or change the space or the budget."""
    from orchestrator import spec

    given = [*(changes or ()), *spec.overrides(trials=trials)]
    handle = options.sweep(name, home, profile)
    address = handle.home.profile.cluster(address)
    if job := options.job_options(address, detach, env, driver_cpus, driver_memory):
        from orchestrator import remote

        remote.resume(name, given, job, profile, options.say)
        return
    _run(lambda progress: handle.run(progress, changes=given, address=address), handle, as_json)


def fork(
    name: options.Name,
    new: Annotated[str, typer.Argument(help="The name of the new sweep.", show_default=False)],
    overrides: options.Set = None,
    address: options.Address = None,
    home: options.HomeDir = Path(HOME),
    profile: options.Profile = PROFILE,
    as_json: options.Json = False,
) -> None:
    """Run a new sweep with the settings of another, but for --set, which begins with what that one knows."""
    from orchestrator import lifecycle

    handle = options.sweep(new, home, profile)
    at, address = handle.home, handle.home.profile.cluster(address)
    _run(lambda progress: lifecycle.fork(name, new, at, progress, overrides or (), address), handle, as_json)


def trial(
    name: options.Name,
    do: Annotated[Literal["add", "stop"], typer.Argument(help="What to do.", show_default=False)],
    given: Annotated[list[str], typer.Argument(help="add: KEY=VALUE …; stop: a trial's number.", show_default=False)],
    home: options.HomeDir = Path(HOME),
    profile: options.Profile = PROFILE,
) -> None:
    """Have settings tried next (the sampler chooses those not given), or end one trial."""
    from orchestrator import lifecycle

    at = options.sweep(name, home, profile).home
    if do == "add":
        print(lifecycle.add_trial(name, given, at))
        return
    if len(given) != 1 or not given[0].isdigit():
        raise UserError(f"trial {name} stop: give the number of one trial")
    print(lifecycle.stop_trial(name, int(given[0]), at))


def stop(
    name: options.Name,
    address: options.Dashboard = None,
    home: options.HomeDir = Path(HOME),
    profile: options.Profile = PROFILE,
) -> None:
    """Ask a running sweep to finish its current reports and end; everything is kept."""
    if address:
        options.ask(name, ["stop", name], address, profile)
        return
    print(
        f"sweep '{name}' ends after its current reports; go on with: {command('resume', name)}"
        if options.sweep(name, home, profile).stop()
        else f"sweep '{name}' is not running"
    )


def sync(name: options.Name, home: options.HomeDir = Path(HOME), profile: options.Profile = PROFILE) -> None:
    """Send MLflow what the ledger knows and it does not: after a lost machine, or into a new MLflow."""
    from orchestrator.terminal import live

    with live.progress(quiet=False) as progress:
        unsent = options.sweep(name, home, profile).sync(progress)
    if unsent:
        raise WorkError(f"some records wait for MLflow ({unsent}); send them with: {command('sync', name)}")
    print(f"MLflow has all that the ledger of sweep '{name}' knows")


def delete(
    name: options.Name,
    checkpoints: Annotated[
        bool,
        typer.Option("--checkpoints", help="Only those of ended trials, but the best and confirmed."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    home: options.HomeDir = Path(HOME),
    profile: options.Profile = PROFILE,
) -> None:
    """Remove a sweep that nobody drives, or only checkpoints that nothing needs. MLflow keeps runs and models."""
    handle = options.sweep(name, home, profile)
    if checkpoints:
        print(f"sweep '{name}': {handle.delete_checkpoints()} checkpoints removed")
        return
    lost = f"checkpoints, grids, logs and the ledger of sweep '{name}', {len(handle.ledger()[0].trials())} trials"
    if not yes and not sys.stdin.isatty():
        raise UserError(f"this removes {lost}; say so with --yes")
    if not yes and not typer.confirm(f"Remove {lost}?"):
        raise typer.Exit(1)
    handle.delete()
    print(f"removed: {lost}")


def _run(work: Callable[[Any], Outcome], handle: Handle, as_json: bool) -> None:
    """Run or go on with a sweep under a display that fits where the output goes; end with its table."""
    from orchestrator import status as standing
    from orchestrator.terminal import live, show

    try:
        with live.progress(quiet=as_json) as progress:
            outcome = work(progress)
    except KeyboardInterrupt:
        again = command("resume", handle.name)
        raise StoppedAtOnceError(f"stopped at once; what was recorded is kept; go on with: {again}") from None
    ledger, paths = handle.ledger()
    document = standing.describe(ledger, paths)
    if as_json:
        show.as_json(document)
    else:
        show.ending(document, ledger.notes, ledger.sweep.objective.direction, outcome, handle.grid)
    if outcome.state == "interrupted":
        raise typer.Exit(130)
    standing.require_fruit(document)
