"""Protocol D2: moving digits, over seeds, beside real clips and the rivals that have real frames.

    nice python -m tests.benchmarks.families.video --seeds 3

Every finished seed is a line of infra/results/families-video.jsonl; the same command again does only what is missing,
and writes the section of infra/results/families.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

from tests.benchmarks.seeds import ROOT, Seeds, put, table
from trainers.__main__ import read_training
from trainers.config import Config
from trainers.data import Dataset, load
from trainers.families.video.judge import ClipJudge, Rival, frozen, shuffled
from trainers.metrics.frechet import frechet_distance
from trainers.metrics.moving_reader import MovingReader
from trainers.settings import build
from trainers.world import World

PAPER, ROOM = "papers/moving-digits", "families-video"
SHAPES = {"identity": ".1%", "law_residual": ".2f", "motion_ratio": ".2f", "fid": ".2f", "coverage": ".2f"}
CASES: dict[str, tuple[str, ...]] = {
    "one picture, shifted": (),
    "the same, rates of the sweep's champion": ("train.generator_lr=1.78e-3", "train.discriminator_lr=1.0e-3"),
    "every frame drawn": ("video.motion=codes",),
}
TITLE = "## D2: moving digits"
TEXT = """\
Written by `python -m tests.benchmarks.families.video`, from `families-video.jsonl`. One of scikit-learn's digits flies
straight on in 16 frames of 16x16 pixels and bounces off the walls (`configs/papers/moving-digits.yaml`). *identity*:
share of 1,000 clips in which one digit is read in every frame; *law_residual*: root mean square distance in pixels of a
path from the nearest that obeys the law; *motion_ratio*: change from frame to frame over that in real clips. FD of
clips is on features that hold their changes; that of single frames, on what is seen of each frame and where, calls
frozen and shuffled clips as good as real ones. Seconds are of a share of two busy cores, so upper bounds.

Asked for was identity >= 90 %, law residual <= 1 pixel and a motion ratio of .8 to 1.2, on three seeds of 32x32 pixels.
At 16x16, law and motion are within the bars on two seeds of three, identity on none; it rises to the end of the
training, ever more slowly. What is not read as one digit looks, by eye, like a shape between two. The third seed did
not learn the motion: at such rates seeds differ as much as settings do, which is what confirmation is for. Tried by
hand on seed 0: discriminators of 8 channels come to 56 % in 38,400 clips, and can't tell real from generated ones any
more; of 32, the discriminator wins (2 % after 19,200 clips), as it does over a generator of twice the width (4 % after
38,400). At the rates of the champion of the shipped sweep, which came to 74 and 77 % in half as many clips on two
seeds, seeds 0 and 1 come to 20% (FD 11.8) and 82% (FD 2.9). 32x32 was not tried. Frozen and shuffled clips fail, as
they should."""


def main() -> None:
    """Trains what is missing, then writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cases", nargs="*", default=list(CASES), help="which rows to train")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    seeds = Seeds(ROOM, (*SHAPES, "misfit"))
    for case in arguments.cases:
        for number in range(arguments.seeds):
            seeds.add(PAPER, CASES[case], number, case=case)
    rows = [
        [f"{case}, seed {row['seed']}", f"{row['steps']:,}", f"{row['seconds']:.0f}", *_cells(row), ""]
        for case in CASES
        for row in seeds.rows(case=case)
    ]
    head = ("", "steps", "seconds", *SHAPES, "FD of single frames")
    put(TITLE, f"{TEXT}\n\n{table(head, [*rows, *rivals()])}")


def rivals() -> Iterator[list[str]]:
    """What held-out clips score, as they are, frozen and shuffled."""
    config = build(Config, read_training(ROOT / "configs" / f"{PAPER}.yaml", []))
    data, world = load(config.data), World.single()
    judge = ClipJudge(config, data, world)
    hows: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "real clips, held out": lambda clips, rows: clips,
        "frozen": frozen,
        "shuffled": shuffled,
    }
    reader = judge._real.extractor.net
    assert isinstance(reader, MovingReader)
    for name, how in hows.items():
        apart = frechet_distance(*(_frames(reader, data, one) for one in (hows["real clips, held out"], how)))
        yield [name, "", "", *_cells(judge(Rival(data.test, how, world))), f"{apart:.2f}"]


def _cells(found: Mapping[str, float]) -> list[str]:
    return [format(found[name], shape) for name, shape in SHAPES.items()]


def _frames(reader: MovingReader, data: Dataset, how: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """What is seen of every frame of held-out clips by itself, (n, 34): the digit and where it is."""
    rows = torch.arange(len(data.test))
    clips = how(data.test[rows].floats(), rows)
    assert data.law is not None
    with torch.no_grad():
        return torch.cat((reader.hidden(clips).flatten(0, 1), data.law.paths(clips).flatten(0, 1)), 1)


if __name__ == "__main__":
    main()
