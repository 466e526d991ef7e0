"""Stacked digits (facts in configs/papers/stacked-digits.yaml): four recipes over seeds, beside a perfect sampler.

    python -m tests.benchmarks.stacked_digits --seeds 5 [--recipe "dcgan + R1"]

Every finished seed is a line of infra/results/stacked-digits.jsonl; the same command again does only what is missing.
"""

from __future__ import annotations

import argparse
import statistics
from typing import Any

import torch

from tests.benchmarks.seeds import Seeds, seconds, spread, table
from trainers.config import Data
from trainers.data import load
from trainers.metrics.modes import class_report
from trainers.randomness import stream

SEEDS = Seeds("stacked-digits", ("modes", "strict_modes", "reverse_kl"))
# Optimiser of the published baseline: Adam with rates 1e-4 and 2e-4, betas (.5, .99); no average.
BASELINE = (
    *("train.loss=non_saturating", "train.r1_gamma=0", "train.r2_gamma=0", "train.beta1=0.5", "train.ema_half_life=0"),
    *("train.generator_lr=1.0e-4", "train.discriminator_lr=2.0e-4", "train.lr_schedule=constant"),
)
RECIPES = {
    "dcgan": (*BASELINE, "model.discriminator_norm=batch"),
    "dcgan + packing 4": (*BASELINE, "model.discriminator_norm=batch", "train.packing=4"),
    "dcgan + R1": (*BASELINE, "train.r1_gamma=0.1"),
    "relativistic + R1 + R2": (),
}
# Lin et al. 2018, table 3 (28x28, 500,000 iterations, 50 runs): discriminator with half the generator's channels.
PUBLISHED = [
    ("DCGAN (Metz 2017, 28x28)", "628.0±140.9", "2.58±.75"),
    ("Unrolled 10 (Metz 2017, 28x28)", "817.4±37.9", "1.43"),
    ("DCGAN (Lin 2018, 28x28)", "487.7±34.6", "2.24±.15"),
    ("PacDCGAN3 (Lin 2018, 28x28)", "866.6±12.1", ".90±.04"),
    ("PacDCGAN4 (Lin 2018, 28x28)", "820.2±25.5", "1.15±.14"),
]
SAMPLES, DRAWS = 26_000, 20
HEADER = """# Stacked digits, discriminator with half the generator's channels

Written by `python -m tests.benchmarks.stacked_digits` from `stacked-digits.jsonl`. Mean ± standard error over seeds; a
strict mode has at least half of its fair share of the 26,000 samples. Machine: one core of a busy 2-core AMD EPYC
virtual machine, so seconds are upper bounds. Published rows are of 28x28 MNIST: for the order of things only."""


def main() -> None:
    """Trains what is missing, then writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--recipe", choices=RECIPES, help="one recipe only")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for seed in range(arguments.seeds):
        for recipe in (arguments.recipe,) if arguments.recipe else RECIPES:
            SEEDS.add("papers/stacked-digits", RECIPES[recipe], seed, recipe=recipe)
    head = ("", "seeds", "iterations", "seconds", "modes", "strict", "reverse KL")
    lines: list[Any] = [line(recipe) for recipe in RECIPES if SEEDS.rows(recipe=recipe)]
    lines += [(name, "", "", "", modes, "", kl) for name, modes, kl in PUBLISHED]
    SEEDS.write(f"{HEADER}\n\n{table(head, [*lines, perfect_sampler()])}")


def line(recipe: str) -> list[Any]:
    """The line of one recipe."""
    rows = SEEDS.rows(recipe=recipe)
    numbers = spread(rows, "modes", ".1f"), spread(rows, "strict_modes", ".1f"), spread(rows, "reverse_kl", ".4f")
    return [recipe, len(rows), rows[0]["steps"], seconds(rows), *numbers]


def perfect_sampler() -> list[Any]:
    """The same measures of real stacks, drawn anew from the training digits."""
    labels = load(Data(name="digits")).train[torch.arange(1437)].labels
    assert labels is not None
    found = []
    for draw in range(DRAWS):
        chosen = torch.randint(len(labels), (SAMPLES, 3), generator=stream("perfect sampler", draw))
        found.append(class_report(labels[chosen] @ torch.tensor([100, 10, 1]), 1000))
    modes, strict, kl = ([f[name] for f in found] for name in ("modes", "strict_modes", "reverse_kl"))
    told = f"{statistics.mean(kl):.4f}±{statistics.stdev(kl) / DRAWS**0.5:.4f}"
    return ["perfect sampler", DRAWS, "", "", f"{statistics.mean(modes):.1f}", f"{statistics.mean(strict):.1f}", told]


if __name__ == "__main__":
    main()
