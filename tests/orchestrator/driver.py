"""A driver without slots: it holds the lease, writes the ledger and fills the spool as the real one does, and plays
what a slot would report.

    python -m tests.orchestrator.driver HOME EXPIRY PAUSE

drives the sweep ``small`` of profile ``lab``, with PAUSE seconds between two reports.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from orchestrator import sweep as story
from orchestrator.artifacts import store_of
from orchestrator.conductor import Conductor
from orchestrator.errors import GansweepError
from orchestrator.paths import Home
from orchestrator.search import database
from orchestrator.terminal.live import Quiet
from orchestrator.tracking.spool import Spool
from tests.orchestrator.small import report, sweep


def drive(home: Home, pause: float) -> None:
    asked = sweep(search={"trials": 6}, confirm={"top": 1, "seeds": 1})
    with story._driven(asked, home, Quiet()) as (ledger, lease, paths):
        store = store_of(ledger.sweep, home)
        conductor = Conductor(ledger, Spool(paths.spool), store, lease, Quiet())
        with story._interruptible(conductor, lease, Quiet()):
            conductor.open()
            print("driving", flush=True)
            while isinstance(leg := conductor.next_leg(), tuple):
                _, order = leg
                start = int(order.checkpoints[-1].rsplit("/", 1)[1]) if order.checkpoints else 0
                for images in range(start + 10, order.until + 1, 10):
                    time.sleep(pause)
                    keys = (*order.checkpoints, f"{order.prefix}/checkpoints/{images}")[-2:]
                    conductor.heard(order, report(images, fid=1000 / images, stored=keys) | {"timestamp": time.time()})
                    print(f"{order.prefix} {images}", flush=True)
                conductor.ended(order)
        conductor.close()
        if conductor.failure:
            raise conductor.failure


if __name__ == "__main__":
    vars(database).update(EXPIRY=float(sys.argv[2]), BEAT=float(sys.argv[2]) / 4)
    try:
        drive(Home.open(Path(sys.argv[1]), "lab"), float(sys.argv[3]))
    except GansweepError as error:
        print(f"gansweep: {error}", file=sys.stderr)
        os._exit(error.exit_status)
