"""Who takes a sweep over has the places of the driver before, though that one only stands still."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.orchestrator import nodes

pytestmark = pytest.mark.timeout(300)

DRIVER = """
import sys, time, ray
from ray.util.placement_group import placement_group
from orchestrator.execution.succession import succeed
ray.init(address=sys.argv[1])
succeed("a sweep")
ray.get(placement_group([{"CPU": 1}]).ready())
print("placed", flush=True)
time.sleep(600)
"""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch, nodes.cluster(tmp_path, patch) as made:
        made.add_node(num_cpus=1)
        yield made


def test_the_places_of_a_driver_that_stands_still_are_its_heirs(cluster: Any) -> None:
    import ray

    from orchestrator.execution.slots import seeks_room
    from orchestrator.execution.succession import succeed

    def free() -> float:
        return float(ray.available_resources().get("CPU", 0))  # type: ignore[no-untyped-call]

    stopped = subprocess.Popen([sys.executable, "-c", DRIVER, cluster.address], stdout=subprocess.PIPE, text=True)
    try:
        assert stopped.stdout is not None and stopped.stdout.readline() == "placed\n"
        _wait_until(lambda: free() == 0)
        assert not seeks_room()
        mine = ray.util.placement_group([{"CPU": 1}])
        _wait_until(seeks_room)
        ray.util.remove_placement_group(mine)
        stopped.send_signal(signal.SIGSTOP)
        succeed("another sweep")
        time.sleep(2)
        assert free() == 0, "another sweep's driver is no heir of this one"
        succeed("a sweep")
        _wait_until(lambda: free() == 1)
        succeed("a sweep")
        time.sleep(1)
        assert free() == 1 and ray.is_initialized(), "nobody is heir to himself"
    finally:
        stopped.kill()
        stopped.wait()


def _wait_until(happened: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.2)
