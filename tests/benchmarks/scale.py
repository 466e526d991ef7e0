"""What 64 slots cost the driver: the real conductor, ledger (PostgreSQL), spool, recorder, MLflow server (PostgreSQL,
grids in S3) and artifact store (S3), for ten minutes.

    python -m tests.benchmarks.scale [--slots 64] [--seconds 600] [--every-ms 20] [--out infra/results/scale.json]

Only the ranks are played: reports of 19 measures come in turn from the slots, one every 20 ms in all, twelve to a trial
(a report of each slot every 1.3 seconds, where real ones take minutes); a process of its own stores what ranks would
store. Ray is not in it: 64 slots of Ray processes want more memory than a small machine has. Late reports are told as
soon as can be. Then ``MLflowLoggerCallback``, as Ray's users have it, is given the same reports and the same server.
"""

from __future__ import annotations

import argparse
import heapq
import multiprocessing
import os
import random
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any

import boto3
import psutil
import psycopg
from ray.air.integrations.mlflow import MLflowLoggerCallback

from infra.s3.server import Server
from orchestrator.artifacts import Store, open_store
from orchestrator.conductor import Conductor
from orchestrator.execution.order import LegOrder
from orchestrator.paths import SweepPaths, samples_key
from orchestrator.search.lease import lease_of
from orchestrator.search.ledger import Ledger
from orchestrator.spec import Sweep
from orchestrator.terminal.live import Quiet
from orchestrator.tracking.recorder import Recorder
from orchestrator.tracking.spool import Spool
from orchestrator.tracking.target import Target
from orchestrator.watching.exporter import _lag
from tests.benchmarks.deciding import SPACE, postgresql
from tests.benchmarks.results import tell
from tests.orchestrator.small import report
from trainers.pictures import draw

EVERY, REPORTS, MEASURES = 1_000, 12, 14
"""Images between reports, reports to a trial, and measures beside the usual ones."""
CALLBACKS = 100
"""Reports that the callback of Ray is given: it takes long."""


def sweep(storage: str, tracking: str, artifacts: str) -> Sweep:
    return Sweep.model_validate(
        {
            "name": "scale",
            "data": {"name": "ring"},
            "model": {"generator": "mlp", "discriminator": "mlp"},
            "train": {"images": REPORTS * EVERY},
            "evaluate": {"every_images": EVERY, "metrics": ("fid", "coverage")},
            "rungs": {"first_images": 4 * EVERY, "reduction": 3},
            "confirm": {"top": 0},
            "search": {"trials": 1_000_000, "space": SPACE, "storage": storage},
            "tracking": {"uri": tracking},
            "artifacts": {"url": artifacts},
        }
    )


class Slots:
    """Who plays the ranks: each slot takes legs, and reports in its turn."""

    def __init__(self, conductor: Conductor, grids: SimpleQueue[str | None], slots: int, every: float) -> None:
        self._conductor, self._grids, self._period = conductor, grids, slots * every
        self._dice = random.Random(0)
        now = time.monotonic()
        self._due = [(now + slot * every, slot) for slot in range(slots)]
        self._legs: dict[int, tuple[LegOrder, int]] = {}
        self.told = 0
        self.late = 0.0

    def play(self, until: float) -> None:
        """Until ``time.monotonic`` says ``until``."""
        while (now := time.monotonic()) < until:
            due, slot = heapq.heappop(self._due)
            time.sleep(max(0.0, due - now))
            self.late = max(self.late, time.monotonic() - due)
            self._turn(slot)
            heapq.heappush(self._due, (max(due + self._period, time.monotonic()), slot))

    def _turn(self, slot: int) -> None:
        if slot not in self._legs:
            leg = self._conductor.next_leg()
            assert isinstance(leg, tuple)
            order = leg[1]
            shown = int(order.checkpoints[-1].rsplit("/", 1)[-1]) if order.checkpoints else 0
            self._legs[slot] = order, shown
        order, shown = self._legs[slot]
        shown += EVERY
        done = shown >= order.until
        self._conductor.heard(order, self._report(order, shown, done))
        self.told += 1
        self._legs[slot] = order, shown
        if done:
            del self._legs[slot]
            self._conductor.ended(order)

    def _report(self, order: LegOrder, shown: int, done: bool) -> dict[str, Any]:
        values = {f"measure_{i}": self._dice.random() for i in range(MEASURES)}
        fid = 10 + 1e4 / shown + self._dice.random()
        told = report(shown, fid, "healthy", (f"{order.prefix}/checkpoints/{shown}",), **values)
        if done:  # a grid at each rung
            told["samples"] = samples_key(order.prefix, shown)
            self._grids.put(told["samples"])
        return told | {"timestamp": time.time(), "seconds": shown / 100}


def ranks(store: Store, grids: SimpleQueue[str | None], folder: Path) -> None:
    """What ranks store, in a process of its own."""
    import numpy as np

    grid = folder / "grid.png"
    draw(np.random.default_rng(0).integers(0, 255, (64, 32, 32, 3), dtype=np.uint8)).save(grid)
    while (key := grids.get()) is not None:
        store.put(grid, key)


@contextmanager
def mlflow_server(database: str, artifacts: str, port: int) -> Iterator[str]:
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "2"]
    command += ["--backend-store-uri", database, "--no-serve-artifacts", "--default-artifact-root", artifacts]
    lean = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # as everywhere in infra/
    with subprocess.Popen(command, env=lean, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            url = f"http://127.0.0.1:{port}"
            while not _answers(f"{url}/health"):
                if server.poll() is not None:
                    raise SystemExit(f"the MLflow server on port {port} has ended; is the port free?")
                time.sleep(1)
            yield url
        finally:
            server.terminate()


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=2).close()
    except OSError:
        return False
    return True


def drive(asked: Sweep, folder: Path, chosen: argparse.Namespace) -> dict[str, Any]:
    """The sweep, and what it cost."""
    ledger, spool = Ledger.open(asked, folder / "unused"), Spool(folder / "spool.jsonl")
    store, me = open_store(asked.artifacts.url, folder), psutil.Process()
    grids: SimpleQueue[str | None] = multiprocessing.get_context("spawn").SimpleQueue()
    storing = multiprocessing.get_context("spawn").Process(target=ranks, args=(store, grids, folder))
    storing.start()
    conductor = Conductor(ledger, spool, store, lease_of(asked, SweepPaths(asked.name, folder)), Quiet())
    target = Target(asked.tracking.uri, lambda: None)
    recorder = Recorder(spool, target, store, asked.name, ledger.id, ledger.runs(), ledger.set_run, print)
    recorder.start()
    conductor.open()
    recorder.begin(len(ledger.trials()))
    slots, start, cpu = Slots(conductor, grids, chosen.slots, chosen.every_ms / 1000), time.monotonic(), _cpu(me)
    samples = []
    while (now := time.monotonic() - start) < chosen.seconds:
        slots.play(start + min(now + 15, chosen.seconds))
        lag, memory = _lag(spool), me.memory_info().rss / 2**20
        samples.append({"s": round(time.monotonic() - start), "told": slots.told, "lag_s": round(lag, 1)})
        samples[-1] |= {"memory_mib": round(memory), "cpu_share": round((_cpu(me) - cpu) / samples[-1]["s"], 3)}
        print(samples[-1], flush=True)
    took, busy = time.monotonic() - start, _cpu(me) - cpu
    conductor.interrupted = True
    conductor.close()
    grids.put(None)
    storing.join()
    recorder.close(timeout=300)
    half = samples[len(samples) // 2 :]
    return {
        "slots": chosen.slots,
        "seconds": round(took),
        "reports": slots.told,
        "reports_per_second": round(slots.told / took, 1),
        "trials": len(ledger.trials()),
        "driver_cpu_share": round(busy / took, 3),
        "driver_cpu_ms_per_report": round(1000 * busy / slots.told, 2),
        "memory_mib": [sample["memory_mib"] for sample in (samples[0], half[0], samples[-1])],
        "lag_s_max": max(sample["lag_s"] for sample in samples),
        "late_s_max": round(slots.late, 1),
        "drained_s": round(time.monotonic() - start - took, 1),
        "unsent": recorder.unsent,
        "samples": samples,
    }


def lost(database: str, told: int) -> dict[str, int]:
    """How many of the reports stand in MLflow, as its database has them."""
    with psycopg.connect(database.replace("+psycopg", "")) as connection:
        row = connection.execute("select count(*), count(distinct (run_uuid, step)) from metrics where key = 'fid'")
        points, distinct = row.fetchone() or (0, 0)
    return {"points_of_fid": points, "lost": told - distinct, "twice": points - distinct}


class OfRay:
    """A trial, as far as the callback of Ray looks at one."""

    def __init__(self) -> None:
        self.config = {"train.generator_lr": 1e-3}


def callback(url: str) -> dict[str, float]:
    """What one report costs under Ray's own callback, which runs in the driver's loop."""
    ray_s, trial = MLflowLoggerCallback(url, experiment_name="callback"), OfRay()
    ray_s.setup()  # type: ignore[no-untyped-call]
    ray_s.log_trial_start(trial)  # type: ignore[arg-type]
    dice, wall, cpu = random.Random(0), time.perf_counter(), time.process_time()
    for number in range(1, CALLBACKS + 1):
        values = {f"measure_{i}": dice.random() for i in range(MEASURES + 5)}
        ray_s.log_trial_result(number, trial, {**values, "training_iteration": number})  # type: ignore[arg-type]
    each, busy = (time.perf_counter() - wall) / CALLBACKS, (time.process_time() - cpu) / CALLBACKS
    return {
        "s_per_report": round(each, 4),
        "reports_per_second_at_most": round(1 / each, 1),
        "cpu_ms": round(1e3 * busy, 2),
    }


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--slots", type=int, default=64)
    options.add_argument("--seconds", type=float, default=600)
    options.add_argument("--every-ms", type=float, default=20)
    options.add_argument("--port", type=int, default=5_577)
    options.add_argument("--out", type=Path)
    chosen = options.parse_args()
    load = os.getloadavg()[0]
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        root.chmod(0o755)
        (root / "pg").mkdir()
        database = stack.enter_context(postgresql(root / "pg"))
        with psycopg.connect(database.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute("create database mlflow")
        s3 = Server(root / "s3")
        stack.callback(s3.remove)
        s3.start()
        os.environ.update(s3.env())
        boto3.Session().client("s3").create_bucket(Bucket="scale")
        runs = database.replace("/postgres?", "/mlflow?")
        url = stack.enter_context(mlflow_server(runs, "s3://scale/mlflow", chosen.port))
        result = drive(sweep(database, url, "s3://scale/sweeps"), root, chosen)
        result |= {"mlflow": lost(runs, result["reports"]), "callback": callback(url), "load_before": round(load, 1)}
    tell(result, chosen.out)


if __name__ == "__main__":
    main()
