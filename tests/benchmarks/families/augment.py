"""Protocols A1 and A2: what a generator's samples teach a classifier.

    python -m tests.benchmarks.families.augment few --seeds 5
    python -m tests.benchmarks.families.augment look --seeds 5

A1 (``few``): ten labelled digits of each class; all others are test data, which neither the generator nor a classifier
has seen. A2 (``look``): labels of one look, pictures of another: grey digits, translated to dark ink on paper.
Every finished seed is a line of infra/results/augment.jsonl; the same command again does only what is missing. The
tables are a section of infra/results/families.md.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import torch

from tests.benchmarks.seeds import RESULTS, ROOT, Row, put, table
from trainers.__main__ import read_training
from trainers.config import Config, Data
from trainers.data import Examples, load
from trainers.data.digits import split_digits
from trainers.loop import train
from trainers.metrics.classifier import right, taught
from trainers.metrics.gain import BASE, BEST, MIXES, Interval, accuracy
from trainers.sample import sample, translated
from trainers.settings import build
from trainers.state import load_generator
from trainers.world import World

ROWS = RESULTS / "augment.jsonl"
PER_CLASS = 100


def main() -> None:
    """Trains what is missing, then writes the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("protocol", choices=PROTOCOLS)
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for seed in range(arguments.seeds):
        if not any(row["seed"] == seed for row in _rows(arguments.protocol)):
            row = {"protocol": arguments.protocol, "seed": seed, **PROTOCOLS[arguments.protocol](seed)}
            with ROWS.open("a") as lines:
                lines.write(json.dumps(row) + "\n")
            print(row, flush=True)
    _write()


def few(seed: int) -> Row:
    """Accuracy by mix; the training digits that the generator was not given are test data too."""
    config, generator, last = _trained("few-digits", [], seed)
    labels = torch.arange(10).repeat_interleave(PER_CLASS)
    pictures = sample(generator, config, torch.arange(len(labels)).numpy(), labels.numpy())
    samples = Examples(torch.from_numpy(pictures).permute(0, 3, 1, 2), labels)
    real, (every, held_out) = load(config.data).train, split_digits()
    assert isinstance(real, Examples) and every.labels is not None and held_out.labels is not None
    unused = ~(every.values[:, None] == real.values[None]).flatten(2).all(2).any(1)
    test = Examples(
        torch.cat([every.values[unused], held_out.values]), torch.cat([every.labels[unused], held_out.labels])
    )
    shares = {name: float(accuracy(mix, real, samples, test, seed).float().mean()) for name, mix in MIXES.items()}
    return {**shares, "test": len(test), **{name: last[name] for name in ("memorised", "copies", "fid")}}


def look(seed: int) -> Row:
    """How well classifiers taught with grey, translated and real digits read real ones in the other look."""
    config, generator, last = _trained("inked-digits", ["translate.identity=0"], seed)
    target = load(Data(name="inked-digits", resolution=config.data.resolution))
    assert target.source is not None and isinstance(target.train, Examples) and isinstance(target.test, Examples)
    source = target.source.train
    assert isinstance(source, Examples)
    grey = source.floats().add(1).mul(127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    made = Examples(torch.from_numpy(translated(generator, config, grey)).permute(0, 3, 1, 2), source.labels)
    taught_with = {"grey digits": source, "translated": made, "real": target.train}
    reads = {name: taught([one], 10, seed, jitter=True) for name, one in taught_with.items()}
    return {name: float(right(net, target.test).float().mean()) for name, net in reads.items()} | {
        "content": last["content"]
    }


PROTOCOLS = {"few": few, "look": look}


def _trained(name: str, overrides: list[str], seed: int) -> tuple[Config, torch.nn.Module, dict[str, float]]:
    read = read_training(ROOT / "configs" / f"{name}.yaml", [*overrides, f"train.seed={seed}", "health.stop=never"])
    config = build(Config, read)
    with tempfile.TemporaryDirectory() as folder:
        last = list(train(config, World.single(), out=Path(folder)))[-1]
        assert last.checkpoint is not None
        return *load_generator(last.checkpoint), last.metrics


def _rows(protocol: str) -> list[Row]:
    rows = map(json.loads, ROWS.read_text().splitlines() if ROWS.exists() else [])
    return [row for row in rows if row["protocol"] == protocol]


def _table(protocol: str, names: list[str]) -> str:
    rows = _rows(protocol)
    lines = [[f"seed {row['seed']}", *(f"{row[name]:.1%}" for name in names)] for row in rows]
    means = [sum(row[name] for row in rows) / len(rows) for name in names]
    return table(["", *names], [*lines, ["**mean**", *(f"**{mean:.1%}**" for mean in means)]])


def _write() -> None:
    sections = []
    if rows := _rows("few"):
        told = Interval.of([row[BEST] - row[BASE] for row in rows]).told if len(rows) > 1 else "one seed only"
        sections += [
            "### A1: ten labelled digits of each class",
            "`python -m tests.benchmarks.families.augment few`, `configs/few-digits.yaml` without its search. Share of "
            f"{rows[0]['test']:,} test digits that a classifier reads right (600 steps, whatever it is given; "
            f"{PER_CLASS} samples of each class). Paired over seeds: {told}.",
            _table("few", [*MIXES, "memorised", "copies"]),
        ]
    if _rows("look"):
        sections += [
            "### A2: labels of one look, pictures of another",
            "`python -m tests.benchmarks.families.augment look`, `configs/inked-digits.yaml` with `translate.identity` "
            "0. Share of held-out digits in dark ink on paper that a classifier reads right, by what it was taught "
            "with; *content*: what a reader of fresh paintings sees kept.",
            _table("look", ["grey digits", "translated", "real", "content"]),
        ]
    put("## Augmentation", "\n\n".join(sections))


if __name__ == "__main__":
    main()
