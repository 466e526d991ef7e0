"""The heartbeat of a rank: a thread of its process that says what the rank does, where the driver reads it."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import asdict, dataclass

import ray

from orchestrator.execution import gcs
from orchestrator.execution.ranklog import Part, RankLog
from trainers.watching.pulse import Doing, Pulse

LONGEST = 2.0
"""Seconds between two beats; less where a rank counts as hung after less than six of them."""


@dataclass(frozen=True)
class Beat:
    """``count`` tells one from the next; ``leg`` is known by rank 0 only; ``joined``: the ranks have met."""

    count: int
    rank: int
    node: str
    pid: int
    leg: str
    moves: int
    images: int
    doing: Doing
    log: Part | None = None
    joined: bool = True

    @classmethod
    def read(cls, text: bytes) -> Beat:
        told = json.loads(text)
        return cls(**told | {"log": Part(**told["log"]) if told["log"] else None})


class Heartbeat:
    """Beats under the key ``name/rank`` until it is stopped. Asks the training to stop when its node is to go."""

    def __init__(self, name: str, rank: int, pulse: Pulse, log: RankLog, hang_seconds: float) -> None:
        self._name, self._rank, self._pulse, self._log = name, rank, pulse, log
        self._every = min(LONGEST, hang_seconds / 6)
        self.leg, self.joined = "", False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join(timeout=self._every)
        gcs.forget(f"{self._name}/{self._rank}")

    def _run(self) -> None:
        node, count = ray.get_runtime_context().get_node_id(), 0
        while True:
            count, pulse = count + 1, self._pulse
            doing = (self.leg, pulse.moves, pulse.images, pulse.doing, self._log.part, self.joined)
            beat = Beat(count, self._rank, node, os.getpid(), *doing)
            try:
                gcs.put(f"{self._name}/{self._rank}", json.dumps(asdict(beat)).encode())
                pulse.stop = pulse.stop or node in gcs.draining()
            except Exception:  # the network, the cluster's head: whoever listens takes silence for what it is
                pass
            if self._over.wait(self._every):
                return
