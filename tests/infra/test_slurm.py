"""The Slurm script, run with stand-ins for Slurm, Ray and gansweep: what happens at the end of its time."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from infra.cluster.cluster import DETECTION

ROOT = Path(__file__).parents[2]
STAND_INS = {
    "scontrol": 'if [ "$1" = requeue ]; then echo "$*" >> log; else echo node1; fi',
    "srun": """
        if [ "$4" = hostname ]; then echo 10.0.0.1; exit; fi
        env > environment; echo trains >> log
        until [ -e asked ]; do sleep 0.05; done
        sleep 0.5; echo ended >> log; exit 3
    """,
    "gansweep": 'echo "$*" >> log; touch asked',
}

Job = Callable[[], subprocess.Popen[bytes]]


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Job]:
    """Begins one in ``tmp_path``, where its log is; what is left of it ends with the test."""
    for name, text in STAND_INS.items():
        stand_in(tmp_path, name, text)
    environment = {
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "SLURM_JOB_ID": "7",
        "SLURM_JOB_NODELIST": "node[1-2]",
        "SLURM_NNODES": "2",
    }
    begun: list[subprocess.Popen[bytes]] = []

    def begin() -> subprocess.Popen[bytes]:
        words = ["bash", str(ROOT / "infra/clouds/slurm.sh"), str(ROOT / "configs/digits.yaml")]
        begun.append(subprocess.Popen(words, cwd=tmp_path, env=environment, start_new_session=True))
        until(lambda: "trains" in log(tmp_path))
        return begun[-1]

    yield begin
    for one in begun:
        with suppress(ProcessLookupError):
            os.killpg(one.pid, signal.SIGKILL)
        one.wait()


def stand_in(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!/bin/bash\n{text}\n")
    (folder / name).chmod(0o755)


def log(folder: Path) -> list[str]:
    file = folder / "log"
    return file.read_text().splitlines() if file.exists() else []


def until(there: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not there():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_job_goes_back_into_the_queue_when_its_reports_are_finished(job: Job, tmp_path: Path) -> None:
    running = job()
    running.terminate()
    assert running.wait(30) == 0
    assert log(tmp_path) == ["trains", "stop digits", "ended", "requeue 7"]


def test_a_job_goes_back_into_the_queue_before_its_time_is_over(job: Job, tmp_path: Path) -> None:
    stand_in(tmp_path, "timeout", 'echo "at most $*" >> log; exit 124')
    running = job()
    running.terminate()
    assert running.wait(30) == 0
    told = log(tmp_path)
    assert [told[0], told[-1]] == ["trains", "requeue 7"]
    limits = [int(line.split()[2]) for line in told[1:-1]]
    notice = re.findall(r"--signal=B:TERM@(\d+)", (ROOT / "infra/clouds/slurm.sh").read_text())
    assert len(limits) == 2
    assert sum(limits) < int(notice[0])


def test_a_sweep_that_ends_by_itself_ends_its_job(job: Job, tmp_path: Path) -> None:
    running = job()
    (tmp_path / "asked").touch()
    assert running.wait(30) == 3
    assert log(tmp_path) == ["trains", "ended"]


def test_the_head_of_a_job_finds_a_lost_node_as_the_others_do(job: Job, tmp_path: Path) -> None:
    job()
    assert set((tmp_path / "environment").read_text().splitlines()) >= {f"{k}={v}" for k, v in DETECTION.items()}
