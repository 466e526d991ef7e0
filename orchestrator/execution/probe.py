"""Can ranks run on a node? Each node answers for itself, before anything trains there: what it has, and what is wrong.

It writes into the artifact store, and another node reads that: a folder of the same name on each is not shared.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
import torch

from orchestrator.execution import gcs
from orchestrator.execution.order import GangSpec
from trainers.errors import OwnCodeError
from trainers.files.sealed import own_version
from trainers.reading import ownimports

if TYPE_CHECKING:
    from orchestrator.artifacts import Store

ANSWER = 180.0
"""Seconds in which a node must answer: a store that it can't reach takes as long."""
LEAST_DISK = 1.0
"""GiB that must be free for Ray's sockets and logs, and for checkpoints on their way to the store."""
SKEW = 1.0
"""Seconds that a node's clock may be off."""
GONE = (ray.exceptions.TaskUnschedulableError, ray.exceptions.NodeDiedError)
"""What is heard of a node that died while Ray still lists it."""


@dataclass(frozen=True)
class Facts:
    """What a node says of itself. ``wrong`` is what keeps ranks from running there, one reason a line, or empty."""

    node: str
    gpus: tuple[str, ...] = ()
    gpu_ids: tuple[str, ...] = ()
    driver: str = ""
    cpus: int = 0
    disk_gib: float = 0.0
    versions: tuple[tuple[str, str], ...] = ()
    clock: float = 0.0
    artifacts: str = ""
    wrong: tuple[str, ...] = ()

    def skew(self, began: float, ended: float) -> float:
        """Seconds that its clock is off, asked from ``began`` to ``ended`` by the driver's; 0 within these."""
        return self.clock - min(max(self.clock, began), ended)

    def columns(self, began: float, ended: float) -> dict[str, str]:
        """As a row of a table; asked as for ``skew``."""
        gpus = ", ".join(f"{count} x {name}" for name, count in Counter(self.gpus).items()) or "none"
        return {
            "node": self.node,
            "GPUs": f"{gpus} (driver {self.driver})" if self.driver else gpus,
            "CPUs": str(self.cpus),
            "free disk": f"{self.disk_gib:.0f} GiB",
            **dict(self.versions),
            "clock": f"{self.skew(began, ended):+.1f} s",
            "artifacts": self.artifacts or "not written",
        }


def probe(gang: GangSpec, nodes: Mapping[str, str], settings: Mapping[str, Any]) -> dict[str, Facts]:
    """What each of ``nodes`` (id -> name) says, and what is wrong with it for ranks of ``gang`` and the own code that
    ``settings`` name; nothing of one that is gone by now.
    """
    key = f"probe/{uuid.uuid4().hex}"
    try:
        _write(gang.store, f"{key}/driver")
        answers = _asked(nodes, look, [(name, gang, key, node, settings) for node, name in nodes.items()])
        said = {node: facts for node, facts in zip(nodes, answers, strict=True) if facts is not None}
        writers = ["driver", *(node for node, facts in said.items() if facts.artifacts)]
        readers = {node: nodes[node] for node in writers[1:]}
        seen = _asked(readers, see, [(gang.store, key, (writers[0], writers[i - 1])) for i in range(1, len(writers))])
        for node, unseen in zip(readers, seen, strict=True):
            if unseen is None:
                del said[node]
                continue
            wrong = (*said[node].wrong, *_unshared(unseen, nodes, gang.store.url))
            said[node] = replace(said[node], wrong=wrong, artifacts="not shared" if unseen else "shared")
        return with_own_gpus(said) if gang.ranks > 1 and gang.backend == "nccl" else said
    finally:
        for writer in ("driver", *nodes):
            with suppress(Exception):
                gang.store.delete(f"{key}/{writer}")


def look(name: str, gang: GangSpec, key: str, node: str, settings: Mapping[str, Any]) -> Facts:
    """Runs on the node."""
    wrong, artifacts = list[str](), ""
    try:
        _write(gang.store, f"{key}/{node}")
        artifacts = "written"
    except Exception as error:
        wrong.append(str(error))
    wrong += filter(None, [no_gpu(gang), full_disk(), _not_importable(settings)])
    return Facts(name, *_gpus(), os.cpu_count() or 0, _free(), _versions(), time.time(), artifacts, tuple(wrong))


def with_own_gpus(said: Mapping[str, Facts]) -> dict[str, Facts]:
    """What nodes said, and of GPUs that two of them take for theirs, as containers on one host may, that NCCL would
    refuse them: it says so only when the ranks have met, and in words of its own.
    """
    owners: dict[str, str] = {}
    told = {}
    for node, facts in said.items():
        twice = [f"{gpu} of node {owners[gpu]}" for gpu in facts.gpu_ids if gpu in owners]
        owners |= {gpu: facts.node for gpu in facts.gpu_ids if gpu not in owners}
        why = f"it counts {', '.join(twice)} as its own, and NCCL takes no two ranks on one GPU; show each node others"
        told[node] = replace(facts, wrong=(*facts.wrong, why)) if twice else facts
    return told


def full_disk() -> str | None:
    """Why there is no room on this machine."""
    if (free := _free()) >= LEAST_DISK:
        return None
    return f"only {free:.1f} GiB are free under {tempfile.gettempdir()}; make room, or name another folder in TMPDIR"


def _free() -> float:
    return shutil.disk_usage(tempfile.gettempdir()).free / 2**30


def no_gpu(gang: GangSpec) -> str | None:
    """Why ranks that need a GPU have none on this machine, which a task without one can't see in its own process."""
    if not gang.gpus:
        return None
    environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    ask = [sys.executable, "-c", "import sys, torch; sys.exit(not torch.cuda.is_available())"]
    if subprocess.run(ask, env=environment, capture_output=True, check=False).returncode == 0:
        return None
    return f"gpus_per_worker is {gang.gpus:g}, and torch {torch.__version__} finds no GPU that it can use"


def _not_importable(settings: Mapping[str, Any]) -> str | None:
    """Why own code that the driver can import can't be imported here: a package that is missing, most often."""
    ownimports.provide(settings["code"])
    try:
        ownimports.try_all(settings)
    except OwnCodeError as error:
        return str(error)
    return None


def see(store: Store, key: str, writers: tuple[str, ...]) -> list[str]:
    """Runs on the node: whose objects it does not see."""
    return [writer for writer in writers if not store.exists(f"{key}/{writer}")]


def faults(said: Mapping[str, Facts], began: float, ended: float) -> dict[str, str]:
    """Node -> why no rank can run there. They were asked from ``began`` to ``ended``, by the clock of the driver."""
    found = {}
    for node, facts in said.items():
        wrong = [*facts.wrong, *_odd_versions(facts)]
        if facts.clock and abs(off := facts.skew(began, ended)) > SKEW:
            wrong.append(f"its clock is off by {off:+.0f} s; let both take the time from the same server")
        if wrong:
            found[node] = f"node {facts.node}: {'; '.join(wrong)}"
    return found


def _asked(nodes: Mapping[str, str], work: Any, arguments: list[tuple[Any, ...]]) -> list[Any]:
    """Every node's answer to ``work``, None of one that is gone. Of ``look`` a Facts that says why there is none."""
    asked = [gcs.on(node, work, *given) for node, given in zip(nodes, arguments, strict=True)]
    ray.wait(asked, num_returns=len(asked), timeout=ANSWER) if asked else None
    return [_answer(reference, name, work) for reference, name in zip(asked, nodes.values(), strict=True)]


def _answer(reference: Any, name: str, work: Any) -> Any:
    try:
        return ray.get(reference, timeout=0.1)
    except GONE:
        return None
    except ray.exceptions.GetTimeoutError:
        why = f"gave no answer within {ANSWER:.0f} s"
    except ray.exceptions.RayTaskError as error:
        why = f"{type(error.cause).__name__}: {str(error.cause).strip()}; has it the same gansweep as the driver?"
    except ray.exceptions.RayError as error:
        why = " ".join(str(error).split())[:300]
    return Facts(name, wrong=(why,)) if work is look else []


def _unshared(writers: list[str], nodes: Mapping[str, str], url: str) -> Iterator[str]:
    for writer in writers:
        who = "the driver" if writer == "driver" else f"node {nodes[writer]}"
        yield (
            f"artifacts.url {url}: what {who} wrote there is not seen from here; name a folder that all nodes share, "
            "or s3://bucket/prefix"
        )


def _odd_versions(facts: Facts) -> Iterator[str]:
    mine = dict(_versions())
    for name, version in facts.versions:
        if version != mine[name]:
            yield f"{name} {version}, where the driver has {mine[name]}; give all nodes the same image"


def _versions() -> tuple[tuple[str, str], ...]:
    return ("gansweep", own_version()), ("torch", torch.__version__), ("ray", ray.__version__)


def _write(store: Store, key: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (file := Path(folder) / "probe").write_text("gansweep")
        store.put(file, key)


def _gpus() -> tuple[tuple[str, ...], tuple[str, ...], str]:
    """Names, identities and the driver's version; nothing where NVIDIA's tool is not installed."""
    ask = ["nvidia-smi", "--query-gpu=name,uuid,driver_version", "--format=csv,noheader"]
    try:
        lines = subprocess.run(ask, capture_output=True, text=True, timeout=20, check=True).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        return (), (), ""
    rows = [line.rsplit(", ", 2) for line in lines if line.count(", ") >= 2]
    return tuple(name for name, _, _ in rows), tuple(uuid for _, uuid, _ in rows), rows[0][2] if rows else ""
