"""What a user sees: tables on a terminal, plain lines in a pipe."""

from __future__ import annotations

import json
import math
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

import yaml
from rich.table import Table
from rich.text import Text

from orchestrator.commands import command
from orchestrator.search.trial import BAD
from orchestrator.spec import counted
from orchestrator.status import best_words, front_words
from orchestrator.terminal.trials import confirmed_words, console, table
from trainers.families import FAMILIES

if TYPE_CHECKING:
    from orchestrator.doctor import Finding
    from orchestrator.generators.augmenting import Augmented
    from orchestrator.planning.explained import Setting
    from orchestrator.sweep import Outcome
    from trainers.data.pack import Packed
    from trainers.report import Report


def as_json(document: Any) -> None:
    """One JSON document and nothing else."""
    print(json.dumps(document, indent=2))


def report(said: Report) -> None:
    """Of one training."""
    metrics = "  ".join(f"{name} {value:.4g}" for name, value in said.metrics.items())
    line = f"{said.images:>10,} images  {said.seconds:7.1f} s  {said.health.verdict}  {metrics}"
    print(line + "".join(f"\n{'':10} {reason}" for reason in said.health.reasons), flush=True)


def report_line(said: Report) -> None:
    """The same as a line of JSON."""
    from trainers.report import line

    print(line(said.as_dict()), flush=True)


ROWS = 40
"""Trials that ``status`` shows."""


def status(document: dict[str, Any], notes: Sequence[str], direction: str) -> None:
    document = _shortened(document, direction)
    trials = sorted(document["trials"], key=lambda t: (t["state"] == "crashed", t["id"]))
    drawn, hidden = table(document["title"], trials, _marked(document), console)
    console.print(drawn)
    if hidden:
        as_json = command("status", document["name"], "--json")
        console.print(f"{counted(hidden, 'more setting')} in: {as_json}", style="dim", markup=False, soft_wrap=True)
    for line in (*notes, *_remarks(document)):
        console.print(line, markup=False)


def _shortened(document: dict[str, Any], direction: str) -> dict[str, Any]:
    """With a title, and of more than ``ROWS`` trials the ones that run and the best: their number stands in the
    title, and drawing a thousand rows takes seconds.
    """
    trials = document["trials"]
    title = f"{document['name']}: {document['state']}, {counted(len(trials), 'trial')}"
    if len(trials) <= ROWS:
        return {**document, "title": title}
    counts = ", ".join(f"{number} {state}" for state, number in Counter(t["state"] for t in trials).most_common())
    sign = 1 if direction == "minimize" else -1
    marked = _marked(document)

    def rank(trial: dict[str, Any]) -> tuple[Any, ...]:
        score = math.inf if trial["score"] is None else sign * trial["score"]
        worse = bool(trial["violations"]) or trial["state"] in BAD
        return (trial["id"] not in marked, trial["state"] != "running", worse, score)

    return {
        **document,
        "title": f"{title} ({counts}); {ROWS} of them, the others with --json",
        "trials": sorted(trials, key=rank)[:ROWS],
    }


def sweeps(documents: Sequence[dict[str, Any]]) -> None:
    if not documents:
        console.print(f"no sweeps yet; start one with: {command('submit', 'FILE')}", soft_wrap=True)
        return
    table = Table("sweep", "state", "trials", "finished", "best", box=None, pad_edge=False)
    for d in documents:
        best = f"{best_words(d['best'])} (trial {d['best']['id']})" if d["best"] else "-"
        best = f"{counted(len(d['front']), 'trial')} on its front" if d["front"] else best
        finished = sum(t["state"] == "finished" for t in d["trials"])
        table.add_row(d["name"], d["state"], str(len(d["trials"])), str(finished), best)
    console.print(table)
    for d in documents:
        if "error" in d:
            console.print(f"\n{d['error']}", markup=False)


def ending(document: dict[str, Any], notes: Sequence[str], direction: str, outcome: Outcome, grid: str | None) -> None:
    """How a run of a sweep ended, and what to do next."""
    status(document, notes, direction)
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
    more = 2 * sum(not trial["origin"] for trial in document["trials"])
    console.print("next:")
    if document["front"]:
        first = command("promote", name, "--trial", document["front"][0]["id"])
        console.print(f"  {first}   registers one of the Pareto front", soft_wrap=True, markup=False)
    elif document["best"]:
        lacks = document["best"]["confirmed"] is None and document["confirmed"]  # others failed on fresh seeds
        does = "says what the best trial lacks" if lacks else "registers the best generator"
        console.print(f"  {command('promote', name)}   {does}", soft_wrap=True, markup=False)
    else:
        console.print(f"  {command('promote', name)}   says why no trial can be", soft_wrap=True, markup=False)
    console.print(f"  {command('report', name)}   writes what was found as a page", soft_wrap=True, markup=False)
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
    family = FAMILIES[evidence["gansweep.family"]]
    words = ["sample", document["uri"], "-n", 64, "-o", "samples.txt" if family.writes else "grid.png"]
    if family.translates:
        words = ["translate", document["uri"], "PICTURES", "-o", "translated"]
    console.print(f"  {command(*words)}", soft_wrap=True, markup=False)
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


def augmented(done: Augmented, target: str) -> None:
    """What ``augment`` wrote and what it is worth."""
    rows = f"{done.real:,} real and {done.generated:,} generated" if done.real else f"{done.generated:,} generated"
    held_out = f", {done.held_out:,} held out" if done.held_out else ""
    console.print(f"{target}: {rows} pictures{held_out}", style="bold green", markup=False, soft_wrap=True)
    if done.gain is None:
        return
    table = Table("taught with", "right of held-out", box=None)
    for mix, accuracies in done.gain.accuracies.items():
        table.add_row(
            mix, f"{100 * mean(accuracies):.1f} % ({100 * min(accuracies):.1f} to {100 * max(accuracies):.1f})"
        )
    console.print(table)
    console.print(
        f"{done.gain.interval.told}; the class that gains least: {100 * done.gain.worst_class:+.1f}", soft_wrap=True
    )


def reported(document: dict[str, Any], output: Path) -> None:
    """Where the report lies, and what it says first."""
    best = document["best"]
    found = f"best {document['objective']['metric']} {best_words(best)} (trial {best['id']})" if best else "no best yet"
    found = f"{counted(len(document['front']), 'trial')} on the Pareto front" if document["front"] else found
    words = f"{output}: {counted(len(document['trials']), 'trial')}, {found}; open it in a browser"
    console.print(words, soft_wrap=True, markup=False)


def settings(found: Sequence[Setting]) -> None:
    """A line for each, and what it may be below where there is room for no more."""
    for setting in found:
        name = Text(setting.name, style="bold")
        console.print(name.append(f"  {setting.values}; default {setting.default}", style="not bold"), soft_wrap=True)
        if setting.meaning:
            console.print(f"    {setting.meaning}", markup=False, soft_wrap=True)


def findings(found: Sequence[Finding]) -> None:
    """A line each; nodes that are well share a table."""
    if rows := [finding.columns for finding in found if finding.columns]:
        nodes = Table(*rows[0])
        for row in rows:
            nodes.add_row(*row.values())
        console.print(nodes)
    for finding in found:
        if finding.ok and finding.columns:
            continue
        mark = "[green]ok  [/green]" if finding.ok else "[red]mend[/red]"
        console.print(mark, end=" ")
        console.print(f"{finding.what}: {finding.detail}", markup=False, soft_wrap=True)


# -- pieces ----------------------------------------------------------------------------------------------------------


def _marked(document: Mapping[str, Any]) -> set[int]:
    """The best trial, or those of the Pareto front."""
    return {one["id"] for one in (document["best"], *document["front"]) if one}


def _remarks(document: dict[str, Any]) -> Iterator[str]:
    best, front = document["best"], document["front"]
    yield from confirmed_words(document["confirmed"])
    if front:
        yield f"Pareto front (marked *), {counted(len(front), 'trial')}:"
        yield from (f"  {line}" for line in front_words(front))
    elif best:
        yield f"best: trial {best['id']}, score {best_words(best)} (marked *)"
    elif any(t["state"] == "finished" for t in document["trials"]):
        broken = sorted({name for t in document["trials"] if t["state"] == "finished" for name in t["violations"]})
        if broken:
            yield f"no finished trial keeps every constraint; violated: {', '.join(broken)}"
        else:
            yield "no finished trial is good enough to be promoted"
    for trial in document["trials"]:
        if trial["state"] == "crashed":
            yield f"trial {trial['id']} crashed: {trial['error']}"
        elif trial["verdict"] == "unjudged" and trial["state"] != "finished":
            continue  # it was seen too early to say anything
        elif trial["verdict"] != "healthy" and trial["reasons"]:
            yield f"trial {trial['id']} {trial['verdict']}: {'; '.join(trial['reasons'])}"
