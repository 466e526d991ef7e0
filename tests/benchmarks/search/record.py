"""Records the table of training curves that searches are replayed on: GANs of drawn settings, each to its end.

    env OMP_NUM_THREADS=1 python -m tests.benchmarks.search.record digits      also: ring, stacked-digits

Settings are points of a Sobol sequence in the space of ``configs/<task>.yaml``; each is trained on two seeds, then the
best fifth on a third. What collapses, diverges or learns slowly stays in. The same command goes on where it was
stopped, until all is there (``--runs``: so many now). One process per task: its table is rewritten every few runs.
``infra/results/search/README.md`` says what the columns are.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import optuna
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from orchestrator.search.objective import cost, score, violations
from orchestrator.search.samplers import Sobol
from orchestrator.search.space import searched, suggest
from orchestrator.spec import Sweep, load
from tests.benchmarks.seeds import RESULTS, ROOT
from trainers.loop import train
from trainers.world import World

FOLDER = RESULTS / "search"
CONFIGURATIONS, SEEDS = 512, 2
BEST = 5
"""One in so many, the best, is trained on one more seed."""
TOGETHER = 10
"""Runs between two writings of the table."""
TASKS = {
    "digits": [
        "train.images=60_000",
        "evaluate.every_images=5_000",
        'objective.require={coverage: ">= 0.15"}',  # a third of the file's images reach .5 with 7 settings of 100 only
    ],
    "ring": [],
    "stacked-digits": [],
}
"""What is set otherwise than in the task's file: many short trainings tell more than a few long ones."""
Row = dict[str, Any]


class Run(NamedTuple):
    """A training: which settings, and the seed."""

    configuration: int
    seed: int


def main() -> None:
    """Trains what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--runs", type=int, help="at most so many now")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sweep, file = sweep_of(arguments.task), FOLDER / f"{arguments.task}.parquet"
    left = missing(sweep, read(file))[: arguments.runs]
    for start in range(0, len(left), TOGETHER):
        write(file, [row for run in left[start : start + TOGETHER] for row in rows(sweep, run)])


def sweep_of(task: str) -> Sweep:
    """The task's sweep, which ends no training before its time."""
    return load(ROOT / "configs" / f"{task}.yaml", [*TASKS[task], "health.stop=never"])


def drawn(sweep: Sweep, number: int) -> dict[str, Any]:
    """The ``number``-th point of the sequence, as settings by name."""
    return suggest(optuna.create_study(sampler=Sobol(searched(sweep), seed=0, number=number)).ask(), sweep)


def rows(sweep: Sweep, run: Run) -> Iterator[Row]:
    """A row for each evaluation of a training."""
    params = drawn(sweep, run.configuration)
    config, began = sweep.trial_config(params | {"train.seed": run.seed}), time.process_time()
    for report in train(config, World.single()):
        yield {
            **run._asdict(),
            "params": json.dumps(params),
            "images": report.images,
            "cpu_seconds": round(time.process_time() - began, 2),
            "verdict": report.health.verdict,
            **{f"metric.{name}": value for name, value in report.metrics.items()},
            **{f"signal.{name}": value for name, value in report.health.signals.items()},
            **{f"loss.{name}": value for name, value in report.losses.items()},
        }
    print(*run, f"{time.process_time() - began:.0f} s", flush=True)


def missing(sweep: Sweep, table: list[Row]) -> list[Run]:
    """All settings on one seed, then on the next: a table that is stopped early is of use. Then the best on a third."""
    known = {Run(row["configuration"], row["seed"]) for row in table}
    first = [Run(number, seed) for seed in range(SEEDS) for number in range(CONFIGURATIONS)]
    left = [run for run in first if run not in known]
    return left or [run for number in best(sweep, table) if (run := Run(number, SEEDS)) not in known]


def best(sweep: Sweep, table: list[Row]) -> list[int]:
    """The best fifth of the settings, by their mean cost at the end over the first seeds; constraints first."""
    reports: dict[Run, dict[int, dict[str, float]]] = defaultdict(dict)
    for row in table:
        if row["seed"] < SEEDS:
            measured = {name.removeprefix("metric."): v for name, v in row.items() if name.startswith("metric.")}
            reports[Run(row["configuration"], row["seed"])][row["images"]] = measured
    costs: dict[int, float] = defaultdict(float)
    for run, found in reports.items():
        value, broken = score(sweep.objective, found), sum(violations(sweep.objective, found).values()) > 0
        costs[run.configuration] += math.inf if value is None or broken else cost(sweep.objective, value)
    return sorted(sorted(costs, key=lambda number: (costs[number], number))[: len(costs) // BEST])


def read(file: Path) -> list[Row]:
    """The rows so far."""
    found: list[Row] = pq.read_table(file).to_pylist() if file.exists() else []
    return found


def write(file: Path, fresh: list[Row]) -> None:
    """Adds ``fresh`` rows, in one order whatever was recorded first."""
    table = sorted([*read(file), *fresh], key=lambda row: (row["seed"], row["configuration"], row["images"]))
    names = dict.fromkeys(name for row in table for name in row)
    columns: dict[str, Any] = {name: [row.get(name) for row in table] for name in names}
    for name, values in columns.items():
        if any(isinstance(value, float) for value in values):
            columns[name] = pa.array(values, pa.float32())
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_suffix(f".{os.getpid()}")
    pq.write_table(pa.table(columns), beside, compression="zstd")
    beside.replace(file)


if __name__ == "__main__":
    main()
