"""One training without the orchestrator.

    python -m trainers configs/digits.yaml --out runs/digits
    torchrun --nproc-per-node 2 -m trainers configs/digits.yaml --out runs/digits

The same command again goes on from the newest checkpoint in ``--out``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import torch
import torch.distributed as dist

from trainers import launch
from trainers.check import problems
from trainers.config import Config
from trainers.errors import DataError, TrainerError, UnusableSettingError
from trainers.reading import owncode
from trainers.report import Report, line
from trainers.settings import Document, SettingsError, build, read
from trainers.watching.shown import shown
from trainers.watching.watcher import Watcher
from trainers.world import World, leave

# What else a sweep file holds; one training has no use for it.
OF_A_SWEEP = (
    "name",
    "search",
    "objective",
    "rungs",
    "population",
    "confirm",
    "budget",
    "resources",
    "tracking",
    "artifacts",
)


def main() -> int:
    """Exit status: 0 done, 1 the training failed, 2 the user's input is wrong, 130 interrupted."""
    arguments = _arguments()
    try:
        config = _config(arguments.file, arguments.set, _ranks(arguments))
        with shown(config.train.images, arguments.json) if _is_first() else nullcontext(Watcher()) as watcher:
            for report in _reports(config, arguments, watcher):
                sys.stdout.write(_line(report, arguments.json) + "\n")
                sys.stdout.flush()
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except (UnusableSettingError, DataError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except TrainerError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the same command goes on from the last checkpoint\n")
        return 130
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m trainers", description="one training without the orchestrator")
    parser.add_argument("file", type=Path, help="YAML settings; the sections of a sweep file that search are ignored")
    parser.add_argument("--set", action="append", default=[], metavar="a.b=v", help="a value that overrides the file's")
    parser.add_argument("--out", type=Path, help="where checkpoints, reports and pictures go, and where to resume from")
    parser.add_argument("--ranks", type=int, default=1, help="local processes (torchrun brings its own)")
    parser.add_argument("--json", action="store_true", help="a JSON line per report")
    return parser.parse_args()


def _config(file: Path, overrides: list[str], ranks: int) -> Config:
    document = read_training(file, overrides)
    config = build(Config, document)
    found = [document.problem(where, message) for where, message in problems(config, ranks, torch.cuda.is_available())]
    if found:
        raise SettingsError(str(file), found)
    return config


def read_training(file: Path, overrides: list[str]) -> Document:
    """What a file, which may be a sweep's, says of one training."""
    document = read(file, overrides)
    owncode.gather(document, file.parent)
    for name in OF_A_SWEEP:
        document.values.pop(name, None)
    return document


def _ranks(arguments: argparse.Namespace) -> int:
    return World.from_env().size if dist.is_torchelastic_launched() else int(arguments.ranks)


def _is_first() -> bool:
    """Of what ``torchrun`` starts, only rank 0 speaks."""
    return not dist.is_torchelastic_launched() or World.from_env().rank == 0


def _reports(config: Config, arguments: argparse.Namespace, watcher: Watcher) -> Iterator[Report]:
    if dist.is_torchelastic_launched():
        return _under_torchrun(config, arguments.out, watcher)
    return launch.run(config, arguments.ranks, arguments.out, watcher=watcher)


def _under_torchrun(config: Config, out: Path | None, watcher: Watcher) -> Iterator[Report]:
    world = World.from_env()
    dist.init_process_group("nccl" if world.device.type == "cuda" else "gloo")
    if world.device.type == "cuda":
        torch.cuda.set_device(world.device)
    newest = launch.resume_point(out) if out is not None and world.rank == 0 else None
    found = world.agree(str(newest) if newest else None)
    try:
        if world.any(bool(found) and not Path(found).is_dir()):
            raise TrainerError(
                f"{found}: not every node sees this checkpoint; give all nodes one shared folder as --out"
            )
        for report in launch.recorded(config, world, Path(found) if found else None, out, watcher):
            if world.rank == 0:
                yield report
    finally:
        leave()


def _line(report: Report, as_json: bool) -> str:
    if as_json:
        return line(report.as_dict())
    numbers = {**{f"loss/{name}": value for name, value in report.losses.items()}, **report.metrics}
    told = "  ".join(f"{name} {value:.4g}" for name, value in numbers.items())
    return f"{report.images} images  {report.seconds:.1f} s  {told}  {report.health.verdict}"


if __name__ == "__main__":
    raise SystemExit(main())
