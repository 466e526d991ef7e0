"""A driver in a process of its own, which outlives the one that starts it: what it prints stands in the sweep's
``driver.log``.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Sequence

from orchestrator.errors import GansweepError, UserError, WorkError
from orchestrator.paths import Home
from orchestrator.search.lease import lease_of, whoami
from orchestrator.spec import Sweep
from orchestrator.status import ledger_of

LOOK = 0.2
"""Seconds between two looks at whether it drives by now."""


class Driver:
    """``gansweep WORDS`` on ``sweep``, whose standard input is ``text``, with trials on the Ray cluster at ``address``
    (None: on this machine). It takes the lease itself, or is refused.
    """

    def __init__(self, sweep: Sweep, words: Sequence[str], text: str, home: Home, address: str | None) -> None:
        self._name, self._home, paths = sweep.name, home, home.sweep(sweep.name)
        paths.root.mkdir(parents=True, exist_ok=True)
        self._log = paths.log
        where = ["--home", str(home.root), "--profile", home.profile_name, "--address", address or "local"]
        with self._log.open("ab") as log:
            self._from = log.tell()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "orchestrator", *words, *where],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,  # else Ctrl-C in a notebook would end the sweep too
            )
        assert self._process.stdin is not None
        with self._process.stdin as pipe:
            pipe.write(text.encode())
        threading.Thread(target=self._process.wait, daemon=True).start()  # no zombie stays

    def begun(self) -> None:
        """Return once it holds the lease and the ledger stands, or it has nothing left to do. Raises what it ended
        with.
        """
        while self._process.poll() is None:
            if self._drives():
                return
            time.sleep(LOOK)
        self.check()

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def check(self) -> None:
        """Raise what it ended with, where it has ended by itself and not well."""
        status = self._process.poll()
        if status in (None, 0, 130):
            return
        message = self._said.rpartition("gansweep: ")[2].strip() or f"ended with status {status}"
        raise (UserError if status == 2 else WorkError)(f"{message} (its output: {self._log})")

    @property
    def _said(self) -> str:
        with self._log.open("rb") as log:
            log.seek(self._from)
            return log.read().decode(errors="replace")

    def _drives(self) -> bool:
        try:
            ledger, paths = ledger_of(self._name, self._home)
        except GansweepError:  # there is none yet
            return False
        holder = lease_of(ledger.sweep, paths).holder()
        return holder is not None and holder.who == whoami(self._process.pid) and ledger.state() == "running"
