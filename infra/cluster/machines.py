"""Machines made of namespaces: own address, process ids, host name, home, /tmp and /dev/shm, on one Linux machine.

They are joined by a switch in a namespace of its own, so that nothing of the host's network is touched and nothing
outside can be reached. Needs root and iproute2. The kernel knows which processes are a machine's; no process id is
kept anywhere.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
NETWORK = "10.77.0.0/24"
HOME = "/mnt/home"
NOBODY = "02:00:00:00:00:00"
"""An address that no machine's network card has."""

# Runs as process 1. Bash reaps whatever is left to it, and with its death the kernel ends all others.
INIT = """
set -e
mkdir -p "$1"/home "$1"/tmp "$1"/data
shift_tmp() { mkdir -p "$1/tmp$2"; mount --bind "/tmp$2" "$1/tmp$2"; }
for path in "${@:3}"; do shift_tmp "$1" "$path"; done
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
chmod 1777 "$1"/tmp
mount --bind "$1" /mnt
mount --rbind "$1"/tmp /tmp
hostname "$2"
ip link set lo up
touch /mnt/up
while :; do sleep infinity; done
"""


def missing() -> str | None:
    """Why no machines can be made here, or None."""
    if os.geteuid() != 0:
        return "machines of namespaces need root"
    programs = [name for name in ("ip", "unshare", "nsenter", "hostname") if shutil.which(name) is None]
    if programs:
        return f"not installed: {', '.join(programs)} (Debian packages iproute2, util-linux, hostname)"
    probe = ["unshare", "--net", "--pid", "--mount", "--uts", "--ipc", "--fork", "--mount-proc", "true"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        return "namespaces can't be made here, though this is root (a container without SYS_ADMIN?)"
    return None


class Switch:
    """What the machines are plugged into. ``name`` begins the names of all that is made."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.namespace = f"{name}-switch"

    def start(self) -> None:
        _ip("netns", "add", self.namespace)
        _ip("-n", self.namespace, "link", "add", "bridge", "type", "bridge")
        _ip("-n", self.namespace, "link", "set", "bridge", "up")

    def plug(self, namespace: str, port: str, address: str) -> None:
        _ip("-n", self.namespace, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", namespace)
        _ip("-n", self.namespace, "link", "set", port, "master", "bridge", "up")
        _ip("-n", namespace, "address", "add", f"{address}/24", "dev", "eth0")
        _ip("-n", namespace, "link", "set", "eth0", "up")

    def unplug(self, port: str) -> None:
        _ip("-n", self.namespace, "link", "delete", port)

    def set(self, port: str, state: str) -> None:
        _ip("-n", self.namespace, "link", "set", port, state)

    def remove(self) -> None:
        _ip("netns", "delete", self.namespace)


class Machine:
    """One machine; ``folder`` (its disk) outlives it. ``environment``, which all share, is what its commands find."""

    def __init__(self, switch: Switch, name: str, address: str, folder: Path, environment: dict[str, str]) -> None:
        self.name, self.address, self.folder = name, address, folder
        self.environment = environment
        self._switch = switch
        self._spawned: list[subprocess.Popen[bytes]] = []
        self._namespace = f"{switch.name}-{name}"

    def start(self) -> None:
        """Switch it on: its disk as it was left, nothing running."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "up").unlink(missing_ok=True)
        _ip("netns", "add", self._namespace)
        self._switch.plug(self._namespace, self.name, self.address)
        unshare = ["unshare", "--pid", "--mount", "--uts", "--ipc", "--fork", "--mount-proc"]
        arguments = [str(self.folder), self.name, *_needed_from_tmp()]
        with (self.folder / "init.log").open("wb") as log:
            init = subprocess.Popen(
                ["ip", "netns", "exec", self._namespace, *unshare, "bash", "-c", INIT, "init", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        while not (self.folder / "up").exists():
            if init.poll() is not None:
                raise RuntimeError(f"machine {self.name} did not start: {(self.folder / 'init.log').read_text()}")
            time.sleep(0.02)

    def command(self, *command: str) -> list[str]:
        """What to run on the host to run ``command`` on this machine, in its home."""
        variables = {
            "HOME": HOME,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(REPOSITORY),
            **self.environment,
        }
        enter = ["nsenter", "--target", str(self._init()), "--net", "--pid", "--mount", "--uts", "--ipc"]
        return [*enter, "env", "-i", "-C", HOME, *(f"{name}={value}" for name, value in variables.items()), *command]

    def run(self, *command: str, input: str | None = None, timeout: float = 300) -> str:
        """Run to the end; returns standard output. Raises CalledProcessError, with what was said in its notes."""
        done = subprocess.run(
            self.command(*command), input=input, capture_output=True, text=True, timeout=timeout, check=False
        )
        if done.returncode:
            error = subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
            error.add_note(f"on {self.name}: {shlex.join(command)}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
            raise error
        return done.stdout

    def spawn(self, *command: str, log: str) -> subprocess.Popen[bytes]:
        """Start in the background; output goes to the file ``log`` in the machine's folder."""
        with (self.folder / log).open("ab") as output:
            spawned = subprocess.Popen(
                self.command(*command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._spawned.append(spawned)
        return spawned

    def is_on(self) -> bool:
        return self._namespace in _ip("netns", "list").split()

    def processes(self) -> list[int]:
        """Process ids, as the host counts them, of all that runs inside."""
        return [pid for pid in self._pids() if len(_pids_inside(pid)) > 1 and _pids_inside(pid)[-1] != 1]

    def kill(self) -> None:
        """As a power cut: the network is silent first, so that no connection is closed in good order."""
        if not self.is_on():
            return
        self._switch.unplug(self.name)
        for pid in self._pids():
            if _pids_inside(pid)[-1:] == [1]:
                os.kill(pid, signal.SIGKILL)
        self._wake_what_entered()
        deadline = time.monotonic() + 20
        while self._pids() and time.monotonic() < deadline:
            time.sleep(0.02)
        _ip("netns", "delete", self._namespace)

    def cut(self) -> None:
        """Pull the plug of its network; ``join`` puts it back."""
        self._switch.set(self.name, "down")

    def join(self) -> None:
        self._switch.set(self.name, "up")

    def lose_sight_of(self, other: Machine) -> None:
        """Whatever it sends to that one alone gets lost on the way."""
        _ip("-n", self._namespace, "neighbour", "replace", other.address, "lladdr", NOBODY, "dev", "eth0")

    def sleep(self, processes: list[int] | None = None) -> None:
        """As a laptop that is shut: nothing of it runs, or none of these, and no connection is closed. ``wake`` opens
        it again.
        """
        _send(self.processes() if processes is None else processes, signal.SIGSTOP)

    def wake(self) -> None:
        _send(self.processes(), signal.SIGCONT)
        self._wake_what_entered()

    def _wake_what_entered(self) -> None:
        """``nsenter``, outside, stops itself when what it started inside is stopped, and then misses its end."""
        for spawned in self._spawned:
            if spawned.poll() is None:
                spawned.send_signal(signal.SIGCONT)

    def _init(self) -> int:
        for pid in self._pids():
            if _pids_inside(pid)[-1:] == [1]:
                return pid
        raise RuntimeError(f"machine {self.name} is off")

    def _pids(self) -> list[int]:
        return [int(pid) for pid in _ip("netns", "pids", self._namespace).split()]


def _send(processes: list[int], number: signal.Signals) -> None:
    for pid in processes:
        with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
            os.kill(pid, number)


def hurry(pid: int, niceness: int) -> None:
    """Give all processes of a session this niceness against other sessions, where the kernel schedules by sessions."""
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(str(niceness))


def command_line(pid: int) -> list[bytes]:
    """The words of a process; nothing where it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


def _pids_inside(pid: int) -> list[int]:
    """The ids of a process from the host's namespace inwards; nothing where it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return []
    line = next(line for line in status.splitlines() if line.startswith("NSpid:"))
    return [int(word) for word in line.split()[1:]]


def _needed_from_tmp() -> Iterable[str]:
    """What lies under /tmp of the host and must stay visible below the machine's own /tmp, less that prefix."""
    places = {REPOSITORY.resolve(), Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve()}
    return [str(place).removeprefix("/tmp") for place in sorted(places) if place.is_relative_to("/tmp")]


def _ip(*arguments: str) -> str:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout
