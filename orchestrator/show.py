"""What a user sees: tables on a terminal, plain lines in a pipe."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import yaml
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from orchestrator.commands import command
from orchestrator.estimate import Estimate, estimate, parameters, stages
from orchestrator.search.effort import Confirming, confirming
from orchestrator.secrets import without_secrets
from orchestrator.spec import Sweep, counted
from orchestrator.status import rows

if TYPE_CHECKING:
    from orchestrator.conductor import Progress
    from orchestrator.doctor import Finding
    from orchestrator.search.ledger import Ledger
    from orchestrator.search.trial import Leg, Trial
    from orchestrator.sweep import Outcome
    from trainers.data.pack import Packed

console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
REFRESH = 1.0
"""Seconds between two pictures of a running sweep."""

_COLOURS = {
    "finished": "green",
    "running": "cyan",
    "waiting": "yellow",
    "pruned": "dim",
    "stuck": "red",
    "collapsed": "red",
    "diverged": "red",
    "crashed": "bold red",
}


def status(document: dict[str, Any], notes: Sequence[str]) -> None:
    console.print(_table(document))
    for line in (*notes, *_remarks(document)):
        console.print(line, markup=False)


def watch(read: Callable[[], dict[str, Any]]) -> None:
    """Redraw until the sweep no longer runs."""
    document = read()
    with Live(_table(document), console=console, auto_refresh=False) as live:
        while document["state"] == "running":
            time.sleep(REFRESH)
            document = read()
            live.update(_table(document), refresh=True)


def sweeps(documents: Sequence[dict[str, Any]]) -> None:
    if not documents:
        console.print(f"no sweeps yet; start one with: {command('submit', 'FILE')}", soft_wrap=True)
        return
    table = Table("sweep", "state", "trials", "finished", "best", box=None, pad_edge=False)
    for d in documents:
        best = f"{d['best']['score']:.4g} (trial {d['best']['id']})" if d["best"] else "-"
        finished = sum(t["state"] == "finished" for t in d["trials"])
        table.add_row(d["name"], d["state"], str(len(d["trials"])), str(finished), best)
    console.print(table)
    for d in documents:
        if "error" in d:
            console.print(f"\n{d['error']}", markup=False)


def plan_document(sweep: Sweep) -> dict[str, Any]:
    resolved = json.loads(without_secrets(json.dumps(sweep.model_dump(mode="json", by_alias=True))))
    document = {"sweep": resolved, "estimate": estimate(sweep).__dict__}
    costs = [{"name": name, **stage._asdict()} for name, stage in stages(sweep)]
    return {**document, "stages": costs, "parameters": parameters(sweep)}


def plan(sweep: Sweep) -> None:
    """What a sweep searches, for what, and how much training it asks for."""
    guess, objective = estimate(sweep), sweep.objective
    bounds = "".join(f", {metric} {bound}" for metric, bound in objective.require.items())
    console.print(f"[bold]{sweep.name}[/bold]  {objective.direction} {objective.metric}{bounds}", soft_wrap=True)
    for name, dimension in yaml.safe_load(sweep.to_yaml())["search"].get("space", {}).items():
        told = {key: value for key, value in dimension.items() if value}
        line = yaml.safe_dump(told, default_flow_style=True, sort_keys=False, width=10_000)
        console.print(f"  {name}: {line.strip()}", markup=False, soft_wrap=True)
    console.print(f"\n[bold]estimate[/bold]  {_plan_words(sweep, guess)}\n", soft_wrap=True)
    console.print(_costs(sweep, guess.images))


def resolved(sweep: Sweep) -> None:
    """Every setting, and how large both networks are."""
    console.print(f"\n{without_secrets(sweep.to_yaml())}", end="", markup=False, soft_wrap=True)
    if counts := parameters(sweep):
        words = ", ".join(f"{player} {count:,}" for player, count in counts.items())
        console.print(f"\n[bold]parameters[/bold]  {words}")


def ending(document: dict[str, Any], notes: Sequence[str], outcome: Outcome, grid: str | None) -> None:
    """How a run of a sweep ended, and what to do next."""
    status(document, notes)
    name, state = document["name"], document["state"]
    if grid:
        console.print(f"sample grid of the best trial: {grid}", soft_wrap=True, markup=False)
    if outcome.unsent:
        console.print(
            f"some records wait for MLflow ({outcome.unsent}); send them with: {command('resume', name)}",
            soft_wrap=True,
            markup=False,
        )
    if state != "finished":
        console.print(f"{state}; go on with: {command('resume', name)}", soft_wrap=True, markup=False)
        return
    more = 2 * len(document["trials"])
    console.print("next:")
    if document["best"]:
        console.print(f"  {command('promote', name)}   registers the best generator", soft_wrap=True, markup=False)
    console.print(f"  {command('ui')}   shows the runs in MLflow", soft_wrap=True, markup=False)
    console.print(f"  {command('resume', name, '--trials', more)}   searches further", soft_wrap=True, markup=False)


def promoted(document: dict[str, Any]) -> None:
    evidence = document["evidence"]
    word = "is now" if document["new"] else "is already"
    console.print(f"{document['model']} version {document['version']} {word} '{document['alias']}'", style="bold green")
    if document.get("restored_run"):
        console.print("its run had been deleted in MLflow and is restored")
    table = Table.grid(padding=(0, 2))
    for key in sorted(evidence):
        table.add_row(key.removeprefix("gansweep."), evidence[key])
    console.print(table)
    console.print("next:")
    console.print(f"  {command('sample', document['uri'], '-n', 64, '-o', 'grid.png')}", soft_wrap=True, markup=False)
    console.print(f"  {command('ui')}", soft_wrap=True, markup=False)
    tracking = f"MLFLOW_TRACKING_URI={shlex.quote(document['tracking_uri'])}"
    console.print(
        f"  python: mlflow.pyfunc.load_model({document['uri']!r})   ({tracking})",
        soft_wrap=True,
        markup=False,
    )


def packed(result: Packed, target: str) -> None:
    """What ``data import`` wrote and passed over, and the setting that trains on it."""
    skipped = f", {result.broken} unreadable skipped" if result.broken else ""
    console.print(f"{result.images:,} images in {len(result.shards)} shards{skipped}", style="bold green")
    for note in result.notes:
        console.print(note, markup=False, highlight=False, soft_wrap=True)
    if result.classes:
        classes = ", ".join(f"{number} {name}" for number, name in enumerate(result.classes))
        console.print(f"classes: {classes}", markup=False, highlight=False, soft_wrap=True)
    setting = {"data": {"name": "parquet", "path": target, "resolution": 64, "channels": 3}}
    line = yaml.safe_dump(setting, default_flow_style=True, sort_keys=False, width=10_000, allow_unicode=True)
    console.print(f"train on them: {line.strip()[1:-1]}", markup=False, soft_wrap=True)


def findings(found: Sequence[Finding]) -> None:
    for finding in found:
        mark = "[green]ok  [/green]" if finding.ok else "[red]mend[/red]"
        console.print(f"{mark} {finding.what}: {finding.detail}", soft_wrap=True)


# -- a sweep as it runs ----------------------------------------------------------------------------------------------


@contextmanager
def progress(quiet: bool) -> Iterator[Progress]:
    """A live table on a terminal, plain lines in a pipe, nothing for ``--json``."""
    if quiet:
        yield Quiet()
    elif console.is_terminal:
        with Live(console=console, auto_refresh=False) as live:
            yield Moving(live)
    else:
        yield Lines()


class Quiet:
    """Says nothing."""

    def note(self, text: str) -> None: ...

    def searching(self, ledger: Ledger, slots: int) -> None: ...

    def reported(self, leg: Leg, report: dict[str, Any]) -> None: ...

    def ended(self, leg: Leg, trial: Trial | None) -> None: ...


class Lines(Quiet):
    """One line per event."""

    def __init__(self) -> None:
        self._pace: _Pace | None = None
        self._shown: tuple[str, ...] = ()

    def note(self, text: str) -> None:
        print(text, flush=True)

    def searching(self, ledger: Ledger, slots: int) -> None:
        self._pace, self._shown = _Pace(ledger), ledger.sweep.evaluate.metrics
        print(f"{slots} trial{'s' if slots > 1 else ''} at once", flush=True)

    def reported(self, leg: Leg, report: dict[str, Any]) -> None:
        left = self._pace.left(leg, report) if self._pace else ""
        metrics = "  ".join(f"{name} {value:.4g}" for name, value in report["metrics"].items() if name in self._shown)
        speed = f"{report['images_per_second']:,.0f} images/s"
        verdict = report["health"]["verdict"]
        print(f"{_name(leg)}  {report['images']:,} images  {verdict}  {metrics}  {speed}{left}", flush=True)

    def ended(self, leg: Leg, trial: Trial | None) -> None:
        if trial is None:
            print(f"{_name(leg)}  done", flush=True)
            return
        state = "cut short, goes on from its last checkpoint" if trial.state == "running" else trial.state
        score = f"  score {trial.score:.4g}" if trial.score is not None else ""
        error = f"  {trial.error}" if trial.error and trial.state in ("running", "crashed") else ""
        print(f"trial {trial.id}  {state}{score}{error}", flush=True)


class Moving(Lines):
    """The table of all trials, redrawn at every event."""

    def __init__(self, live: Live) -> None:
        super().__init__()
        self._live, self._note = live, "starting"
        self._ledger: Ledger | None = None

    def note(self, text: str) -> None:
        self._note = text
        self._draw("")

    def searching(self, ledger: Ledger, slots: int) -> None:
        self._pace, self._ledger = _Pace(ledger), ledger
        self._draw("starting Ray's workers")

    def reported(self, leg: Leg, report: dict[str, Any]) -> None:
        self._draw(self._pace.left(leg, report) if self._pace else "")

    def ended(self, leg: Leg, trial: Trial | None) -> None:
        self._draw("")

    def _draw(self, left: str) -> None:
        parts: list[RenderableType] = [Text(f"{self._note}{left}", style="dim")]
        if self._ledger is not None:
            ledger = self._ledger
            document = {"name": ledger.sweep.name, "state": "running", "trials": rows(ledger)}
            parts.insert(0, _table(document))
        self._live.update(Group(*parts), refresh=True)


class _Pace:
    """Images still to train against the speed since the first report: what comes before it is starting up."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger, guess = ledger, estimate(ledger.sweep)
        self._confirm = guess.confirmations * ledger.sweep.train.images
        self._search = guess.images - self._confirm
        self._first: tuple[float, int] | None = None
        self._confirming: dict[tuple[int, int | None], int] = {}

    def left(self, leg: Leg, report: dict[str, Any]) -> str:
        if leg.confirm_seed is not None:
            self._confirming[leg.trial, leg.confirm_seed] = report["images"]
        searched, confirmed = sum(t.images for t in self._ledger.trials()), sum(self._confirming.values())
        left = max(0, self._search - searched) + max(0, self._confirm - confirmed)
        now, done = time.monotonic(), searched + confirmed
        if self._first is None:
            self._first = (now, done)
            return ""
        speed = (done - self._first[1]) / (now - self._first[0])
        return f"  about {_duration(left / max(speed, 1e-9))} left"


# -- pieces ----------------------------------------------------------------------------------------------------------


def _table(document: dict[str, Any]) -> Table:
    trials = document["trials"]
    varied = sorted({name for trial in trials for name in trial["params"]})
    title = f"{document['name']}: {document['state']}, {len(trials)} trials"
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for column in ("trial", "state", "rung", "images", "score", "verdict", "images/s"):
        table.add_column(column, justify="left" if column in ("state", "verdict") else "right")
    for name in varied:
        table.add_column(name.split(".")[-1], justify="right")
    best = document.get("best") or {}
    order = sorted(trials, key=lambda t: (t["state"] == "crashed", t["id"]))
    for trial in order:
        mark = "*" if trial["id"] == best.get("id") else ""
        score = "-" if trial["score"] is None else f"{trial['score']:.4g}"
        speed = "-" if trial["images_per_second"] is None else f"{trial['images_per_second']:,.0f}"
        params = [_value(trial["params"].get(name)) for name in varied]
        state = Text(trial["state"], style=_COLOURS[trial["state"]])
        row = (
            f"{mark}{trial['id']}",
            state,
            str(trial["rung"]),
            f"{trial['images']:,}",
            score,
            trial["verdict"],
            speed,
        )
        table.add_row(*row, *params)
    return table


def _remarks(document: dict[str, Any]) -> Iterator[str]:
    best = document["best"]
    for confirmed in document["confirmed"]:
        scores = ", ".join("-" if s is None else f"{s:.4g}" for s in confirmed["scores"])
        median = "-" if confirmed["median"] is None else f"{confirmed['median']:.4g}"
        yield f"trial {confirmed['trial']} on fresh seeds: {scores} (median {median})"
    if best:
        yield f"best: trial {best['id']}, score {best['score']:.4g} (marked *)"
    elif any(t["state"] == "finished" for t in document["trials"]):
        broken = sorted({name for t in document["trials"] if t["state"] == "finished" for name in t["violations"]})
        yield f"no finished trial keeps every constraint; violated: {', '.join(broken) or 'none was measured'}"
    for trial in document["trials"]:
        if trial["state"] == "crashed":
            yield f"trial {trial['id']} crashed: {trial['error']}"
        elif trial["verdict"] != "healthy" and trial["reasons"]:
            yield f"trial {trial['id']} {trial['verdict']}: {'; '.join(trial['reasons'])}"


def _plan_words(sweep: Sweep, guess: Estimate) -> str:
    resources = sweep.resources
    per_trial = f"{resources.workers_per_trial} x {resources.cpus_per_worker:g} CPU"
    per_trial += f" + {resources.gpus_per_worker:g} GPU" if resources.gpus_per_worker else ""
    rungs = " -> ".join(f"{images:,}" for images in sweep.rung_images())
    return (
        f"{guess.trials} trials, rungs at {rungs} images, {_confirm_words(confirming(sweep))}: "
        f"about {guess.images:,} images in {guess.legs} legs ({guess.share_of_full:.0%} of training every trial to the "
        f"end); {per_trial} a trial"
    )


def _costs(sweep: Sweep, images: int) -> Table:
    """What each rung costs."""
    table = Table("", "trainings", "up to images", "images in all", "share", box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for name, stage in stages(sweep):
        table.add_row(
            name, str(stage.trainings), f"{stage.level:,}", f"{stage.images:,}", f"{stage.images / images:.0%}"
        )
    return table


def _confirm_words(confirm: Confirming) -> str:
    if not confirm.top:
        return "no confirmation on fresh seeds"
    best = "best trial" if confirm.top == 1 else f"best {confirm.top} trials"
    return f"the {best} confirmed on {counted(confirm.seeds, 'fresh seed')}{' each' if confirm.top > 1 else ''}"


def _name(leg: Leg) -> str:
    return f"trial {leg.trial}" if leg.confirm_seed is None else f"trial {leg.trial} on seed {leg.confirm_seed}"


def _value(value: Any) -> str:
    return "" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"
