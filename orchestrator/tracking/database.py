"""The embedded server's process: ``mlflow`` with its words, on a database that is whole or not there.

    python -m orchestrator.tracking.database mlflow.db server --port 5000 …

MLflow makes its tables in place, in steps that it can't repeat: killed among them, it would never open the file again.
"""

from __future__ import annotations

import fcntl
import sys
from pathlib import Path

from mlflow.cli import cli

from orchestrator.paths import sqlite_url


def make(database: Path) -> None:
    """All tables beside, then the name; returns at once where it stands."""
    beside = database.with_suffix(".new")
    with beside.with_suffix(".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a server on another port of the same home may be at it
        if not database.exists():
            beside.unlink(missing_ok=True)
            cli(["db", "upgrade", sqlite_url(beside)], standalone_mode=False)
            beside.rename(database)


if __name__ == "__main__":
    make(Path(sys.argv.pop(1)))
    sys.exit(cli())
