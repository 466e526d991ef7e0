"""What watching costs: free signals as a share of a step, evaluations as a share of training.

    python -m tests.benchmarks.watching [--seconds 20]

Steps of the same training with and without its signals alternate in short stretches; the ratio is of the medians.
Evaluations are timed in the shipped configurations, over the time between two of them. The table goes to
infra/results/watching.md.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from unittest import mock

import torch

from tests.benchmarks.throughput import stretch
from trainers.__main__ import read_training
from trainers.config import Config
from trainers.data import load
from trainers.gan import GanTraining
from trainers.metrics import Evaluator
from trainers.settings import build
from trainers.world import World

ROOT = Path(__file__).parents[2]
HEADER = """# What watching costs

Written by `python -m tests.benchmarks.watching`: one thread of a 2-core virtual machine (AMD EPYC). Free signals:
median stretch of steps with them over median stretch without. Evaluation: its time over that of the training between
two.

"""


def main() -> None:
    """Measures every shipped configuration and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20, help="per configuration")
    seconds = parser.parse_args().seconds
    torch.set_num_threads(1)
    lines = ["| configuration | ms a step | free signals | ms an evaluation | share of time |", "|---|---|---|---|---|"]
    for file in sorted((ROOT / "configs").rglob("*.yaml")):
        config = build(Config, read_training(file, []))
        lines.append(f"| {file.relative_to(ROOT)} | {measured(config, seconds)} |")
        print(lines[-1], flush=True)
    (ROOT / "infra" / "results" / "watching.md").write_text(HEADER + "\n".join(lines) + "\n")


def measured(config: Config, seconds: float) -> str:
    """The cells of one configuration."""
    training = GanTraining(config, load(config.data), World.single())
    stretch(training.step, 20)
    steps = max(int(0.1 / (stretch(training.step, 10) / 10)), 1)
    watched, blind = [], []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        watched.append(stretch(training.step, steps) / steps)
        if not config.train.compile:  # there, signals are part of the graph
            with without_signals():
                blind.append(stretch(training.step, steps) / steps)
    evaluate = Evaluator(config, load(config.data), World.single())
    evaluate(training.sampler)
    start = time.perf_counter()
    evaluate(training.sampler)
    spent = time.perf_counter() - start
    between = min(watched) * config.evaluate.every_images / config.train.batch_size
    free = f"{median(watched) / median(blind) - 1:.1%}" if blind else "in the graph"
    return f"{1e3 * min(watched):.2f} | {free} | {1e3 * spent:.0f} | {spent / (between + spent):.1%}"


@contextmanager
def without_signals() -> Iterator[None]:
    """Steps that look at nothing."""
    with mock.patch.object(GanTraining, "_watched", lambda *_, **__: False):
        yield


if __name__ == "__main__":
    main()
