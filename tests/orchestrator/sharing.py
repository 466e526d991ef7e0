"""A driver of one of two sweeps: python -m tests.orchestrator.sharing ADDRESS FOLDER NAME TOLD

It writes its name into TOLD whenever a leg of it ends. ``first`` goes on until ``second`` has come and gone.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

from orchestrator.execution.environment import prepare
from orchestrator.execution.order import LegOrder
from tests.orchestrator import nodes

LEG = 3 * nodes.CONFIG.evaluate.every_images


class Legs(nodes.Legs):
    """Legs of three reports."""

    def __init__(self, name: str, told: Path) -> None:
        super().__init__(1, 3)
        self._name, self._told, self._numbers = name, told, iter(range(1_000_000))

    def next_leg(self) -> Any:
        if self.stopping():
            return "done"
        if not self.waiting:
            return "wait"
        self.waiting.clear()
        self.images["0"].clear()
        prefix = f"{self._name}-{next(self._numbers)}"
        return prefix, LegOrder(nodes.CONFIG.model_dump(mode="json"), LEG, prefix, ())

    def heard(self, order: LegOrder, report: dict[str, Any]) -> None:
        self.images["0"].append(report["images"])

    def ended(self, order: LegOrder) -> None:
        with self._told.open("a") as file:
            file.write(f"{self._name}\n")
        self.waiting.append("0")

    def stopping(self) -> bool:
        names = self._told.read_text().split() if self._told.exists() else []
        if self._name == "second":
            return "second" in names
        return "second" in names and names[-1] == "first"


def main() -> None:
    address, folder, name, told = sys.argv[1:]
    prepare(address, Path(folder) / "token")
    import ray

    from orchestrator.execution import shares
    from orchestrator.execution.slots import Slots
    from orchestrator.execution.tuner import run_legs

    shares.TURN = 3.0
    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    gang = nodes.gang(Path(folder))
    run_legs(Legs(name, Path(told)), gang, Slots(gang, 1), f"{folder}/ray-{name}", "legs")


if __name__ == "__main__":
    main()
