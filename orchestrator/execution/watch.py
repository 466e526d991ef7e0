"""Hears the heartbeats of all gangs, from a thread of the driver. A gang that hangs, or has lost a node, is ended: its
other ranks would wait for long, and Tune as long as they do.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn

from orchestrator.commands import command
from orchestrator.errors import HungError, NodeGoneError, WorkError
from orchestrator.execution import gcs
from orchestrator.execution.beat import Beat
from orchestrator.execution.ranklog import keep

if TYPE_CHECKING:
    from orchestrator.artifacts import Store

log = logging.getLogger(__name__)

EVERY = 1.0
"""Seconds between two looks."""
OPEN = (
    "open all ports between the nodes, or name the interface that they share in GLOO_SOCKET_IFNAME and "
    "NCCL_SOCKET_IFNAME on each"
)
"""The way out for ranks that don't meet."""
MEETING = 300.0
"""Seconds in which a gang's ranks must have met: each imports torch first."""
WORKING = 600
"""Seconds that a batch may take to be read, or a measure, where ``hang_seconds`` does not allow more."""
HEADLESS = 45.0
"""Seconds without an answer of the cluster's head after which the driver ends."""


@dataclass
class Heard:
    """The last beat of each rank of a gang, when it came, and when a rank last moved, or had no reason to."""

    beats: dict[int, Beat] = field(default_factory=dict)
    at: dict[int, float] = field(default_factory=dict)
    moved: float = 0.0
    began: float = 0.0

    def take(self, beat: Beat, now: float) -> None:
        before = self.beats.get(beat.rank)
        if before == beat:
            return
        if not before or beat.doing == "idle" or beat.moves != before.moves:
            self.moved = now
        self.beats[beat.rank], self.at[beat.rank] = beat, now

    @property
    def leg(self) -> str:
        return self.beats[0].leg if 0 in self.beats else ""


class Watch:
    """Within a ``with``, of the gangs of a sweep, whose heartbeats come under ``name``."""

    def __init__(self, sweep: str, hang_seconds: float, store: Store) -> None:
        self._sweep, self._store = sweep, store
        self.name = uuid.uuid4().hex
        self.images: dict[str, int] = {}
        """Shown so far by each leg that makes steps."""
        self._limit, self._gangs = hang_seconds, dict[str, Heard]()
        self._said: dict[str, WorkError] = {}
        self._ended: dict[str, list[Heard]] = {}
        self._names: dict[str, str] = {}
        self._draining: set[str] = set()
        self._looked = time.monotonic()
        self._lock, self._over = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()
        with suppress(Exception):  # the cluster's head may be what died
            gcs.forget(self.name)

    def verdict(self, leg: str) -> WorkError | None:
        """Why a leg was ended from here."""
        return self._said.get(leg)

    def died(self, leg: str) -> NodeGoneError | None:
        """A leg has died: keeps what its ranks had printed last, where their nodes are there. Returns which node has
        gone, or is about to.
        """
        gone = None
        with self._lock, suppress(Exception):  # the cluster may be about to die itself
            self._look_at_nodes()
            dead = [name for name, gang in self._gangs.items() if gang.leg == leg]
            for gang in [*map(self._gangs.pop, dead), *self._ended.pop(leg, [])]:
                gone = gone or self._gone(gang)
                for beat in gang.beats.values():
                    if beat.log and beat.node in self._alive:
                        gcs.on(beat.node, keep, self._store, beat.log)
            for name in dead:
                gcs.forget(name)
        return gone

    def _run(self) -> None:
        silent_since = None
        while not self._over.wait(EVERY):
            try:
                with self._lock:
                    self._look()
                silent_since = None
            except Exception as error:
                log.warning("the cluster does not say how its ranks do: %s", error)
                silent_since = silent_since or time.monotonic()
                if time.monotonic() - silent_since > HEADLESS:
                    _end_headless(self._sweep)

    def _look(self) -> None:
        told, now = gcs.read(self.name), time.monotonic()
        if (missed := now - self._looked - EVERY) > EVERY:  # this process slept, or the cluster did not answer
            for gang in self._gangs.values():
                gang.at, gang.moved = {rank: at + missed for rank, at in gang.at.items()}, gang.moved + missed
                gang.began += missed
        self._looked = now
        for key, text in told.items():
            gang = self._gangs.setdefault(key.rsplit("/", 1)[0], Heard(moved=now, began=now))
            gang.take(Beat.read(text), now)
        for name in [name for name in self._gangs if not any(key.startswith(name) for key in told)]:
            del self._gangs[name]
        self.images = {g.leg: g.beats[0].images for g in self._gangs.values() if g.leg and g.beats[0].images}
        self._look_at_nodes()
        for name, gang in list(self._gangs.items()):
            if why := self._gone(gang, only_lost=True) or self._hung(gang, now):
                self._end(name, gang, why)

    def _look_at_nodes(self) -> None:
        self._alive = gcs.nodes()
        self._names |= self._alive
        self._draining |= gcs.draining()

    def _gone(self, gang: Heard, only_lost: bool = False) -> NodeGoneError | None:
        for beat in gang.beats.values():
            name, is_lost = self._names.get(beat.node, beat.node), beat.node not in self._alive
            if is_lost or (beat.node in self._draining and not only_lost):
                fate = "was preempted" if beat.node in self._draining else "was lost"
                return NodeGoneError(f"node {name}, on which rank {beat.rank} ran, {fate}")
        return None

    def _hung(self, gang: Heard, now: float) -> HungError | None:
        for rank, at in gang.at.items():
            if now - at > self._limit:
                name = self._names.get(gang.beats[rank].node, "")
                return HungError(f"rank {rank} on node {name} hung: it gave no sign for {now - at:.0f} s")
        if now - gang.began > MEETING and not all(beat.joined for beat in gang.beats.values()):
            return HungError(f"the ranks did not meet within {MEETING:.0f} s: {OPEN}")
        idle, works = now - gang.moved, any(beat.doing == "working" for beat in gang.beats.values())
        if idle > (max(self._limit, WORKING) if works else self._limit):
            what = "batch read or measured" if works else "step"
            return HungError(f"the ranks hung: no {what} for {idle:.0f} s; resources.hang_seconds allows more")
        return None

    def _end(self, name: str, gang: Heard, why: WorkError) -> None:
        if gang.leg:
            self._said[gang.leg], self._ended[gang.leg] = why, [gang]
        del self._gangs[name]
        gcs.forget(name)
        for beat in gang.beats.values():
            if beat.node in self._alive:
                gcs.kill(beat.node, beat.pid)


def _end_headless(name: str) -> NoReturn:
    """As if killed, of which nothing is lost: the main thread is in a call of Ray's, which neither comes back nor hears
    of Ctrl-C.
    """
    again = command("resume", name)
    print(  # noqa: T201
        f"gansweep: the head of the Ray cluster has not answered for {HEADLESS:.0f} s; what was recorded is kept; when "
        f"it is back, or on another cluster, go on with: {again}",
        file=sys.stderr,
        flush=True,
    )
    os._exit(1)
