"""Protocol T1: a GAN of text from scratch, beside its twin of maximum likelihood at several temperatures.

    python -m tests.benchmarks.families.text --seeds 3 --out /tmp/grammar

Every finished seed is lines of infra/results/families-text.jsonl; the same command again does only what is missing,
from the checkpoints below ``--out``, and writes the section of infra/results/families.md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import torch

from tests.benchmarks.seeds import ROOT, Row, Seeds, put, table
from trainers import launch
from trainers.__main__ import read_training
from trainers.config import Config
from trainers.data import load
from trainers.data.lines import strings_of
from trainers.families import FAMILIES
from trainers.metrics.text import Written, of_language, of_strings
from trainers.models.sequences import LstmGenerator
from trainers.settings import build
from trainers.state import load_generator, newest
from trainers.world import World

ROOM = "families-text"
METHODS = ("gan", "mle")
TEMPERATURES = (0.8, 0.6, 0.5)
SHAPES = {"tv": ".3f", "valid": ".3f", "hit": ".3f", "entropy": ".2f", "distinct": ".3f", "ngram_tv": ".3f"}
TITLE = "## T1: text of a grammar"
TEXT = """\
Written by `python -m tests.benchmarks.families.text`, from `families-text.jsonl`. Arithmetic expressions of at most
three operators, 357 strings, entropy 1.62; 10,000 to train on (`configs/papers/grammar.yaml`). *tv*: exact total
variation distance of 2,000 samples to the truth, where all invalid strings are one; *hit*: probability of the strings
that came up; at the end of training, not the best on the way. The GAN is trained from scratch; its rates were chosen on
seed 0, in three tries. The twin of maximum likelihood is the same network, given the same batches; its temperature
divides logits. Seconds are of a share of two busy cores, so upper bounds.

Asked for was tv <= .09 and valid >= .96 on every seed: reached. The twin at temperature .5 loses, as it should, though
it writes nothing invalid. At temperature 1 it wins: it is at the floor, which the GAN is not. By a sweep, tv <= .07 was
asked for: `configs/grammar.yaml` (6 trials, 2026-11-28, 20 minutes on a busy machine) ends at a trial with .059 and
.069 on two fresh seeds, median .064 (medians of the last three evaluations); reached. In the search it had .071, and
another .063, which came to .075 and .078 on fresh seeds. With 192,000 images and one fresh seed of the first alone it
had ended at .068, and .074 on the seed. Promoted without force."""


def main() -> None:
    """Trains what is missing, then writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for method in METHODS:
        for seed in range(arguments.seeds):
            if not Seeds(ROOM, ()).rows(row=method, seed=seed):
                with Seeds(ROOM, ()).file.open("a") as lines:
                    lines.writelines(json.dumps(row) + "\n" for row in trained(method, seed, arguments.out))
    rows = [*METHODS, *(f"mle at T {temperature}" for temperature in TEMPERATURES)]
    cells = [line(row, found) for row in rows for found in Seeds(ROOM, ()).rows(row=row)]
    put(TITLE, f"{TEXT}\n\n{table(('', 'seed', 'seconds', *SHAPES), [*cells, *floors()])}")


def trained(method: str, seed: int, out: Path) -> Iterator[Row]:
    """One training, and of likelihood what each temperature makes of it."""
    settings = read_training(
        ROOT / "configs" / "papers" / "grammar.yaml", [f"text.method={method}", f"train.seed={seed}"]
    )
    config, folder = build(Config, settings), out / f"{method}-{seed}"
    list(launch.run(config, 1, folder))
    last = json.loads((folder / "reports.jsonl").read_text().splitlines()[-1])
    yield {"row": method, "seed": seed, "seconds": last["seconds"], **{name: last["metrics"][name] for name in SHAPES}}
    for temperature in TEMPERATURES if method == "mle" else ():
        checkpoint = newest(folder / "checkpoints")
        assert checkpoint is not None
        _, generator = load_generator(checkpoint)
        assert isinstance(generator, LstmGenerator)
        for parameter in generator.head.parameters():
            parameter.div_(temperature)
        found = FAMILIES["text"].open().judge(config, load(config.data), World.single(), None)(generator)
        yield {"row": f"mle at T {temperature}", "seed": seed, **{name: found[name] for name in SHAPES}}


def line(name: str, row: Row) -> list[str]:
    """Of one seed."""
    seconds = f"{row['seconds']:.0f}" if "seconds" in row else ""
    return [name, str(row["seed"]), seconds, *(format(row[measure], shape) for measure, shape in SHAPES.items())]


def floors() -> Iterator[list[str]]:
    """What as many strings from the grammar itself score."""
    data = load(build(Config, read_training(ROOT / "configs" / "papers" / "grammar.yaml", [])).data)
    drawn = strings_of(data.test[torch.arange(2_000)].values).tolist()
    found = of_language(Written(drawn, [], [], data.language)) | of_strings(Written(drawn, [], [], None))
    yield ["2,000 real strings", "", "", *(format(found[m], s) if m in found else "" for m, s in SHAPES.items())]


if __name__ == "__main__":
    main()
