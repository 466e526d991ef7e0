"""Protocol P (facts in configs/papers/protocol-p.yaml): trains over seeds and prints ours beside the published rows.

    python tests/benchmarks/protocol_p.py --seeds 10            our recipe on ring and grid
    python tests/benchmarks/protocol_p.py --plain --seeds 5     the plain GAN that must lose modes

Every finished seed is a line of infra/results/protocol-p.jsonl; the same command again does only what is missing.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from trainers.config import Config  # noqa: E402
from trainers.loop import train  # noqa: E402
from trainers.settings import build, read  # noqa: E402
from trainers.world import World  # noqa: E402

RESULTS = ROOT / "infra" / "results"
LINES = RESULTS / "protocol-p.jsonl"
RECIPES = {"ours": "protocol-p.yaml", "plain": "protocol-p-plain.yaml"}
# Lin et al. 2018, table 1: mean and standard error of 10 runs of 400,000 iterations.
PUBLISHED = {
    "ring": [("GAN", "6.3±0.5", "98.2±0.2", ".45±.09"), ("PacGAN4", "7.8±0.1", "95.9±1.4", ".07±.02")],
    "grid": [("GAN", "17.3±0.8", "94.8±0.7", ".70±.07"), ("PacGAN4", "24.8±0.2", "93.6±0.6", ".04±.01")],
}
# 2,500 draws from the true mixture: 1 - exp(-4.5) lie within three standard deviations.
CEILING = {"ring": ("8", "98.9", ".0014±.0008"), "grid": ("25", "98.9", ".0048±.0014")}


def main() -> None:
    """Trains what is missing, then writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--plain", action="store_true", help="the plain GAN instead of our recipe")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    recipe = "plain" if arguments.plain else "ours"
    for seed in range(arguments.seeds):
        for data in ("ring", "grid"):
            if not any((r["recipe"], r["data"], r["seed"]) == (recipe, data, seed) for r in results()):
                keep(recipe, data, seed)
    text = "\n\n".join(table(data) for data in ("ring", "grid"))
    (RESULTS / "protocol-p.md").write_text(f"{HEADER}\n\n{text}\n")
    print(text)


def keep(recipe: str, data: str, seed: int) -> None:
    """Trains one seed and appends its last report."""
    file = ROOT / "configs" / "papers" / RECIPES[recipe]
    config = build(Config, read(file, [f"data.name={data}", f"train.seed={seed}"]))
    report = list(train(config, World.single()))[-1]
    line = {"recipe": recipe, "data": data, "seed": seed, "steps": report.images // config.train.batch_size}
    line |= {"seconds": round(report.seconds, 1)}
    line |= {name: report.metrics[name] for name in ("modes", "strict_modes", "high_quality", "reverse_kl")}
    with LINES.open("a") as file_of_lines:
        file_of_lines.write(json.dumps(line) + "\n")
    print(line, flush=True)


def results() -> list[dict[str, Any]]:
    """All seeds so far."""
    return [json.loads(line) for line in LINES.read_text().splitlines()] if LINES.exists() else []


HEADER = """# Protocol P

Written by `tests/benchmarks/protocol_p.py` from `protocol-p.jsonl`. Mean ± standard error over seeds, and the worst.
Machine: one core of a busy 2-core AMD EPYC virtual machine, so seconds are upper bounds. Published rows: Lin et al.
2018, table 1 (10 runs of 400,000 iterations). Above the ceiling a generator is too narrow."""


def table(data: str) -> str:
    """A Markdown table for one data set."""
    head = (
        f"## {data}\n\n| | seeds | iterations | seconds | modes | strict | high quality % | reverse KL | worst seed |"
    )
    lines = [head, "|" + "---|" * 9]
    for name in RECIPES:
        rows = [r for r in results() if (r["recipe"], r["data"]) == (name, data)]
        if rows:
            lines.append(summary(name, rows))
    lines += [f"| {n} (published) | 10 | 400000 | | {m} | | {h} | {k} | |" for n, m, h, k in PUBLISHED[data]]
    modes, quality, kl = CEILING[data]
    return "\n".join([*lines, f"| ideal sampler | | | | {modes} | {modes} | {quality} | {kl} | |"])


def summary(name: str, rows: list[dict[str, Any]]) -> str:
    """The row of one recipe."""
    worst = min(rows, key=lambda r: (r["strict_modes"], -r["reverse_kl"]))
    said = f"{worst['strict_modes']:.0f} strict, {100 * worst['high_quality']:.1f} %, {worst['reverse_kl']:.4f}"
    seconds = statistics.median(r["seconds"] for r in rows)
    modes, strict = spread(rows, "modes", ".1f"), spread(rows, "strict_modes", ".1f")
    quality, kl = spread(rows, "high_quality", ".1f", 100), spread(rows, "reverse_kl", ".4f")
    cells = [name, len(rows), rows[0]["steps"], f"{seconds:.0f}", modes, strict, quality, kl, said]
    return f"| {' | '.join(map(str, cells))} |"


def spread(rows: list[dict[str, Any]], name: str, shape: str, scale: float = 1.0) -> str:
    """Mean ± standard error."""
    values = [scale * r[name] for r in rows]
    error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return f"{statistics.mean(values):{shape}}±{error:{shape}}"


if __name__ == "__main__":
    main()
