"""Makes the labelled set: one JSON file per run, then one table. The same command goes on where it was stopped.

    nice -n 10 env OMP_NUM_THREADS=1 python -m tests.benchmarks.collapse.make OUT [--group dev] [--seeds 2]
    ... --data digits stacked-digits      what infra/results/unknown.parquet holds
    ... --rewind 3      the runs that bad settings make fail, once more with health.rewind

A run takes 10 to 30 seconds of one core. ``OUT/signals.parquet`` has a row per report of each run: what the detector
may see (``loss.``, ``signal.``, ``metric.``, and ``blind.``: the same measures where modes are not known and features
come from random convolutions) and what is true (``truth.``).
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from tests.benchmarks.collapse.recipes import HEALTHY, RECIPES, STEPS, Recipe, configuration
from tests.benchmarks.collapse.truth import truth
from trainers.config import Config
from trainers.data import Dataset
from trainers.loop import Run
from trainers.metrics import Evaluator
from trainers.world import World

Row = dict[str, Any]
HEALTHY_SEEDS = 2
"""Healthy runs per seed of a failing one: a false-alarm rate of 2 % needs many of them."""


def main() -> None:
    """Runs what is missing, then writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--group", choices=("dev", "held-out"), help="one group of causes only")
    parser.add_argument("--data", nargs="+", choices=STEPS, default=list(STEPS), help="these sets only")
    parser.add_argument("--rewind", type=int, default=0, metavar="N", help="health.rewind; settings' failures only")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for data, cause, seed in planned(arguments.data, arguments.group, arguments.seeds):
        if arguments.rewind and (cause in HEALTHY or RECIPES[cause].act):
            continue
        file = arguments.out / f"{data}--{cause.replace(' ', '_').replace(':', '')}--{seed}.json"
        if not file.exists():
            start = time.perf_counter()
            text = json.dumps(list(rows(data, cause, RECIPES[cause], seed, arguments.rewind)))
            file.with_suffix(".new").write_text(text)
            file.with_suffix(".new").replace(file)
            print(f"{file.stem} {time.perf_counter() - start:.0f} s", flush=True)
    write_table(arguments.out)


def planned(sets: list[str], group: str | None, seeds: int) -> Iterator[tuple[str, str, int]]:
    """Every run as (data set, cause, seed), seed by seed and shuffled: a set stopped early is still balanced."""
    for seed in range(seeds):
        runs = [
            (data, cause, seed + 100 * each)
            for data in sets
            for cause, recipe in RECIPES.items()
            if group in (None, recipe.group)
            for each in range(HEALTHY_SEEDS if cause in HEALTHY else 1)
        ]
        yield from random.Random(seed).sample(runs, len(runs))


def rows(data: str, cause: str, recipe: Recipe, seed: int, rewind: int) -> Iterator[Row]:
    """Trains one run to its end, whatever becomes of it."""
    config = configuration(data, recipe, seed, rewind)
    run = Run(config, World.single())
    blind = blind_evaluator(config, run.data)
    acted = recipe.act is None
    while run.training.images < config.train.images:
        if not acted and recipe.act is not None and run.training.images >= recipe.at * config.train.images:
            recipe.act(run)
            acted = True
        report = run.to_next_report()
        seen = {"loss": report.losses, "signal": report.health.signals, "metric": report.metrics}
        seen["blind"] = blind(run.training.sampler)
        seen["truth"] = truth(run.training.sampler, run.data, config.model.latent_dim)
        yield {
            "data": data, "cause": cause, "group": recipe.group, "seed": seed, "acted_at": recipe.at,
            "images": report.images, "budget": config.train.images, "seconds": report.seconds,
            **{f"{kind}.{name}": value for kind, values in seen.items() for name, value in values.items()},
        }  # fmt: skip


def blind_evaluator(config: Config, data: Dataset) -> Evaluator:
    """Measures a generator as one of data that nobody knows anything of: no centres, no classifier."""
    extractor = "random-conv" if data.space.is_image else "raw"
    evaluate = config.evaluate.model_copy(update={"extractor": extractor})
    unknown = replace(data, name="unknown", space=replace(data.space, centers=(), std=0.0))
    return Evaluator(config.model_copy(update={"evaluate": evaluate}), unknown, World.single())


def write_table(out: Path) -> None:
    """All finished runs as one small Parquet file."""
    table = [row for file in sorted(out.glob("*.json")) for row in json.loads(file.read_text())]
    names = sorted({name for row in table for name in row})
    columns = {name: [row.get(name) for row in table] for name in names}
    for name, values in columns.items():
        if any(isinstance(value, float) for value in values):
            columns[name] = pa.array(values, pa.float32())
    pq.write_table(pa.table(columns), out / "signals.parquet", compression="zstd")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
