"""A head without CPUs whose autoscaler brings nodes, and a sweep's legs on it, in a network and process namespace of
their own: Ray's provider of pretended machines wants port 6379, and its nodes must go with it.

    unshare --net --pid --fork --kill-child --mount-proc python -m tests.orchestrator.autoscaled FOLDER

prints how many places there were at each look, until two trainings have reported and the nodes have gone again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from orchestrator.execution.environment import HEALTH, QUIET
from tests.orchestrator import nodes

NODE_ID = f"{'f' * 51}00000"
CONFIG = {
    "cluster_name": "pretended",
    "max_workers": 2,
    "upscaling_speed": 10.0,
    "idle_timeout_minutes": 0.1,
    "docker": {},
    "provider": {
        "type": "fake_multinode",
        "use_node_id_as_ip": True,
        "disable_node_updaters": True,
        "disable_launch_config_check": True,
    },
    "auth": {},
    "available_node_types": {
        "head": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
        "worker": {"resources": {"CPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": 2},
    },
    "head_node_type": "head",
    "file_mounts": {},
    "cluster_synced_files": [],
    "file_mounts_sync_continuously": False,
    "rsync_exclude": [],
    "rsync_filter": [],
    "initialization_commands": [],
    "setup_commands": [],
    "head_setup_commands": [],
    "worker_setup_commands": [],
    "head_start_ray_commands": [],
    "worker_start_ray_commands": [],
}
PRETENDED = {
    "RAY_FAKE_CLUSTER": "1",
    "RAY_enable_autoscaler_v2": "0",
    "AUTOSCALER_UPDATE_INTERVAL_S": "1",
    "RAY_OVERRIDE_NODE_ID_FOR_TESTING": NODE_ID,
}


def main(folder: Path) -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    os.environ.update(HEALTH | QUIET)
    import ray  # reads the environment

    (folder / "autoscaling.yaml").write_text(json.dumps(CONFIG))
    with tempfile.TemporaryDirectory(prefix="gs-", dir="/tmp", ignore_cleanup_errors=True) as sockets:
        line = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", "--port=6379", "--num-cpus=0"]
        line += ["--node-ip-address=127.0.0.1", "--include-dashboard=false", f"--temp-dir={sockets}"]
        line += [f"--autoscaling-config={folder}/autoscaling.yaml"]
        head = subprocess.Popen(line, env=os.environ | PRETENDED, stdout=subprocess.DEVNULL, start_new_session=True)
        try:
            while not ray.is_initialized():
                with suppress(ConnectionError):
                    ray.init("127.0.0.1:6379", log_to_driver=False)
            search(folder)
        finally:
            ray.shutdown()
            head.terminate()
            head.wait(60)


def search(folder: Path) -> None:
    from orchestrator.execution.slots import Slots
    from orchestrator.execution.tuner import run_legs

    gang = nodes.gang(folder)
    slots, legs = Slots(gang, 2, lambda note: print(note, flush=True)), nodes.Legs(2, 1)
    print("places", slots.count(), flush=True)
    run_legs(legs, gang, slots, str(folder / "tune"), "pretended")
    print("reports", sorted(map(len, legs.images.values())), "errors", len(legs.errors), flush=True)
    print("places", slots.count(), flush=True)
    until = time.monotonic() + 120
    while slots.count() and time.monotonic() < until:
        time.sleep(1)
    print("places", slots.count(), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
