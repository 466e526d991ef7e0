"""A sweep in a notebook: a table and a grid, and both again while it runs."""

from __future__ import annotations

import base64
import html as escaping
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator import status as standing
from orchestrator.client.reports import LOOK, headline
from orchestrator.errors import GansweepError
from orchestrator.paths import samples_key, trial_key
from orchestrator.search.known import Known

if TYPE_CHECKING:
    from orchestrator.artifacts import Store
    from orchestrator.client.handle import Handle

ROWS = 20
"""Trials that are shown."""
SHOWN = ("state", "rung", "images", "score", "verdict")


def here() -> bool:
    """Whether this is a notebook, which can show HTML; IPython on a terminal can't."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and hasattr(shell, "kernel")


def watch(sweep: Handle) -> None:
    """Show it, and again every second, in the same place, until it no longer runs."""
    from IPython.display import display

    shown = display(sweep, display_id=True)  # type: ignore[no-untyped-call]
    while sweep.state == "running":
        time.sleep(LOOK)
        shown.update(sweep)


def html(sweep: Handle) -> str:
    """Its trials, best first, and the sample grid of the best."""
    try:
        ledger, paths = sweep.ledger()
    except GansweepError as error:
        return f"<p>{escaping.escape(str(error))}</p>"
    title = f"<b>{escaping.escape(sweep.name)}</b>: {headline(ledger, standing.state(ledger, paths))}"
    return f"<p>{title}</p>{_table(ledger)}{_grid(ledger, sweep.store)}"


def _table(ledger: Known) -> str:
    from orchestrator.client.frame import frame

    trials = frame(standing.rows(ledger))
    upwards = ledger.sweep.objective.direction == "minimize"
    best = trials.sort_values("score", ascending=upwards, na_position="last", kind="stable")[:ROWS]
    names = [name for name in best.columns if name in SHOWN or name.startswith("params.")]
    hidden = f"<p>{len(trials) - len(best):,} more in .trials</p>" if len(trials) > len(best) else ""
    table: str = best[names].to_html(float_format=lambda value: f"{value:.4g}", na_rep="")
    return table + hidden


def _grid(ledger: Known, store: Store) -> str:
    """Empty where there is no best yet, or its grid is lost."""
    best = ledger.best()
    if best is None:
        return ""
    with tempfile.TemporaryDirectory() as folder:
        try:
            file = store.get(samples_key(trial_key(ledger.key, best.id), best.images), Path(folder) / "grid.png")
        except GansweepError:
            return ""
        picture = base64.b64encode(file.read_bytes()).decode()
    return f'<img alt="samples of trial {best.id}" src="data:image/png;base64,{picture}">'
