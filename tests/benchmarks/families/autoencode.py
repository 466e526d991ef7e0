"""Protocol V1: what reconstructs and what samples, with one decoder for all.

    python -m tests.benchmarks.families.autoencode --seeds 3

Every finished seed is a line of infra/results/families-autoencode.jsonl; the same command again does only what is
missing, and writes the section of infra/results/families.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch

from tests.benchmarks.seeds import Row, Seeds, put, seconds, table

ROOM = "families-autoencode"
OWN = ("mse", "mse_share", "reconstruction_fid", "active_units", "kl")
SAMPLED = ("fid", "density", "coverage")
FEATURES = ("autoencode.method=vae-gan", "autoencode.reconstruction=feature")
PIXELS = ("autoencode.method=vae-gan", "autoencode.reconstruction=pixel", "train.lr_schedule=cosine")
LONG = ("train.images=320_000", "train.penalty_interval=1")
ROWS: dict[str, Sequence[str]] = {
    "AE + Gaussian": ("autoencode.method=ae",),
    "VAE": (),
    "VAE-GAN, gamma .01, beta 1": (*FEATURES, "autoencode.gamma=0.01", "autoencode.beta=1"),
    "VAE-GAN, gamma .1, beta .1": (*FEATURES, "autoencode.gamma=0.1", "autoencode.beta=0.1"),
    "GAN": ("family=gan",),
    "VAE-GAN, gamma .15, beta .06, penalties in every step": (
        *FEATURES,
        *LONG,
        "autoencode.gamma=0.15",
        "autoencode.beta=0.06",
    ),
    "GAN, penalties in every step": ("family=gan", *LONG),
    "VAE-GAN, pixels, gamma .001, beta 1.5": (
        *PIXELS,
        "train.images=192_000",
        "train.lr_final=0.05",
        "train.discriminator_lr=0.003",
        "autoencode.gamma=0.001",
        "autoencode.beta=1.5",
    ),
}
TITLE = "## V1: autoencoder, VAE, VAE-GAN and GAN"
TEXT = """\
Written by `python -m tests.benchmarks.families.autoencode`. How does a GAN compare with an autoencoder? 8x8 digits,
the same decoder (16-256-256-64) for all; median over seeds, the worst in brackets. *MSE*: of held-out
digits' reconstructions, in [-1, 1]; *share*: of the mean image's error. *FD rec.*: Fréchet distance of reconstructions
of training digits. FD, density and coverage: of 1,000 samples (360 held-out digits have FD .85). Seconds of training
are of one core of a busy 2-core virtual machine, so upper bounds.

Asked for was a VAE-GAN with an MSE of at most .04 and an FD of at most 2 at once. The sweep of
`configs/autoencode.yaml` (10 trials, 144,000 images, 12 minutes) ends at pixels, gamma .0009, beta 1.5: MSE .037 and
FD 2.26, on two fresh seeds .034 and 2.74, .036 and 2.45. That is not both at once. Features, with penalties in every
step and twice the steps, are both on each of three seeds; these settings were found by hand. What codes nothing
samples better still: see the GAN that was given the same."""
HEAD = (
    "",
    "seeds",
    "steps",
    "seconds",
    "MSE",
    "share",
    "FD rec.",
    "FD",
    "density",
    "coverage",
    "active units",
    "KL, nats",
)


def main() -> None:
    """Trains what is missing, then writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--row", choices=ROWS, help="one row only")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for seed in range(arguments.seeds):
        for row in (arguments.row,) if arguments.row else ROWS:
            measures = measured(row)
            asked = [f"evaluate.metrics=[{', '.join(measures)}]", *ROWS[row]]
            Seeds(ROOM, measures).add("autoencode", asked, seed, row=row)
    lines = [line(row, found) for row in ROWS if (found := Seeds(ROOM, ()).rows(row=row))]
    put(TITLE, f"{TEXT}\n\n{table(HEAD, lines)}")


def measured(row: str) -> tuple[str, ...]:
    """A GAN codes nothing, and a plain autoencoder's codes have no variance."""
    own = () if row.startswith("GAN") else OWN[:-1] if row.startswith("AE") else OWN
    return (*SAMPLED, *own)


def line(row: str, rows: list[Row]) -> list[str]:
    """The line of one model."""
    shapes = {"mse": ".4f", "mse_share": ".3f", "reconstruction_fid": ".2f", "fid": ".2f", "density": ".2f"}
    shapes |= {"coverage": ".2f", "active_units": ".0f", "kl": ".1f"}
    return [
        row,
        str(len(rows)),
        f"{rows[0]['steps']:,}",
        seconds(rows),
        *(cell(rows, name, shape) for name, shape in shapes.items()),
    ]


def cell(rows: list[Row], name: str, shape: str) -> str:
    """Median over seeds, and the worst."""
    values = sorted(row[name] for row in rows if row.get(name) is not None)
    if not values:
        return "-"
    worst = values[0] if name in ("density", "coverage", "active_units", "kl") else values[-1]
    return f"{values[len(values) // 2]:{shape}} ({worst:{shape}})"


if __name__ == "__main__":
    main()
