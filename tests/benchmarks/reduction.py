"""How the ranks of a training share their gradients: DDP's hooks beside one flattened all-reduce by hand.

    python -m tests.benchmarks.reduction [--seconds 60] [--ranks 2]

The same training without penalties, where both are right, over gloo with one thread a rank. Short stretches alternate;
the ratio is of the medians. The table goes to infra/results/reduction.md.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.multiprocessing.spawn import spawn

from tests.benchmarks.seeds import RESULTS, table
from tests.benchmarks.throughput import MLP, data_of, stretch
from trainers.config import Config
from trainers.families.gan.training import GanTraining
from trainers.world import World

CASES: dict[str, dict[str, Any]] = {
    "dcgan 32x32, width 16, batch 64": {
        "data": {"name": "images", "path": "noise", "resolution": 32},
        "model": {"width": 16},
        "train": {"batch_size": 64},
    },
    "dcgan 32x32, width 64, batch 64": {
        "data": {"name": "images", "path": "noise", "resolution": 32},
        "model": {"width": 64},
        "train": {"batch_size": 64},
    },
    "2-D MLP 3x128, batch 512": {"data": {"name": "grid"}, "model": MLP, "train": {"batch_size": 512}},
}
HEADER = """# Sharing gradients over ranks

Written by `python -m tests.benchmarks.reduction`: {ranks} ranks over gloo on a 2-core virtual machine (AMD EPYC), one
thread each, median of alternating stretches.

"""


class ByHand(World):
    """Ranks that never use DistributedDataParallel."""

    def wrap(self, module: nn.Module) -> nn.Module:
        """``module`` itself: its gradients are averaged when the backward is complete."""
        return module


def main() -> None:
    """Measures every case and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="per case")
    parser.add_argument("--ranks", type=int, default=2)
    arguments = parser.parse_args()
    head = ("case", "parameters", "DDP's hooks, ms a step", "by hand, ms a step", "by hand / hooks")
    lines = []
    for name, groups in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            given = (arguments.ranks, Path(folder), Config.model_validate(groups), arguments.seconds)
            spawn(measure, given, nprocs=arguments.ranks)  # type: ignore[no-untyped-call]
            parameters, hooks, hand = torch.load(Path(folder) / "found")
        lines.append((name, f"{parameters:,}", f"{1e3 * hooks:.2f}", f"{1e3 * hand:.2f}", f"{hand / hooks:.2f}"))
        print(lines[-1], flush=True)
    text = HEADER.format(ranks=arguments.ranks) + table(head, lines)
    (RESULTS / "reduction.md").write_text(text + "\n")


def measure(rank: int, ranks: int, folder: Path, config: Config, seconds: float) -> None:
    """One rank; the first writes the count of parameters and both medians to ``folder/found``."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meet'}", rank=rank, world_size=ranks)
    worlds = World(rank, ranks, torch.device("cpu")), ByHand(rank, ranks, torch.device("cpu"))
    data = data_of(config)
    trainings = [GanTraining(config, data, world) for world in worlds]
    times: list[list[float]] = [[], []]
    for training in trainings:
        stretch(training.step, 10)
    end = time.monotonic() + seconds
    while not worlds[0].any(time.monotonic() > end):
        for training, found in zip(trainings, times, strict=True):
            found.append(stretch(training.step, 10) / 10)
    if rank == 0:
        players = trainings[0].players
        count = sum(p.numel() for net in (players.generator, players.discriminator) for p in net.parameters())
        torch.save((count, *map(median, times)), folder / "found")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
