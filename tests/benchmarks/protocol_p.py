"""Protocol P (facts in configs/papers/protocol-p.yaml): trains over seeds and prints ours beside the published rows.

    python -m tests.benchmarks.protocol_p --seeds 10            our recipe on ring and grid
    python -m tests.benchmarks.protocol_p --plain --seeds 5     the plain GAN that must lose modes

Every finished seed is a line of infra/results/protocol-p.jsonl; the same command again does only what is missing.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch

from tests.benchmarks.seeds import Row, Seeds, seconds, spread, table

SEEDS = Seeds("protocol-p", ("modes", "strict_modes", "high_quality", "reverse_kl"))
PAPERS = {"ours": "papers/protocol-p", "plain": "papers/protocol-p-plain"}
DATA = ("ring", "grid")
# Lin et al. 2018, table 1: mean and standard error of 10 runs of 400,000 iterations.
PUBLISHED = {
    "ring": [("GAN", "6.3±0.5", "98.2±0.2", ".45±.09"), ("PacGAN4", "7.8±0.1", "95.9±1.4", ".07±.02")],
    "grid": [("GAN", "17.3±0.8", "94.8±0.7", ".70±.07"), ("PacGAN4", "24.8±0.2", "93.6±0.6", ".04±.01")],
}
# 2,500 draws from the true mixture: 1 - exp(-4.5) lie within three standard deviations.
CEILING = {"ring": ("8", "98.9±0.2", ".0014±.0008"), "grid": ("25", "98.9±0.2", ".0048±.0014")}
HEADER = """# Protocol P

Written by `python -m tests.benchmarks.protocol_p` from `protocol-p.jsonl`. Mean ± standard error over seeds, and the
worst seed (the ideal sampler's ± is the standard deviation of one run of 2,500 samples). Machine: one core of a busy
2-core AMD EPYC virtual machine, so seconds are upper bounds. Published rows: Lin et al. 2018, table 1 (10 runs of
400,000 iterations). Above the ceiling a generator is too narrow."""


def main() -> None:
    """Trains what is missing, then writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--plain", action="store_true", help="the plain GAN instead of our recipe")
    parser.add_argument("--data", choices=DATA, help="one data set only")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    recipe = "plain" if arguments.plain else "ours"
    for seed in range(arguments.seeds):
        for data in (arguments.data,) if arguments.data else DATA:
            SEEDS.add(PAPERS[recipe], [f"data.name={data}"], seed, recipe=recipe, data=data)
    SEEDS.write("\n\n".join([HEADER, *map(section, DATA)]))


def section(data: str) -> str:
    """The table of one data set."""
    head = ("", "seeds", "iterations", "seconds", "modes", "strict", "high quality %", "reverse KL", "worst seed")
    found = {name: SEEDS.rows(recipe=name, data=data) for name in PAPERS}
    lines: list[Any] = [line(name, rows) for name, rows in found.items() if rows]
    lines += [(f"{n} (published)", 10, 400_000, "", m, "", h, k, "") for n, m, h, k in PUBLISHED[data]]
    modes, quality, kl = CEILING[data]
    return f"## {data}\n\n{table(head, [*lines, ('ideal sampler', '', '', '', modes, modes, quality, kl, '')])}"


def line(name: str, rows: list[Row]) -> list[Any]:
    """The line of one recipe."""
    worst = min(rows, key=lambda r: (r["strict_modes"], -r["reverse_kl"]))
    said = f"{worst['strict_modes']:.0f} strict, {100 * worst['high_quality']:.1f} %, {worst['reverse_kl']:.4f}"
    modes, strict = spread(rows, "modes", ".1f"), spread(rows, "strict_modes", ".1f")
    quality, kl = spread(rows, "high_quality", ".1f", 100), spread(rows, "reverse_kl", ".4f")
    return [name, len(rows), rows[0]["steps"], seconds(rows), modes, strict, quality, kl, said]


if __name__ == "__main__":
    main()
