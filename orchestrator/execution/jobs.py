"""A sweep as a Ray job: the driver runs on the cluster, so that it outlives the terminal that sent it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ray.job_submission import JobStatus, JobSubmissionClient

from orchestrator.errors import UserError, WorkError

POLL = 2.0
"""Seconds between two looks at a job."""


def submit_job(name: str, sweep_yaml: str, address: str, detach: bool, show: Callable[[str], None]) -> None:
    """Send a sweep to the dashboard at ``address``; unless ``detach``, show its output until it ends.

    Every node needs gansweep installed. The home is ``GANSWEEP_HOME`` on the head, or a folder in its user's home.
    Raises UserError where no dashboard answers, WorkError where the job fails.
    """
    try:
        client = JobSubmissionClient(address)
    except (ConnectionError, RuntimeError) as error:
        raise UserError(f"no Ray dashboard answers at {address}: {str(error).splitlines()[0]}") from None
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "sweep.yaml").write_text(sweep_yaml)
        command = 'gansweep submit sweep.yaml --address auto --home "${GANSWEEP_HOME:-$HOME/gansweep-home}"'
        job = client.submit_job(entrypoint=command, runtime_env={"working_dir": folder}, metadata={"sweep": name})
    show(f"job {job} on {address}")
    if not detach:
        _follow(client, job, show)


def _follow(client: JobSubmissionClient, job: str, show: Callable[[str], None]) -> None:
    shown = 0
    while True:
        status = client.get_job_status(job)
        output = client.get_job_logs(job)
        if len(output) > shown:
            show(output[shown:].rstrip("\n"))
            shown = len(output)
        if status.is_terminal():
            break
        time.sleep(POLL)
    if status != JobStatus.SUCCEEDED:
        raise WorkError(f"job {job} ended as {status.value}")
