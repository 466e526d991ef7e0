"""The MLflow UI, and which page of it shows which sweep."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

from orchestrator.errors import GansweepError, UserError
from orchestrator.paths import Home
from orchestrator.status import ledger_of, sweeps
from orchestrator.tracking.server import embedded
from orchestrator.tracking.target import check, runs_page
from trainers.settings import SettingsError


def serve(home: Home, port: int, announce: Callable[[str], None]) -> None:
    """The MLflow UI, until Ctrl-C where it is the home's; ``announce`` is told the page of each sweep's runs."""
    shared = home.profile.tracking
    if shared.startswith("http"):
        check(shared)
        _announce_pages(home, shared, announce)
        return
    if shared != "auto":
        raise UserError(
            "this profile tracks in a database, which has no pages: start a server on it (mlflow server "
            "--backend-store-uri …), and name that as the profile's tracking"
        )
    announce("starting the MLflow UI; Ctrl-C ends it")
    with embedded(home, port or None) as server:
        server.wait()
        _announce_pages(home, server.url, announce)
        ended = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: ended.set())
        ended.wait()


def _announce_pages(home: Home, server: str, announce: Callable[[str], None]) -> None:
    announce(server)
    for name in sweeps(home):
        try:
            ledger, _ = ledger_of(name, home)
        except (GansweepError, SettingsError) as error:
            announce(str(error))
            continue
        shown = ledger.sweep.tracking.uri == "auto"
        if shown and (page := runs_page(server, name, ledger.id)):
            announce(f"{name}: {page}")
