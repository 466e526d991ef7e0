"""A sweep as one page that opens anywhere, and as numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.commands import command
from orchestrator.errors import UserError
from orchestrator.report.grids import films
from orchestrator.report.numbers import numbers
from orchestrator.report.page import page
from orchestrator.report.wall import wall
from orchestrator.secrets import without_secrets
from trainers.files.sealed import own_version

if TYPE_CHECKING:
    from orchestrator.artifacts import Store
    from orchestrator.search.known import Known

__all__ = ["numbers", "report", "samples"]


def report(ledger: Known, state: str, store: Store) -> tuple[str, dict[str, Any]]:
    """The page of a sweep, and its numbers. What the store has no sample grids of is shown without. Raises UserError
    where no trial was started.
    """
    _require_trials(ledger)
    document = numbers(ledger, state)
    reports = {trial.id: trial.reports for trial in ledger.trials()}
    sweep_file = without_secrets(ledger.sweep.to_yaml())
    return page(document, films(document, ledger.key, reports, store), sweep_file, own_version()), document


def samples(ledger: Known, by: str, store: Store) -> tuple[str, int]:
    """The page of all trials' last sample grids, in the order of ``score`` or ``verdict``, and how many it has. Raises
    UserError where no trial was started.
    """
    _require_trials(ledger)
    return wall(ledger, by, store)


def _require_trials(ledger: Known) -> None:
    if not ledger.trials():
        raise UserError(
            f"sweep '{ledger.sweep.name}' has no trial yet, so there is nothing to show; go on with: "
            + command("resume", ledger.sweep.name)
        )
