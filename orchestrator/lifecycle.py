"""A sweep that goes on, changed or not, and one that begins with what another knows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import yaml
from pydantic import ValidationError

from orchestrator.commands import command
from orchestrator.conductor import Progress
from orchestrator.errors import UserError
from orchestrator.paths import Home
from orchestrator.profiles import is_dashboard
from orchestrator.search.kept import kept
from orchestrator.search.points import Points
from orchestrator.search.trial_requests import TrialRequests
from orchestrator.spec import Sweep, load
from orchestrator.status import find, ledger_of, state, sweeps
from orchestrator.sweep import Outcome, submit
from trainers.reading.document import value_of
from trainers.settings import did_you_mean


def resume(
    name: str, home: Home, progress: Progress, changes: Sequence[str] = (), address: str | None = None
) -> Outcome:
    """Go on after any crash; ``changes`` (a.b=value) are of the space, or of settings that leave trials comparable."""
    sweep, _ = find(name, home)
    if changes:
        sweep = load(yaml.safe_load(sweep.to_yaml()), changes)
    if sweep.name != name:
        raise UserError(
            f"a sweep keeps its name; begin another with what it knows: {command('fork', name, sweep.name)}"
        )
    return submit(sweep, home, progress, address, new_space=bool(changes))


def fork(
    name: str, new: str, home: Home, progress: Progress, changes: Sequence[str] = (), address: str | None = None
) -> Outcome:
    """A new sweep with the settings of another but for ``changes``, which begins with what that one knows."""
    theirs, _ = find(name, home)
    if new in sweeps(home):
        raise UserError(f"there is a sweep '{new}' already; go on with it: {command('resume', new)}")
    if is_dashboard(address):
        raise UserError(
            f"fork sends no job to {address}: give --address HOST:PORT, auto or local; or submit a file as a job, with "
            f"--warm-start {name}"
        )
    sweep = load(yaml.safe_load(theirs.to_yaml()), [*changes, f"name={new}"])
    return submit(sweep, home, progress, address, warm_start=name)


def add_trial(name: str, given: Sequence[str], home: Home) -> str:
    """Settings (a.b=value) that the next free slot tries, the sampler's for the rest; returns when. Raises UserError
    with all that is wrong with them.
    """
    ledger, paths = ledger_of(name, home)
    params: dict[str, Any] = {}
    wrong = list(_taken(given, params, ledger.sweep))
    if not wrong and Points(ledger.sweep, (trial.params for trial in ledger.trials())).has(params):
        wrong = ["a trial of the sweep has just these settings"]
    if wrong:
        raise UserError("; ".join(wrong))
    TrialRequests(ledger.sweep, paths.ledger).add({"add": kept(params)})
    running = state(ledger, paths) == "running"
    return "a free slot tries it next" if running else f"it is tried when the sweep goes on: {command('resume', name)}"


def _taken(given: Sequence[str], params: dict[str, Any], sweep: Sweep) -> Iterator[str]:
    """Put settings into ``params``; yields what is wrong with them."""
    space = sweep.search.space
    for setting in given:
        key, equals, value = setting.partition("=")
        if not equals or key not in space:
            yield f"{setting!r}: give settings of search.space as KEY=VALUE{did_you_mean(key, space)}"
            continue
        try:
            found = value_of(value)
        except yaml.YAMLError:
            yield f"{key}: {value!r} is not valid YAML"
            continue
        params[key] = tuple(found) if isinstance(found, list) else found
        if not space[key].holds(params[key]):
            yield f"{key}: {found!r} lies outside search.space.{key}"
    for key in params:
        for parent, values in space[key].when.items() if key in space else ():
            if parent not in params or params[parent] not in values:
                known = " or ".join(map(str, values))
                yield f"{key} exists only where {parent} is {known}: give {parent} as well, with such a value"
    try:
        sweep.trial_config(params)
    except ValidationError as error:
        yield error.errors()[0]["msg"]


def stop_trial(name: str, number: int, home: Home) -> str:
    """End one trial, which counts as pruned; returns when. Raises UserError where there is none, or it has ended."""
    ledger, paths = ledger_of(name, home)
    trials = ledger.trials()
    if number not in range(len(trials)):
        raise UserError(f"sweep '{name}' has no trial {number}; it has {len(trials)}, from 0 on")
    if trials[number].ended:
        raise UserError(f"trial {number} of sweep '{name}' has ended already: {trials[number].state}")
    TrialRequests(ledger.sweep, paths.ledger).add({"stop": number})
    running = state(ledger, paths) == "running"
    return (
        "it ends after its current report" if running else f"it ends when the sweep goes on: {command('resume', name)}"
    )
