"""A leg that has no place, on a real Ray whose CPUs are another's: ``python -m tests.orchestrator.waiting FOLDER``."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any
from unittest.mock import Mock

from orchestrator.artifacts import open_store
from orchestrator.execution.environment import prepare
from orchestrator.execution.order import GangSpec, LegOrder


class Other:
    def holds(self) -> bool:
        return True


def main(folder: Path) -> None:
    """The sweep is told to stop after five seconds."""
    prepare(None, folder / "ray.token")
    import ray

    from orchestrator.execution.cluster import cluster
    from orchestrator.execution.tuner import run_legs

    with cluster(None):
        everything = ray.cluster_resources()["CPU"]  # type: ignore[no-untyped-call]
        other: Any = ray.remote(num_cpus=everything)(Other).remote()
        assert ray.get(other.holds.remote())
        order, began = LegOrder({}, 10, "trials/0", ()), time.monotonic()
        conductor: Any = Mock(
            **{
                "next_leg.side_effect": lambda: "wait" if conductor.next_leg.call_count > 1 else ("small-000", order),
                "stopping.side_effect": lambda: time.monotonic() - began > 5,
            }
        )
        gang = GangSpec(1, 1, 0, open_store("auto", folder / "store"), str(folder))
        run_legs(conductor, gang, Mock(**{"allowed.return_value": 1}), str(folder / "tune"), "legs")
    conductor.ended.assert_called_once_with(order)
    conductor.failed.assert_not_called()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
