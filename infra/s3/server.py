"""A real S3 server on loopback, in one folder: Ceph's monitor, one disk (OSD) and its S3 gateway.

    python infra/s3/server.py DIR start     create if need be, start, print what to export
    python infra/s3/server.py DIR kill      SIGKILL, as a power cut would; start again and the data is there
    python infra/s3/server.py DIR stop | env | remove

Debian packages: radosgw ceph-mon ceph-osd. No service manager, no container, and nothing runs once it is stopped.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import os
import random
import secrets
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

# In the order in which they start; they stop in the reverse one, so that none outlives what it writes to.
DAEMONS = {"ceph-mon": ["--id", "a"], "ceph-osd": ["--id", "0"], "radosgw": ["--name", "client.rgw.a"]}

# What a client of a server that is not Amazon's must say: this gateway refuses the checksum trailers which AWS SDKs
# send by default since 2025.
CLIENT = {
    "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
    "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
}

TEMPLATE = Path(__file__).with_name("ceph.conf.template")

KEYRING = """\
[mon.]
key = {mon_key}
caps mon = "allow *"
[client.admin]
key = {admin_key}
caps mon = "allow *"
caps osd = "allow *"
[client.rgw.a]
key = {gateway_key}
caps mon = "allow rw"
caps osd = "allow rwx"
[osd.0]
key = {osd_key}
caps mon = "allow profile osd"
caps osd = "allow *"
"""


class ServerError(RuntimeError):
    """The server does not run; the message says why, or where to look."""


class Server:
    """The server in ``folder``. It keeps its ports: free ones, or S3_PORT (on S3_HOST) and S3_MON_PORT."""

    def __init__(self, folder: Path | str, size: int = 4 << 30) -> None:
        self.folder = Path(folder).resolve()
        self.size = size  # of the disk, a sparse file
        self._config = self.folder / "ceph.conf"
        self._environment = self.folder / "environment"  # written last: a server without it was never finished

    @staticmethod
    def missing() -> list[str]:
        """The programs that are not installed here."""
        return [name for name in (*DAEMONS, "ceph", "radosgw-admin") if shutil.which(name) is None]

    def env(self) -> dict[str, str]:
        """What a client exports; it needs to be told nothing else."""
        if not self._environment.exists():
            raise ServerError(f"no server in {self.folder}: start it first")
        return dict(line.split("=", 1) for line in self._environment.read_text().splitlines())

    def start(self) -> None:
        """Create what is not there, start what does not run, return when requests are answered."""
        if missing := self.missing():
            raise ServerError(f"not installed: {', '.join(missing)} (Debian packages: radosgw ceph-mon ceph-osd)")
        try:
            if self._environment.exists():
                self._boot("ceph-mon", "ceph-osd")
                self._open_gateway(self.env()["AWS_ENDPOINT_URL"])
            else:
                self._create()
        except BaseException:
            self.kill()
            raise

    def stop(self, patience: float = 15) -> None:
        """End each daemon in good order, before the one that it depends on."""
        for name in reversed(DAEMONS):
            self._end(signal.SIGTERM, name, patience=patience)
        self.kill()

    def kill(self, *names: str) -> None:
        """End the named daemons (all, if none is named) as a power cut would."""
        self._end(signal.SIGKILL, *names)

    def remove(self) -> None:
        """End it and delete its folder."""
        self.kill()
        if self._config.exists():  # never a folder of somebody else
            shutil.rmtree(self.folder)

    def running(self, *names: str) -> list[int]:
        """Process ids of the named daemons (of all, if none is named).

        They are known by our file on their command line: unlike a stored number, that can't point at a stranger.
        """
        found = []
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                program, *arguments = entry.read_text().split("\0")
            except (OSError, UnicodeDecodeError):  # gone meanwhile, or nothing of ours
                continue
            if Path(program).name in (names or DAEMONS) and str(self._config) in arguments:
                found.append(int(entry.parent.name))
        return found

    def _create(self) -> None:
        if self.folder.exists() and any(self.folder.iterdir()):
            raise ServerError(f"{self.folder} is not empty and holds no finished server: remove it first")
        for name in ("mon", "osd", "rgw", "log"):
            (self.folder / name).mkdir(parents=True)
        self.folder.chmod(0o700)  # there are keys inside, also in the log of commands
        port, mon_port = (int(os.environ.get(name) or _free_port()) for name in ("S3_PORT", "S3_MON_PORT"))
        host = os.environ.get("S3_HOST", "127.0.0.1")
        names = {"folder": self.folder, "fsid": uuid.uuid4(), "mon_port": mon_port, "size": self.size}
        self._config.write_text(TEMPLATE.read_text().format(**names, gateway=f"{host}:{port}"))
        keyring = self.folder / "keyring"
        keyring.write_text(KEYRING.format(mon_key=_key(), admin_key=_key(), gateway_key=_key(), osd_key=_key()))
        disk = str(uuid.uuid4())
        self._run("ceph-mon", "--id", "a", "--mkfs", "--keyring", str(keyring))
        self._boot("ceph-mon")
        self._run("ceph", "osd", "new", disk)
        self._run("ceph-osd", "--id", "0", "--mkfs", "--osd-uuid", disk)
        self._boot("ceph-osd")
        endpoint = f"http://{host}:{port}"
        self._open_gateway(endpoint)
        access, secret = secrets.token_hex(10), secrets.token_hex(20)
        user = ["--uid", "gansweep", "--display-name", "gansweep", "--access-key", access, "--secret-key", secret]
        self._run("radosgw-admin", "user", "create", *user)
        keys = {"AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": access, "AWS_SECRET_ACCESS_KEY": secret}
        self._environment.write_text("".join(f"{name}={value}\n" for name, value in (keys | CLIENT).items()))

    def _boot(self, *names: str) -> None:
        for name in names:
            if not self.running(name):
                self._run(name, *DAEMONS[name])

    def _open_gateway(self, endpoint: str) -> None:
        # The gateway would notice a taken port only after it has gone to the background, and a stranger would answer.
        if not self.running("radosgw") and not _free(port := urlsplit(endpoint).port or 80):
            raise ServerError(f"port {port} is taken by another program")
        self._boot("radosgw")

        def settled() -> bool:
            return _answers(endpoint) or len(self.running()) < len(DAEMONS)

        if not _wait(settled, 90) or not _answers(endpoint):
            raise ServerError(f"the gateway does not answer on {endpoint}; see {self.folder / 'log'}")

    def _run(self, program: str, *arguments: str) -> None:
        """Run to its end; a daemon's end is the moment when it has gone to the background in good health."""
        command = [program, "--conf", str(self._config), *arguments]
        with (self.folder / "log" / "commands.log").open("a+") as log:
            print("$", *command, file=log, flush=True)
            try:
                # Output goes to a file: a pipe would stay open for as long as the daemon lives.
                subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=True, timeout=60)
            except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
                raise ServerError(f"{error}; see {log.name}") from None

    def _end(self, number: signal.Signals, *names: str, patience: float = 10) -> None:
        """Signal, then wait until the processes are gone: a dying one still holds the lock on its disk."""
        with contextlib.ExitStack() as stack:
            waiting = set()
            for pid in self.running(*names):
                with contextlib.suppress(ProcessLookupError):
                    waiting.add(process := os.pidfd_open(pid))
                    stack.callback(os.close, process)
                    signal.pidfd_send_signal(process, number)
            deadline = time.monotonic() + patience
            while waiting and (left := deadline - time.monotonic()) > 0:
                waiting.difference_update(select.select(waiting, [], [], left)[0])


def _wait(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not (met := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return met


def _answers(endpoint: str) -> bool:
    try:
        with urllib.request.urlopen(endpoint, timeout=2):
            return True
    except urllib.error.HTTPError as refusal:  # a refusal is an answer
        refusal.close()
        return True
    except OSError:
        return False


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a connection that only lingers does not count
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _free_port() -> int:
    """A free port below those that the system lends to outgoing connections: it is still free at the next start."""
    return next(port for port in random.sample(range(20_000, 32_000), 100) if _free(port))


def _key() -> str:
    """A secret in Ceph's form: type 1 (AES), time of creation, length, bytes."""
    return base64.b64encode(struct.pack("<HIIH", 1, int(time.time()), 0, 16) + secrets.token_bytes(16)).decode()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="DIR", type=Path)
    parser.add_argument("action", choices=["start", "stop", "kill", "env", "remove"])
    arguments = parser.parse_args()
    server = Server(arguments.folder)
    try:
        if arguments.action != "env":
            getattr(server, arguments.action)()
        if arguments.action in ("start", "env"):
            for name, value in server.env().items():
                print(f"export {name}={value}")
    except ServerError as error:
        sys.exit(f"s3 server: {error}")


if __name__ == "__main__":
    main()
