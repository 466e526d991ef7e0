"""Who takes a sweep over ends what the driver before left on the cluster.

Ray does that for a driver that dies. One that stands still (Ctrl-Z, a machine asleep) keeps its connections, and with
them the places of its ranks, for which its heir would wait as long as it sleeps.
"""

from __future__ import annotations

import ray

from orchestrator.execution import gcs


def succeed(sweep: str) -> None:
    """Called by the driver that has the lease of the sweep with this id."""
    key, mine = f"drivers/{sweep}", ray.get_runtime_context().get_job_id()
    before = gcs.read(key).get(key, b"").decode()
    if before not in ("", mine):
        gcs.end_job(before)
    gcs.put(key, mine.encode())
