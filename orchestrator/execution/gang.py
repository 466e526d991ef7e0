"""The ranks of one slot: placed once, joined in one process group for the slot's life, then fed leg after leg.

Rank 0 trains in the process of Tune's trainable, the other ranks in child actors pinned to their bundles of the same
placement group. A gang is not repaired: when one rank dies, the others fail in their next collective, the trainable
fails with them, and Ray frees the slot for a new gang.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import psutil
import ray
import torch
import torch.distributed as dist
from ray.util.placement_group import PlacementGroup
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy
from torch._C._distributed_c10d import TCPStore

from orchestrator.errors import DamagedArtifactError, StoreError
from orchestrator.execution.beat import Heart
from orchestrator.execution.failure import RankError, in_words, of_actor
from orchestrator.execution.order import GangSpec
from orchestrator.execution.ranklog import RankLog
from orchestrator.execution.scratch import scratch_folder
from orchestrator.paths import statistics_key
from trainers.config import Config
from trainers.loop import train
from trainers.report import Report
from trainers.watching.pulse import Pulse
from trainers.world import World, leave

if TYPE_CHECKING:
    from orchestrator.artifacts import Store

LONGEST_WAIT = timedelta(minutes=30)
"""Of a rank for others in a collective: they may read data meanwhile. A gang that hangs is ended from outside, long
before (``watch``).
"""
ANSWER = 30.0
"""Seconds in which ranks say why they ended, once one has; so long the cluster may take to miss a node."""


class Stopped(NamedTuple):
    """A training that has ended between two reports, since its node is to go: with a checkpoint, or where it began."""

    checkpoint: Path | None


class Gang:
    """Rank 0 and its children. ``begin`` a leg, ``advance`` it report by report, again and again."""

    def __init__(self, spec: GangSpec, group: PlacementGroup, heart: str) -> None:
        self._rank0 = Rank(spec, 0, heart)
        self._others = [_child(spec, rank, group, heart) for rank in range(1, spec.ranks)]
        host, port = self._rank0.listen()
        joining = [other.join.remote(host, port) for other in self._others]
        self._rank0.join(host, port)
        ray.get(joining)

    @property
    def scratch(self) -> Path:
        return self._rank0.scratch

    def begin(self, leg: str, prefix: str, config: Config, checkpoints: list[str]) -> None:
        """Set up a training on every rank, from the first of ``checkpoints`` (store keys, newest first) that is
        undamaged, or afresh. ``leg`` is how the driver knows it; what it prints is kept under ``prefix``.
        """
        self._rank0.heart.leg = leg
        what = (leg, prefix, config.model_dump(mode="json"), checkpoints)
        beginning = [other.begin.remote(*what) for other in self._others]
        self._rank0.begin(*what)
        for other in beginning:
            _answer(other)

    def advance(self) -> Report | Stopped:
        """Train to the next report, or until a node of the gang is to go. Raises, as a RankError, what a rank raised by
        itself where others only lost it.
        """
        advancing = [other.advance.remote() for other in self._others]
        try:
            report = self._rank0.advance()
        except RankError as error:
            raise _root_cause(error, advancing) from None
        for other in advancing:
            _answer(other)
        assert report is not None, "a leg asks for no report past the end of its training"
        return report

    def close(self) -> None:
        """The ranks tidy up, as far as they live and answer, and end."""
        with contextlib.suppress(Exception):
            ray.get([other.close.remote() for other in self._others], timeout=3)
        for other in self._others:
            ray.kill(other)
        self._rank0.close()


class Rank:
    """One rank of a gang, in whatever process it lives."""

    def __init__(self, spec: GangSpec, rank: int, heart: str) -> None:
        self._spec, self._rank, self._pulse = spec, rank, Pulse()
        self._log = RankLog(spec.store, rank, _node_ip())
        self.heart = Heart(heart, rank, self._pulse, self._log, spec.hang_seconds)
        self._store = spec.store
        self._reports: Iterator[Report] = iter(())
        self._world: World | None = None
        self.scratch = scratch_folder()
        os.environ["GANSWEEP_CACHE"] = spec.cache
        torch.set_num_threads(max(1, int(spec.cpus)))

    def listen(self) -> tuple[str, int]:
        """Open the rendezvous on this node's own address (rank 0 only); torch by itself would listen on every
        interface.
        """
        listener = socket.socket()
        listener.bind((_node_ip(), 0))
        listener.listen()
        host, port = listener.getsockname()
        self._rendezvous = TCPStore(
            *(host, port),
            is_master=True,
            wait_for_workers=False,
            master_listen_fd=listener.detach(),
            timeout=LONGEST_WAIT,
        )
        return host, port

    def join(self, host: str, port: int) -> None:
        """Enter the gang's process group, which lives as long as this process."""
        for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):  # the node's own word counts more
            os.environ.setdefault(name, _interface(_node_ip()))
        store = self._rendezvous if self._rank == 0 else TCPStore(host, port, is_master=False, timeout=LONGEST_WAIT)
        if self._spec.ranks > 1:
            dist.init_process_group(
                self._spec.backend, store=store, rank=self._rank, world_size=self._spec.ranks, timeout=LONGEST_WAIT
            )
        device = torch.device("cuda", 0) if self._spec.gpus else torch.device("cpu")
        self._world = World(self._rank, self._spec.ranks, device, self._pulse)

    def begin(self, leg: str, prefix: str, config: dict[str, Any], checkpoints: list[str]) -> None:
        assert self._world is not None
        self._end()
        self._log.begin(leg, prefix)
        self._pulse.images = 0
        resume = self._fetch(checkpoints)
        out = self.scratch if self._rank == 0 else None
        with in_words():
            self._reports = train(Config.model_validate(config), self._world, resume, out, StatisticsShelf(self._store))

    def advance(self) -> Report | Stopped | None:
        """The next report; only rank 0's leaves the process."""
        report: Report | Stopped
        try:
            with in_words():
                try:
                    report = next(self._reports)
                except StopIteration as end:
                    report = Stopped(end.value)
        except Exception as error:
            print(getattr(error, "details", error), flush=True)  # noqa: T201
            # Peers wait in a collective for this rank; closing the connections tells them at once.
            if dist.is_initialized():
                dist.destroy_process_group()
            raise
        return report if self._rank == 0 else None

    def close(self) -> None:
        self._end()
        self.heart.stop()
        self._log.close()
        if dist.is_initialized():
            leave()
        shutil.rmtree(self.scratch, ignore_errors=True)

    def _end(self) -> None:
        if close := getattr(self._reports, "close", None):
            close()
        for child in self.scratch.iterdir():
            shutil.rmtree(child, ignore_errors=True)

    def _fetch(self, checkpoints: list[str]) -> Path | None:
        for key in checkpoints:
            try:
                return self._store.get(key, self.scratch / "resume" / key.rsplit("/", 1)[-1])
            except DamagedArtifactError as damage:
                print(f"gansweep: {damage}; going back one checkpoint", flush=True)  # noqa: T201  the worker's log is its standard output
        return None


class StatisticsShelf:
    """Features of real data in the artifact store, so that they are made once per sweep and not once per slot.

    What cannot be fetched is made again, and what cannot be kept is missed by nobody but the next slot.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def fetch(self, name: str, folder: Path) -> None:
        with contextlib.suppress(StoreError):
            self._store.get(statistics_key(name), folder)

    def keep(self, name: str, folder: Path) -> None:
        with contextlib.suppress(StoreError):
            self._store.put(folder, statistics_key(name))


def _child(spec: GangSpec, rank: int, group: PlacementGroup, heart: str) -> Any:
    place = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=rank)
    takes = {"num_cpus": spec.cpus, "num_gpus": spec.gpus, "memory": spec.memory or None}
    return ray.remote(Rank).options(**takes, scheduling_strategy=place).remote(spec, rank, heart)


def _root_cause(error: RankError, advancing: list[Any]) -> RankError:
    """What the failure of rank 0 goes back to: of all that the ranks say, what is no lost connection to another, and
    rather what a rank says than that it died.
    """
    told = [error]
    answered, _ = ray.wait(advancing, num_returns=len(advancing), timeout=ANSWER) if advancing else ([], [])
    for reference in answered:
        try:
            _answer(reference)
        except RankError as other:
            told.append(other)
    return min(told, key=lambda one: ("lost", "peer").index(one.fault) + 1 if one.fault in ("lost", "peer") else 0)


def _answer(reference: Any) -> None:
    """Wait for another rank. Raises its RankError or StoreError; RankError where it died."""
    try:
        ray.get(reference)
    except ray.exceptions.RayActorError as death:
        raise of_actor(death) from None
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None


def _node_ip() -> str:
    ip: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
    return ip


def _interface(ip: str) -> str:
    """The network interface that has this address: gloo and NCCL are told an interface, not an address."""
    return next(name for name, addresses in psutil.net_if_addrs().items() if any(a.address == ip for a in addresses))
