"""A sweep that goes on, changed or not, and one that begins with what another knows."""

from __future__ import annotations

from collections.abc import Sequence

import yaml

from orchestrator.commands import command
from orchestrator.conductor import Progress
from orchestrator.errors import UserError
from orchestrator.paths import Home
from orchestrator.spec import load
from orchestrator.status import find, sweeps
from orchestrator.sweep import Outcome, submit


def resume(
    name: str, home: Home, progress: Progress, changes: Sequence[str] = (), address: str | None = None
) -> Outcome:
    """Go on after any death; ``changes`` (a.b=value) may be of the space, and of what makes no trial another."""
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
    sweep = load(yaml.safe_load(theirs.to_yaml()), [*changes, f"name={new}"])
    return submit(sweep, home, progress, address, warm_start=name)
