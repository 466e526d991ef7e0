"""One rank of a gang: what it trains in, prints to and beats for, in whatever process it lives.

Importing this module brings torch and all of training, which takes seconds of CPU.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import ray
import torch
import torch.distributed as dist
from torch._C._distributed_c10d import TCPStore

from orchestrator.errors import DamagedArtifactError, StoreError
from orchestrator.execution.beat import Heartbeat
from orchestrator.execution.failure import in_words
from orchestrator.execution.order import GangSpec, Stopped
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


class Rank:
    """One rank of a gang, in whatever process it lives."""

    def __init__(self, spec: GangSpec, rank: int, heart: str) -> None:
        self._spec, self._rank, self._pulse = spec, rank, Pulse()
        self._log = RankLog(spec.store, rank, _node_ip())
        self.heart = Heartbeat(heart, rank, self._pulse, self._log, spec.hang_seconds)
        self._store = spec.store
        self._reports: Iterator[Report] = iter(())
        self._world: World | None = None
        self.scratch = scratch_folder()
        os.environ["GANSWEEP_CACHE"] = spec.cache
        torch.set_num_threads(max(1, int(spec.cpus)))

    @property
    def collective_seconds(self) -> float:
        """``Pulse.collective``."""
        return self._pulse.collective

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
            if name not in os.environ:
                os.environ[name] = _interface(_node_ip())
        device = torch.device("cpu")
        if self._spec.gpus:
            device = torch.device("cuda", own_gpu(ray.get_gpu_ids(), os.environ))
            torch.cuda.set_device(device)
        store = self._rendezvous if self._rank == 0 else TCPStore(host, port, is_master=False, timeout=LONGEST_WAIT)
        if self._spec.ranks > 1:
            dist.init_process_group(
                self._spec.backend, store=store, rank=self._rank, world_size=self._spec.ranks, timeout=LONGEST_WAIT
            )
        self._world = World(self._rank, self._spec.ranks, device, self._pulse)
        self.heart.joined = True

    def begin(self, leg: str, prefix: str, config: dict[str, Any], checkpoints: list[str]) -> None:
        assert self._world is not None
        self._end()
        self._log.begin(leg, prefix)
        self._pulse.images = 0
        resume = self._fetch(checkpoints)
        out = self.scratch if self._rank == 0 else None
        with in_words():
            self._reports = train(Config.model_validate(config), self._world, resume, out, StatisticsCache(self._store))

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


def own_gpu(ids: Sequence[int | str], environment: Mapping[str, str]) -> int:
    """Index, among those that this process sees, of the GPU that Ray gave it by its id. Ray hides the others, but where
    a node's environment tells it not to.
    """
    if environment.get("RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES", "").lower() not in ("1", "true"):
        return 0
    visible = environment.get("CUDA_VISIBLE_DEVICES", "").split(",")
    return visible.index(str(ids[0])) if str(ids[0]) in visible else int(ids[0])


class StatisticsCache:
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


def _node_ip() -> str:
    ip: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
    return ip


def _interface(ip: str) -> str:
    """The network interface that has this address: gloo and NCCL are told an interface, not an address."""
    return next(name for name, addresses in psutil.net_if_addrs().items() if any(a.address == ip for a in addresses))
