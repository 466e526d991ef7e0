"""How long a slot takes from one leg to the next, against Ray's documented pattern, in one run.

    python -m tests.benchmarks.turnaround [--legs 12] [--trials 3] [--out infra/results/turnaround.json]

Ours: legs of one trial each on one warm gang of two ranks; from the last report of a leg to the end of the first step
of the next (one step of 64 images, its report without measures included, so the figure is an upper bound). Peer:
"TorchTrainer inside a function trainable" (Ray 2.60, user guide "Hyperparameter optimization"), the same two-rank
training; from the last report of one trial to the end of the first step of the next. The two alternate in blocks;
medians and the ratio are printed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from orchestrator.artifacts import open_store
from orchestrator.execution.environment import prepare
from orchestrator.execution.order import GangSpec, LegOrder
from tests.benchmarks.results import tell
from trainers.config import Config

CONFIG = Config.model_validate(
    {
        "data": {"name": "digits"},
        "model": {"generator": "mlp", "discriminator": "mlp", "width": 128, "depth": 2},
        "train": {"images": 1_280, "batch_size": 64},
        "evaluate": {"every_images": 64, "samples": 64, "metrics": ["fid"]},
        "health": {"stop": "never"},
    }
)
STEPS = 20


class Legs:
    """Hands out so many legs of different trials, and notes when each report was made in the worker."""

    def __init__(self, number: int) -> None:
        self.left, self.times = number, dict[str, list[float]]()

    def next_leg(self) -> tuple[str, LegOrder] | Literal["wait", "done"]:
        if self.left == 0:
            return "done"
        self.left -= 1
        name = f"leg-{self.left}"
        return name, LegOrder(CONFIG.model_dump(mode="json"), CONFIG.train.images, name, ())

    def moved(self, images: Mapping[str, int]) -> None: ...

    def has_more(self) -> bool:
        return self.left > 0

    def heard(self, order: LegOrder, report: dict[str, Any]) -> None:
        self.times.setdefault(order.prefix, []).append(report["timestamp"])

    def ended(self, order: LegOrder) -> None: ...

    def failed(self, order: LegOrder, error: Exception) -> None:
        raise error

    def unwanted(self, prefix: str) -> bool:
        return False

    def stopping(self) -> bool:
        return False

    def gaps(self) -> list[float]:
        """Last report of a leg to first report of the next."""
        spans = sorted(self.times.values())
        return [after[0] - before[-1] for before, after in pairwise(spans)]


def ours(legs: int, folder: Path) -> list[float]:
    from orchestrator.execution.slots import Slots
    from orchestrator.execution.tuner import run_legs

    hand = Legs(legs)
    gang = GangSpec(2, 1, 0, open_store(str(folder / "store"), folder), str(folder / "cache"))
    run_legs(hand, gang, Slots(gang, 1), str(folder / "ray"), "turnaround")
    return hand.gaps()


def peer(trials: int, folder: Path) -> list[float]:
    """Ray's documented pattern with the same training in its workers; times come through files, one per trial."""
    import ray.train
    from ray import tune
    from ray.train.torch import TorchTrainer

    times = folder / "times"
    times.mkdir()

    def loop(config: dict[str, Any]) -> None:
        import torch.distributed as dist

        from trainers.loop import train
        from trainers.world import World

        world = World(dist.get_rank(), dist.get_world_size(), __import__("torch").device("cpu"))
        moments = []
        for _ in train(Config.model_validate(config["config"]), world):
            moments.append(time.time())
        if world.rank == 0:
            Path(config["file"]).write_text(json.dumps([moments[0], moments[-1]]))
        ray.train.report({"done": True})

    def driver(config: dict[str, Any]) -> None:
        file = str(times / f"{tune.get_context().get_trial_id()}.json")
        TorchTrainer(
            loop,
            train_loop_config={"config": CONFIG.model_dump(mode="json"), "file": file},
            scaling_config=ray.train.ScalingConfig(num_workers=2, resources_per_worker={"CPU": 0.9}),
            run_config=ray.train.RunConfig(storage_path=str(folder / "train"), name=config["name"]),
        ).fit()

    tune.Tuner(
        tune.with_resources(driver, {"CPU": 0.2}),
        param_space={"name": tune.grid_search([f"t{i}" for i in range(trials)])},
        tune_config=tune.TuneConfig(max_concurrent_trials=1),
        run_config=tune.RunConfig(storage_path=str(folder / "tune"), verbose=0),
    ).fit()
    spans = sorted(json.loads(file.read_text()) for file in times.glob("*.json"))
    return [after[0] - before[1] for before, after in pairwise(spans)]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--legs", type=int, default=12, help="of ours, per block")
    options.add_argument("--trials", type=int, default=3, help="of the peer, per block")
    options.add_argument("--blocks", type=int, default=2)
    options.add_argument("--out", type=Path)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as root:
        os.environ["GANSWEEP_CACHE"] = f"{root}/cache"
        prepare(None, Path(root) / "token")
        from orchestrator.execution.cluster import cluster

        mine: list[float] = []
        theirs: list[float] = []
        for block in range(chosen.blocks):
            with cluster(None):
                folder = Path(root) / f"{block}"
                folder.mkdir()
                mine += ours(chosen.legs, folder)
                theirs += peer(chosen.trials, folder)
    result = {
        "ours_median_s": round(statistics.median(mine), 4),
        "ours_max_s": round(max(mine), 4),
        "ours_turns": len(mine),
        "peer_median_s": round(statistics.median(theirs), 2),
        "peer_turns": len(theirs),
        "ratio": round(statistics.median(theirs) / statistics.median(mine), 1),
    }
    tell(result, chosen.out)


if __name__ == "__main__":
    main()
