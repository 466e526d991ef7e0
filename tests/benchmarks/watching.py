"""What watching costs: free signals as a share of a step, evaluations as a share of training.

    python -m tests.benchmarks.watching [--seconds 20]

Steps of the same training with and without its signals alternate in short stretches, in an order drawn anew for each
pair, so that nothing periodic on the machine favours one; the figure is the median of the pairs' ratios. Evaluations
are timed in the shipped configurations, over the time between two of them. The table goes to
infra/results/watching.md.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from statistics import median, stdev
from unittest import mock

import torch

from tests.benchmarks.throughput import stretch
from trainers.__main__ import read_training
from trainers.config import Config
from trainers.data import load
from trainers.families.gan.training import GanTraining
from trainers.metrics import Evaluator
from trainers.players.tally import WATCHED_STEPS
from trainers.settings import build
from trainers.world import World

ROOT = Path(__file__).parents[2]
HEADER = """# What watching costs

Written by `python -m tests.benchmarks.watching`: one thread of a 2-core virtual machine (AMD EPYC). Free signals:
a stretch of steps with them over one without beside it, median of all pairs and standard error of that. Evaluation:
its time over that of the training between two.

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
    # Whole rounds of the steps that are looked at, so that every stretch has its share of them.
    rounds = max(round(0.2 / (stretch(training.step, WATCHED_STEPS))), 1)
    step, free = pairs(training, rounds * WATCHED_STEPS, seconds)
    evaluate = Evaluator(config, load(config.data), World.single())
    evaluate(training.sampler)
    start = time.perf_counter()
    evaluate(training.sampler)
    spent = time.perf_counter() - start
    between = step * config.evaluate.every_images / config.train.batch_size
    told = "in the graph" if config.train.compile else free
    return f"{1e3 * step:.2f} | {told} | {1e3 * spent:.0f} | {spent / (between + spent):.1%}"


def pairs(training: GanTraining, steps: int, seconds: float) -> tuple[float, str]:
    """Seconds a step at best, and what looking adds, in percent."""
    watched, ratios = [], []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = {}
        for looks in random.sample((True, False), 2):
            with nullcontext() if looks else without_signals():
                found[looks] = stretch(training.step, steps) / steps
        watched.append(found[True])
        ratios.append(100 * (found[True] / found[False] - 1))
    error = 1.25 * stdev(ratios) / len(ratios) ** 0.5  # of a median, where errors are normal
    return min(watched), f"{median(ratios):.1f} ± {error:.1f} %"


@contextmanager
def without_signals() -> Iterator[None]:
    """Steps that look at nothing."""
    with mock.patch.object(GanTraining, "_watched", lambda *_, **__: False):
        yield


if __name__ == "__main__":
    main()
