"""What a leg costs the driver: deciding it, TPE included, and writing down what came of it.

    python -m tests.benchmarks.deciding [--trials 10000] [--postgresql 1000] [--out infra/results/deciding.json]

The real ledger, rungs, sampler and journal play a sweep on 8 slots, whose trainings are a formula: three rungs, six
evaluations, eight measures, an eight-dimensional space with a conditional setting, a fifth of the trials collapse. A
leg's cost is all of the ledger's time for it: the question, each report, the end; wall time, with the waits for the
disk, and the process's CPU time, which other work on the machine changes less. Means are of the legs around each size;
memory is the process's resident set. Then the journal is opened again. ``--postgresql`` plays
so many trials on a PostgreSQL server of its own (Debian's binaries; needs psycopg), on a socket in a temporary folder.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from orchestrator.search.ledger import Ledger
from orchestrator.search.trial import Leg
from orchestrator.spec import Sweep
from tests.benchmarks.results import tell
from tests.orchestrator.small import report

SLOTS = 8
SIZES = (180, 450, 1_000, 2_000, 5_000, 10_000)
SPACE = {
    "train.generator_lr": {"float": (1e-5, 1e-2), "log": True},
    "train.discriminator_lr": {"float": (1e-5, 1e-2), "log": True},
    "train.beta1": {"float": (0.0, 0.9)},
    "train.batch_size": {"choice": (32, 64, 128)},
    "train.loss": {"choice": ("non_saturating", "hinge", "relativistic")},
    "train.r1_gamma": {"float": (0.01, 10.0), "log": True},
    "train.r2_gamma": {"float": (0.01, 10.0), "log": True, "when": {"train.loss": ("relativistic",)}},
    "model.width": {"int": (16, 128), "step": 16},
}
POSTGRESQL = Path("/usr/lib/postgresql/15/bin")


def sweep(trials: int, storage: str) -> Sweep:
    return Sweep.model_validate(
        {
            "name": "deciding",
            "model": {"generator": "mlp", "discriminator": "mlp"},
            "train": {"images": 900_000},
            "evaluate": {"every_images": 50_000, "metrics": ("fid", "coverage")},
            "objective": {"minimize": "fid", "require": {"coverage": ">= 0.5"}},
            "rungs": {"first_images": 100_000, "reduction": 3},
            "confirm": {"top": 0},
            "search": {"trials": trials, "space": SPACE, "storage": storage},
        }
    )


def train(leg: Leg) -> Iterator[dict[str, Any]]:
    """The reports of a leg: two to its first rung, then one for every 200,000 images."""
    dice = random.Random(leg.trial)
    params = leg.params
    rate = math.log10(params["train.generator_lr"]) + 3.5
    floor = 5 + 8 * rate**2 + 3 * (math.log10(params["train.r1_gamma"])) ** 2 + params["train.beta1"]
    bad = dice.random() < 0.2
    shown = int(leg.checkpoints[-1].rsplit("/", 1)[-1]) if leg.checkpoints else 0
    for images in (50_000, 100_000, 300_000, 500_000, 700_000, 900_000):
        if shown < images <= leg.until:
            values = {f"measure_{i}": dice.random() for i in range(6)}
            fid = floor + 3e6 / images + dice.random()
            stored = (f"deciding-0123abcd/trials/{leg.trial}/checkpoints/{images}",)
            yield report(images, fid, "collapsed" if bad else "healthy", stored, coverage=0.7, **values)
            if bad:
                return


class Cost:
    """Milliseconds that a leg took, of the wall and of this process."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0

    @contextmanager
    def counted(self) -> Iterator[None]:
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.wall += 1000 * (time.perf_counter() - wall)
        self.cpu += 1000 * (time.process_time() - cpu)


class Played:
    """What each leg cost, by how many trials there were."""

    def __init__(self) -> None:
        self.legs: list[tuple[int, Cost]] = []
        self.memory: dict[int, float] = {}

    def at(self, size: int) -> dict[str, float]:
        """Around so many trials."""
        near = [cost for number, cost in self.legs if size - 50 < number <= size + 50]
        return {
            "leg_mean_ms": round(statistics.fmean(cost.wall for cost in near), 1),
            "leg_median_ms": round(statistics.median(cost.wall for cost in near), 1),
            "leg_p95_ms": round(statistics.quantiles((cost.wall for cost in near), n=20)[-1], 1),
            "leg_mean_cpu_ms": round(statistics.fmean(cost.cpu for cost in near), 1),
            "memory_mib": round(self.memory[size]),
        }


def play(ledger: Ledger, trials: int) -> Played:
    """Slots take legs in turn, and each plays its leg in one go, until there are so many trials."""
    played, number, process = Played(), 0, psutil.Process()
    running: list[tuple[Leg, Cost]] = []
    while number < trials or running:
        while len(running) < SLOTS and number < trials:
            cost = Cost()
            with cost.counted():
                leg = ledger.next_leg()
            assert isinstance(leg, Leg)
            running.append((leg, cost))
            if leg.trial == number:
                number += 1
                if number in SIZES:
                    played.memory[number] = process.memory_info().rss / 2**20
        leg, cost = running.pop(0)
        reports = list(train(leg))
        with cost.counted():
            for one in reports:
                ledger.report(leg, one)
            ledger.end_leg(leg)
        played.legs.append((number, cost))
    return played


@contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """A server that listens on a socket in ``folder`` only, as its owner is no superuser; its URL."""
    owner: dict[str, Any] = {"user": "nobody"} if os.getuid() == 0 else {}
    if owner:
        shutil.chown(folder, "nobody")
    data = folder / "data"
    run = [str(POSTGRESQL / "initdb"), "-D", str(data), "-A", "trust", "-U", "sweep", "--locale", "C.UTF-8"]
    subprocess.run(run, check=True, stdout=subprocess.DEVNULL, **owner)
    command = [str(POSTGRESQL / "postgres"), "-D", str(data), "-k", str(folder), "-c", "listen_addresses="]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **owner) as server:
        try:
            ready = [str(POSTGRESQL / "pg_isready"), "-q", "-h", str(folder)]
            while subprocess.run(ready, check=False).returncode:
                time.sleep(0.2)
            yield f"postgresql+psycopg://sweep@/postgres?host={folder}"
        finally:
            server.send_signal(signal.SIGINT)  # fast: the storage keeps its connections


def measure(trials: int, storage: str, journal: Path) -> dict[str, Any]:
    asked = sweep(trials, storage)
    played = play(Ledger.open(asked, journal), trials)
    wall, cpu = time.perf_counter(), time.process_time()
    again = Ledger.open(asked, journal)
    opened, busy = time.perf_counter() - wall, time.process_time() - cpu
    assert len(again.trials()) == trials
    found: dict[str, Any] = {str(size): played.at(size) for size in SIZES if size <= trials}
    return found | {"reopen_s": round(opened, 2), "reopen_cpu_s": round(busy, 2), "legs": len(played.legs)}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--trials", type=int, default=10_000)
    options.add_argument("--postgresql", type=int, default=1_000, help="0: none")
    options.add_argument("--out", type=Path)
    chosen = options.parse_args()
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as root:
        Path(root).chmod(0o755)
        journal = Path(root) / "ledger.journal"
        result["journal"] = measure(chosen.trials, "auto", journal)
        result["journal"]["file_mib"] = round(journal.stat().st_size / 2**20, 1)
        if chosen.postgresql:
            folder = Path(root) / "pg"
            folder.mkdir()
            with postgresql(folder) as url:
                result["postgresql"] = measure(chosen.postgresql, url, Path(root) / "unused")
    tell(result, chosen.out)


if __name__ == "__main__":
    main()
