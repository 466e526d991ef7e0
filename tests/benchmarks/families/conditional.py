"""Protocols of conditional generators over seeds, each beside its bar, the rival that must lose and the floor.

    python -m tests.benchmarks.families.conditional circle --seeds 3
    python -m tests.benchmarks.families.conditional scenes --seeds 3 --out /tmp/trainings
    python -m tests.benchmarks.families.conditional faces --seeds 3 --out /tmp/trainings

Every finished seed is a line of infra/results/conditional.jsonl; the same command again does only what is missing, and
goes on with a training that was killed where there is ``--out``.
The tables are a section of infra/results/families.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import torch

from tests.benchmarks.seeds import Seeds, put, seconds, table

HEAD = "## Conditional"
TOLD = "Written from `conditional.jsonl`. Seconds of training are of a core of a busy virtual machine, so upper bounds."

CIRCLE = """\
Squared 2-Wasserstein distance to the true Gaussian, mean over 360 angles of 100 points (Ding 2021, CcGAN). Rates,
penalties and `n_dis` were chosen on seed 0, in about ten tries.

By a sweep, 5e-5 was asked for, and is not reached: `configs/circular-gaussians.yaml` was stopped in its fourteenth
trial of 18, before confirmation; the best three of those trained to the end came to 6.4e-5, 6.5e-5 and 6.8e-5, all
with a discriminator of width 256. What is left is the spread along the radius: a standard deviation of .0145 to
.0155, where training points have .0195; means are off by 1e-5 to 3e-5. By hand, on seed 0, nothing ended under
8.2e-5: twice the images 8.2e-5, penalties that fall to a hundredth 9.0e-5, projection 1.6e-4; a maxout discriminator
stood at 1.0e-3 after half of the images, its spread too large. All angles share the radius, so it is not learned by
heart; believed to be the limit is that the discriminator cannot tell such widths of so thin a ring apart."""
COST = (
    "Of 32 images, forward and backward take a core that is free 38 ms in the generator, 42 in the discriminator and "
    "128 there with penalties, all with 8 channels; a generator of 12 channels makes it 8 ms an image, 22 minutes for "
    "160,000."
)


class Protocol(NamedTuple):
    """A configuration, what is told of its last report (measure, format, the bar), and who else was measured:
    name and a cell for each measure.
    """

    title: str
    paper: str
    measures: tuple[tuple[str, str, str], ...]
    others: tuple[tuple[str, ...], ...]
    note: str = ""


PROTOCOLS = {
    "circle": Protocol(
        "C1: circular Gaussians, angles that were never trained on",
        "papers/circular-gaussians",
        (("w2", ".3g", "<= 1e-4"), ("worst_w2", ".3g", "")),
        (("perfect sampler", "1.45e-05", ""), ("points of the nearest training angle", "2.94e-04", "")),
        CIRCLE,
    ),
    "scenes": Protocol(
        "C2: weather scenes, 64x64",
        "weather-scenes",
        (
            ("attribute_accuracy", ".3f", ">= .95"),
            ("worst_attribute", ".3f", ""),
            ("attribute_r2", ".3f", ""),
            ("worst_condition_coverage", ".2f", ">= .5"),
            ("condition_diversity", ".2f", ""),
            ("prevalence_tv", ".3f", "<= .05"),
            ("worst_condition_fid", ".1f", ""),
        ),
        (
            ("1,500 held-out scenes", "1.000", "1.000", "0.993", "0.88", "0.69", "0.000", "2.0"),
            ("the same, halved and doubled in size", "1.000", "1.000", "0.991", "0.84", "0.66", "0.000", "2.6"),
            ("the same with noise of .1", "1.000", "1.000", "0.988", "0.76", "0.72", "0.000", "1.7"),
        ),
        "Weather x hour x fog density, read by a network that was trained on fresh drawings. What is asked for is "
        "drawn, and layouts vary, but houses and trees are blurred: coverage of the worst of the 15 combinations "
        "stays far from its bar, and its distance is that of a few odd pictures among a hundred. Blur and noise cost "
        "real scenes little of their coverage, so .5 asks for all layouts more than for sharp pictures. Tried on seed"
        " 0: a generator of 8 channels with penalties of 1 came to .9497, .01 and .059 by 56,000 images; against a "
        "discriminator of 16 channels it was at .49, 0 and .54 after 24,000; `train.mismatched` .5 brings accuracy "
        "to .999, R2 to .92 and the distance to 3.9, and costs realism: a coverage of .01. "
        f"{COST}",
    ),
    "faces": Protocol(
        "F: faces, 64x64",
        "faces",
        (
            ("attribute_accuracy", ".3f", ">= .95"),
            ("worst_attribute", ".3f", ">= .85"),
            ("worst_condition_coverage", ".2f", ""),
            ("condition_diversity", ".2f", ""),
            ("fid", ".2f", ""),
        ),
        (("1,500 held-out faces", "0.999", "0.997", "0.93", "0.95", ""),),
        "Skin, hair, its colour, glasses, mouth and beard, read by a network that was trained on fresh drawings. "
        "Conditions are the 17 classes of these: their combinations are too many to be judged one by one. The "
        "bars are missed by .01 and .15 after 160,000 images. Five attributes are right in every face; the sixth, "
        "closed mouth or smile, is a curve of eight pixels, and the discriminator is what does not see it: on real "
        "faces it prefers the right mouth to a wrong one in .74 only. Tried on seed 0: `train.mismatched` .5, which "
        "is ahead early (.92 and .585 after 48,000, where .85 and .45 are without) and not at the end (.943 and "
        ".661); with it penalties of .5 (.910 and .592 after 48,000) and concatenation (.72 and .29 after 16,000, "
        "where projection has .86 and .48). Without it: batches of 16, rates"
        " of 5e-4 and 8e-4, penalties of .2 and 64,000 images came to .853 and .483, where the discriminator had "
        "all but won (its loss was .03). "
        f"{COST}",
    ),
}


def main() -> None:
    """Trains what is missing, then writes the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("protocol", choices=PROTOCOLS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="folder for checkpoints of trainings")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows, paper = _rows(arguments.protocol), PROTOCOLS[arguments.protocol].paper
    for seed in range(arguments.seeds):
        rows.add(paper, [], seed, arguments.out, protocol=arguments.protocol)
    put(HEAD, "\n\n".join([TOLD, *map(section, PROTOCOLS)]))


def section(name: str) -> str:
    """The table of one protocol, or that nobody has run it."""
    protocol, rows = PROTOCOLS[name], _rows(name).rows(protocol=name)
    head = ["", "seeds", "steps", "seconds", *(f"{measure} {bar}" for measure, _, bar in protocol.measures)]
    lines: list[list[Any]] = []
    for row in rows:
        cells = [format(row[measure], shape) for measure, shape, _ in protocol.measures]
        lines.append([f"seed {row['seed']}", 1, row["steps"], seconds([row]), *cells])
    lines += [[other[0], "", "", "", *other[1:]] for other in protocol.others]
    told = table(head, lines) if lines else "Not run yet."
    command = f"`python -m tests.benchmarks.families.conditional {name}`, `configs/{protocol.paper}.yaml`."
    return f"### {protocol.title}\n\n{command} {protocol.note}\n\n{told}"


def _rows(name: str) -> Seeds:
    return Seeds("conditional", tuple(measure for measure, _, _ in PROTOCOLS[name].measures))


if __name__ == "__main__":
    main()
