"""What every test can ask for, and what every test must leave behind as it was."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import boto3
import pytest
import torch

from infra.s3.server import Server
from tests import postgres as postgresql

# Libraries leave these to themselves when they are first imported or started.
LIBRARIES_OWN = (
    "PYTEST_",
    "TORCHINDUCTOR_",
    "KMP_",
    "_MLFLOW_",
    "RAY_CLIENT_MODE",
    "RAY_USAGE_STATS",
    "PYTHONBREAKPOINT",
)


def pytest_configure() -> None:
    # A time limit ends the tests with SIGTERM; the servers that they started must end too, in the fixtures' own way.
    signal.signal(signal.SIGTERM, lambda *_: pytest.exit("terminated"))


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """The last bits of a distance depend on the number of threads, and what is computed of real data is kept for every
    training of a process: with more, a curve would depend on which test came first.
    """
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _environment_is_left_alone() -> Iterator[None]:
    """A variable that one test leaves behind changes what the next one means."""
    before = _environment()
    yield
    after = _environment()
    if changed := {name for name in before | after if before.get(name) != after.get(name)}:
        for name in changed:
            os.environ.pop(name, None)
        os.environ.update({name: before[name] for name in changed & before.keys()})
        pytest.fail(f"the test left the environment changed: {', '.join(sorted(changed))} (use monkeypatch)")


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(LIBRARIES_OWN)}


@dataclass(frozen=True)
class S3:
    """A bucket of its own for one test, on a server shared by all of them; the environment leads clients there."""

    url: str
    endpoint: str
    bucket: str
    server: Server


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The real S3 server. Where it is installed and does not start, that is a failure and no reason to skip."""
    if missing := Server.missing():
        pytest.skip(f"no S3 server here: {', '.join(missing)} not found (Debian packages radosgw ceph-mon ceph-osd)")
    server = Server(tmp_path_factory.mktemp("s3"))
    server.start()
    yield server
    server.remove()


@pytest.fixture
def s3(s3_server: Server, monkeypatch: pytest.MonkeyPatch) -> S3:
    for name, value in s3_server.env().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # it would remember the credentials that it saw first
    s3_server.start()  # the test before may have killed it
    bucket = f"test-{uuid.uuid4().hex[:12]}"
    boto3.Session().client("s3").create_bucket(Bucket=bucket)
    return S3(f"s3://{bucket}", s3_server.env()["AWS_ENDPOINT_URL"], bucket, s3_server)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgresql.Server]:
    """A real PostgreSQL server, shared by all tests that ask for one."""
    if why := postgresql.missing():
        pytest.skip(why)
    server = postgresql.Server()
    yield server
    server.remove()


@pytest.fixture
def postgres(postgres_server: postgresql.Server) -> str:
    """The URL of an empty PostgreSQL database, of this test alone."""
    return postgres_server.create(f"test_{uuid.uuid4().hex[:12]}")
