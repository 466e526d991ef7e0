"""PostgreSQL, S3 and MLflow on one machine: what a sweep needs besides Ray."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from infra.cluster.machines import NETWORK, REPOSITORY, Machine
from infra.s3.server import Server

BUCKET = "gansweep"
S3_SERVER = str(REPOSITORY / "infra/s3/server.py")


def missing() -> str | None:
    """What is not installed here, or None."""
    if programs := Server.missing():
        return f"no S3 server: {', '.join(programs)} not found (Debian packages radosgw ceph-mon ceph-osd)"
    if not _postgres_versions():
        return "no PostgreSQL in /usr/lib/postgresql (Debian package postgresql)"
    return None


def start(machine: Machine, password: str) -> None:
    """Start all three, and put what their clients need into the environment of all machines. MLflow may still be
    starting afterwards.
    """
    database = _postgres(machine, password)
    lines = machine.run("env", f"S3_HOST={machine.address}", sys.executable, S3_SERVER, "/mnt/data/s3", "start")
    s3 = dict(line.removeprefix("export ").split("=", 1) for line in lines.splitlines())
    machine.environment.update(s3)
    machine.run(sys.executable, "-c", f"import boto3; boto3.client('s3').create_bucket(Bucket='{BUCKET}')")
    machine.spawn(
        *("env", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false", "MLFLOW_DISABLE_TELEMETRY=true"),
        *(sys.executable, "-m", "mlflow", "server", "--host", machine.address, "--port", "5000", "--workers", "1"),
        *("--backend-store-uri", f"{database}/mlflow", "--artifacts-destination", f"s3://{BUCKET}/mlflow"),
        log="mlflow.log",
    )
    machine.environment.update(
        MLFLOW_TRACKING_URI=f"http://{machine.address}:5000",
        LEDGER=f"{database}/ledger",
        ARTIFACTS=f"s3://{BUCKET}/artifacts",
    )


def wait_for(what: str, answers: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not answers():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: nothing for {seconds:.0f} s")
        time.sleep(0.25)


def open_port(machine: Machine, port: int) -> bool:
    """Whether something listens there, asked on the machine itself."""
    listening = machine.run("cat", "/proc/net/tcp", "/proc/net/tcp6")
    return any(
        line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A"
        for line in listening.splitlines()
        if "sl" not in line
    )


def _postgres(machine: Machine, password: str) -> str:
    """Returns the URL without a database's name."""
    programs, data = _postgres_versions()[-1], "/mnt/data/postgres"
    as_postgres = ("setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups")  # it refuses to run as root
    machine.run("install", "-d", "-o", "postgres", "-m", "700", data)
    machine.run("install", "-o", "postgres", "-m", "600", "/dev/stdin", "/mnt/data/password", input=password)
    initdb = (str(programs / "initdb"), "-D", data, "-U", "gansweep", "-A", "scram-sha-256")
    machine.run(*as_postgres, *initdb, "--pwfile=/mnt/data/password")
    machine.run("tee", "-a", f"{data}/pg_hba.conf", input=f"host all all {NETWORK} scram-sha-256\n")
    options = ("-D", data, "-h", machine.address, "-k", "/tmp", "-c", "max_connections=200")
    machine.spawn(*as_postgres, str(programs / "postgres"), *options, log="postgres.log")
    wait_for("PostgreSQL", lambda: open_port(machine, 5432))
    for name in ("ledger", "mlflow"):
        sign_in = ("env", f"PGPASSWORD={password}", str(programs / "createdb"), "-h", machine.address, "-U", "gansweep")
        machine.run(*sign_in, name)
    return f"postgresql://gansweep:{password}@{machine.address}:5432"


def _postgres_versions() -> list[Path]:
    found = Path("/usr/lib/postgresql").glob("*/bin")
    return sorted(found, key=lambda path: int(path.parent.name))
