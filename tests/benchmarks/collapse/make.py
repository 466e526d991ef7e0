"""Makes the labelled set: one JSON file per run, then one table. The same command goes on where it was stopped.

    nice -n 10 env OMP_NUM_THREADS=1 python -m tests.benchmarks.collapse.make OUT --group dev

A run takes 5 to 30 seconds of one core. ``OUT/signals.parquet`` has a row per report of each run: what the detector may
see (``loss.``, ``signal.``, and the measures of both generators: ``metric.`` of the averaged one and ``raw.`` of the
plain one; ``blind.`` and ``blind_raw.`` are the same where modes are not known and features come from random
convolutions) and, at up to a dozen reports and the last three, what is true (``truth.``).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from tests.benchmarks.collapse.plan import Plan, gan
from tests.benchmarks.collapse.truth import truth
from trainers.config import Config
from trainers.data import Dataset
from trainers.loop import Run
from trainers.metrics import Evaluator
from trainers.world import World

Row = dict[str, Any]
BUILT_IN = ("ring", "grid", "digits", "stacked-digits")
LAST = 3


def main() -> None:
    """Runs what is missing, then writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("out", type=Path)
    parser.add_argument("--group", choices=("dev", "held-out", "second", "longer"), required=True)
    parser.add_argument("--part", default="0/1", metavar="I/N", help="every N-th run from I, to share the work")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    start, step = map(int, arguments.part.split("/"))
    for plan in planned(arguments.group)[start::step]:
        file = arguments.out / f"{plan.key}.json"
        if not file.exists():
            began = time.perf_counter()
            text = json.dumps(list(rows(plan)))
            file.with_suffix(".new").write_text(text)
            file.with_suffix(".new").replace(file)
            print(f"{file.stem} {time.perf_counter() - began:.0f} s", flush=True)
    write_table(arguments.out)


def planned(group: str) -> list[Plan]:
    """Every run of a group, in an order in which a set that is stopped early is still balanced."""
    if group == "held-out":
        from tests.benchmarks.collapse.held_out import PLANS
    elif group == "second":
        from tests.benchmarks.collapse.second import PLANS
    elif group == "longer":
        from tests.benchmarks.collapse.longer import PLANS
    else:
        from tests.benchmarks.collapse.development import PLANS
    return PLANS


def rows(plan: Plan) -> Iterator[Row]:
    """Trains one run to its end, whatever becomes of it."""
    config = plan.config
    run = Run(config, World.single())
    blind = blind_evaluator(config, run.data) if run.data.name in BUILT_IN else None
    acted = plan.act is None
    reports = -(-config.train.images // config.evaluate.every_images)
    number = 0
    while run.training.images < config.train.images:
        if not acted and plan.act is not None and run.training.images >= plan.at * config.train.images:
            plan.act(run)
            acted = True
        report = run.to_next_report()
        number += 1
        average, plain = run.training.sampler, gan(run).players.generator.eval()
        seen = {"loss": report.losses, "signal": report.health.signals, "metric": report.metrics}
        seen["raw"] = run.evaluate(plain)
        if blind:
            seen |= {"blind": blind(average), "blind_raw": blind(plain)}
        if number > reports - LAST or number % -(-reports // 12) == 0:
            seen["truth"] = truth(average, run.data, config)
        plain.train()
        yield {
            "data": run.data.name, "cause": plan.cause, "group": plan.group, "seed": plan.number,
            "acted_at": plan.at, "images": report.images, "budget": config.train.images, "seconds": report.seconds,
            "train": config.train.model_dump_json(), "model": config.model.model_dump_json(),
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
