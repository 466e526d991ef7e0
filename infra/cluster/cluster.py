"""A whole cluster on one Linux machine: services, a laptop, a Ray head without work, and nodes that come and go.

with Cluster(folder) as cluster:
    cluster["laptop"].run("gansweep", "doctor")
    cluster.kill("node1")
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import sys
from pathlib import Path
from types import TracebackType

from infra.cluster import services
from infra.cluster.machines import Machine, Switch, command_line, hurry
from infra.cluster.services import open_port, wait_for

# A raylet gives its agent 15 s for each port that it must find by itself, and dies.
PORTS = (
    "--metrics-export-port=8080",
    "--dashboard-agent-listen-port=52365",
    "--dashboard-agent-grpc-port=52366",
    "--runtime-env-agent-port=52367",
)

RAY = str(Path(sys.executable).with_name("ray"))

# A node that vanishes is found after 4 checks, one every 1.5 s, that each wait 3 s: 18 s at the most. By itself Ray
# takes 68 s.
DETECTION = {
    "RAY_health_check_period_ms": "1500",
    "RAY_health_check_timeout_ms": "3000",
    "RAY_health_check_failure_threshold": "4",
}


class Cluster:
    """The cluster in ``folder``; what is known of it stands in ``cluster.json`` there, for other processes."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder).resolve()
        self._file = self.folder / "cluster.json"
        if self._file.exists():
            known = json.loads(self._file.read_text())
        else:
            known = {"name": f"gs{secrets.token_hex(3)}", "addresses": {}, "environment": {}}
        self.environment: dict[str, str] = known["environment"]
        self._switch = Switch(known["name"])
        self._machines: dict[str, Machine] = {}
        for name, address in known["addresses"].items():
            self._known(name, address)

    def __getitem__(self, name: str) -> Machine:
        return self._machines[name]

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.down()

    @property
    def address(self) -> str:
        """Where Ray's head answers its nodes."""
        return f"{self['head'].address}:6379"

    @property
    def dashboard(self) -> str:
        return f"http://{self['head'].address}:8265"

    def up(self, nodes: int = 3) -> Cluster:
        """Start it: services, head, laptop, a node without CPUs to drive sweeps from, and ``nodes`` of one CPU."""
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self._switch.start()
            services.start(self.machine("services"), secrets.token_hex(16))
            token = secrets.token_hex(32)
            self.environment.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=token, RAY_USAGE_STATS_ENABLED="0")
            self.machine("laptop")
            self.start_head()
            for name in ("driver", *(f"node{number}" for number in range(1, nodes + 1))):
                self.add(name, cpus=0 if name == "driver" else 1)
            wait_for("MLflow", lambda: open_port(self["services"], 5000))
        except BaseException:
            self.down()
            raise
        return self

    def machine(self, name: str) -> Machine:
        """A new machine, with nothing on it, that knows where everything is."""
        made = self._known(name, f"10.77.0.{len(self._machines) + 2}")
        self._save()
        made.start()
        return made

    def start_head(self) -> None:
        """Ray's head, which works for no trial: on a new machine, or again where the old one has been killed."""
        head = self["head"] if "head" in self._machines else None
        if head is None:
            head = self.machine("head")
        else:
            shutil.rmtree(head.folder, ignore_errors=True)
            head.start()
        arguments = ("--head", "--port=6379", "--include-dashboard=false", "--num-cpus=0")
        self._start_ray(head, *arguments)
        head.spawn(sys.executable, "-c", DASHBOARD, self.address, head.address, log="dashboard.log")
        wait_for("the job server", lambda: open_port(head, 8265))

    def add(self, name: str, cpus: int = 1) -> Machine:
        """A node joins: a new machine, or one that was killed and comes back with an empty disk."""
        if name in self._machines:
            node = self[name]
            shutil.rmtree(node.folder, ignore_errors=True)
            node.start()
        else:
            node = self.machine(name)
        self.start_ray(name, cpus)
        return node

    def start_ray(self, name: str, cpus: int = 1) -> None:
        """Ray on a machine that is up; returns when it has joined."""
        self._start_ray(self[name], "--address", self.address, f"--num-cpus={cpus}")

    def kill(self, name: str) -> None:
        """A power cut: all of its processes at once, and not a word on the network."""
        self[name].kill()

    def drain(self, name: str, seconds: int = 60) -> None:
        """Tell Ray that this node will be taken away in ``seconds``; nothing is killed."""
        reason = ("--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "spot capacity is taken back")
        deadline = ("--deadline-remaining-seconds", str(seconds))
        arguments = ("--address", self.address, "--node-id", self.nodes()[self[name].address], *reason, *deadline)
        self["services"].run(RAY, "drain-node", *arguments)

    def terminate(self, name: str) -> None:
        """What Kubernetes and a spot instance's last minutes begin with: SIGTERM to Ray on that machine."""
        os.kill(self._ray_on(name)[0], signal.SIGTERM)

    def has_ray(self, name: str) -> bool:
        """Whether ``ray start --block`` still runs there."""
        return bool(self._ray_on(name))

    def nodes(self) -> dict[str, str]:
        """Address -> id of each node that Ray believes alive."""
        if not open_port(self["head"], 6379):
            return {}
        return dict(json.loads(self["services"].run(sys.executable, "-c", LIST_NODES, self.address)))

    def running(self) -> list[str]:
        """Names of the machines that are switched on."""
        return [name for name, machine in self._machines.items() if machine.is_on()]

    def down(self) -> None:
        """End everything that was started; the folders stay."""
        for machine in self._machines.values():
            machine.kill()
        self._switch.remove()
        self._file.unlink(missing_ok=True)

    def _ray_on(self, name: str) -> list[int]:
        return [pid for pid in self[name].processes() if RAY.encode() in command_line(pid)[:3]]

    def _known(self, name: str, address: str) -> Machine:
        folder = self.folder / "machines" / name
        self._machines[name] = Machine(self._switch, name, address, folder, self.environment)
        return self._machines[name]

    def _start_ray(self, machine: Machine, *arguments: str) -> None:
        """Returns when it has joined. While it starts, it goes before all else on a busy computer."""
        detection = (f"{name}={value}" for name, value in DETECTION.items())
        own = ("--node-ip-address", machine.address, *PORTS, "--object-store-memory=200000000", "--block")
        ray = machine.spawn("env", *detection, RAY, "start", *arguments, *own, log="ray.log")
        hurry(ray.pid, -10)
        wait_for(f"Ray on {machine.name}", lambda: ray.poll() is None and machine.address in self.nodes())
        hurry(ray.pid, 0)

    def _save(self) -> None:
        known = {
            "name": self._switch.name,
            "addresses": {name: machine.address for name, machine in self._machines.items()},
            "environment": self.environment,
        }
        self._file.touch(mode=0o600)  # there are keys inside
        self._file.write_text(json.dumps(known, indent=2))


# Asked of the head directly: a driver would take seconds to join, and leave a job behind.
LIST_NODES = """
import json, sys
from ray._raylet import GcsClient
nodes = GcsClient(address=sys.argv[1]).get_all_node_info(timeout=10).values()
print(json.dumps([(node.node_manager_address, node.node_id.hex()) for node in nodes if node.state == 0]))
"""

# Ray's own start of the dashboard brings ten processes at once, beside which, on two cores, its agent takes longer than
# the 15 s that the raylet gives it. These are the parts that jobs need, once the head stands.
DASHBOARD = """
import os, sys
from pathlib import Path
import ray
from ray._raylet import GcsClient
gcs, address = sys.argv[1:]
session = Path("/tmp/ray/session_latest").resolve()
program = Path(ray.__file__).parent / "dashboard/dashboard.py"
options = {
    "host": address, "port": 8265, "port-retries": 0, "node-ip-address": address, "gcs-address": gcs,
    "cluster-id-hex": GcsClient(address=gcs).cluster_id.hex(), "temp-dir": "/tmp/ray", "session-dir": session,
    "log-dir": session / "logs", "modules-to-load": "UsageStatsHead,JobHead,NodeHead,StateHead",
}
os.environ["DASHBOARD_METRIC_PORT"] = "44228"  # the head has one already, without any part of use
arguments = [f"--{name}={value}" for name, value in options.items()]
os.execv(sys.executable, [sys.executable, str(program), *arguments])
"""
