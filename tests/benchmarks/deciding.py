"""What a leg costs the driver: deciding it, TPE included, and writing down what came of it.

    python -m tests.benchmarks.deciding [--trials 10000] [--postgresql 1000] [--out infra/results/deciding.json]

The real ledger, rungs, sampler and journal play a sweep on 8 slots, whose trainings are a formula: three rungs, six
evaluations, eight measures, an eight-dimensional space with a conditional setting, a fifth of the trials collapse. A
leg's cost is all of the ledger's time for it: the question, each report, the end. Medians and means are of the legs
around each size; memory is the process's resident set. Then the journal is opened again. ``--postgresql`` plays
so many trials on a PostgreSQL server of its own (Debian's binaries; needs psycopg), on a socket in a temporary folder.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import shutil
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


class Clock:
    """Seconds that the ledger took for each leg, by how many trials there were."""

    def __init__(self) -> None:
        self.legs: list[tuple[int, float, float]] = []
        self.memory: dict[int, float] = {}

    def at(self, size: int, width: int = 50) -> dict[str, float]:
        """Milliseconds around so many trials, and the process's MiB then."""
        near = [leg for leg in self.legs if size - width < leg[0] <= size + (width if size < max(SIZES) else 0)]
        asked, whole = [1000 * ask for _, ask, _ in near], [1000 * ask + 1000 * rest for _, ask, rest in near]
        return {
            "next_leg_median_ms": round(statistics.median(asked), 1),
            "leg_mean_ms": round(statistics.fmean(whole), 1),
            "leg_median_ms": round(statistics.median(whole), 1),
            "leg_p95_ms": round(statistics.quantiles(whole, n=20)[-1], 1),
            "legs": len(near),
            "memory_mib": round(self.memory[size], 0),
        }


def play(ledger: Ledger, trials: int) -> Clock:
    """Slots take legs in turn, each plays its leg in one go; until there are so many trials."""
    clock, number, process = Clock(), 0, psutil.Process()
    running: list[tuple[Leg, float]] = []
    while number < trials or running:
        while len(running) < SLOTS and number < trials:
            start = time.perf_counter()
            leg = ledger.next_leg()
            took = time.perf_counter() - start
            if not isinstance(leg, Leg):
                break
            if leg.trial == number:
                number += 1
                if number in SIZES:
                    clock.memory[number] = process.memory_info().rss / 2**20
            running.append((leg, took))
        leg, took = running.pop(0)
        told = list(train(leg))
        start = time.perf_counter()
        for one in told:
            ledger.report(leg, one)
        ledger.end_leg(leg)
        clock.legs.append((number, took, time.perf_counter() - start))
    return clock


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
            server.terminate()


def measure(trials: int, storage: str, journal: Path) -> dict[str, Any]:
    asked = sweep(trials, storage)
    clock = play(Ledger.open(asked, journal), trials)
    start = time.perf_counter()
    again = Ledger.open(asked, journal)
    opened = time.perf_counter() - start
    assert len(again.trials()) == trials
    found: dict[str, Any] = {str(size): clock.at(size) for size in SIZES if size <= trials}
    return found | {"reopen_s": round(opened, 2), "legs": len(clock.legs)}


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
