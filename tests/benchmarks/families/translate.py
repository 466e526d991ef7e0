"""Protocols S1 and S1x: grey digits to bright ink on dark ground, to dark ink on paper, and to either, over seeds.

    python -m tests.benchmarks.families.translate [--seeds 3]

Rows go to ``infra/results/translate.jsonl``, a finished one is not trained again; the table goes to
``infra/results/families.md``. Times are CPU seconds of one thread.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import time
from typing import Any

import torch

from tests.benchmarks.seeds import RESULTS, ROOT
from trainers.config import Config
from trainers.loop import train
from trainers.settings import build, read
from trainers.world import World

ROWS, TABLE, HEAD = RESULTS / "translate.jsonl", RESULTS / "families.md", "## Translation"
MEASURES = ("content", "spread", "fid", "misfit", "coverage", "mode_diversity")
CASES = {
    "S1x, identity 0.5 (customary)": ["translate.identity=0.5"],
    "S1x, identity 0": ["translate.identity=0"],
    "S1, identity 0.5": ["data.name=painted-digits", "translate.identity=0.5"],
    "S1, lambda_cycle 20, three times as long": [
        *("data.name=painted-digits", "translate.identity=0.5"),
        *("translate.lambda_cycle=20", "train.images=9600", "evaluate.every_images=1200"),
    ],
    "S1x, CUT": ["translate.method=cut", "translate.lambda_nce=0.5", "translate.identity=1"],
    "S1x, CUT without identity": ["translate.method=cut", "translate.identity=0"],
    "S1, CUT": ["data.name=painted-digits", "translate.method=cut", "translate.lambda_nce=0.5", "translate.identity=1"],
}
MIXED = ["data.name=mixed-digits", "translate.identity=0"]
CASES["bright or dark, identity 0"] = MIXED
CASES["bright or dark, identity 0.5 (customary)"] = ["data.name=mixed-digits", "translate.identity=0.5"]
Row = dict[str, Any]


def main() -> None:
    """Trains what is missing and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    torch.set_num_threads(1)
    rows = [json.loads(line) for line in ROWS.read_text().splitlines()] if ROWS.exists() else []
    for seed in range(parser.parse_args().seeds):
        for case, overrides in CASES.items():
            if not any((row["case"], row["seed"]) == (case, seed) for row in rows):
                rows.append(_trained(case, overrides, seed))
                ROWS.write_text("".join(json.dumps(row) + "\n" for row in rows))
                print(rows[-1], flush=True)
    _write([HEAD, "", *_table(rows)])


def _trained(case: str, overrides: list[str], seed: int) -> Row:
    document = read(ROOT / "configs" / "inked-digits.yaml", [*overrides, f"train.seed={seed}", "health.stop=never"])
    document.values = {name: value for name, value in document.values.items() if name in Config.model_fields}
    config = build(Config, document)
    began = time.process_time()
    reports = list(train(config, World.single()))
    last = reports[-1]
    row: Row = {"case": case, "seed": seed, "cpu_seconds": round(time.process_time() - began, 1)}
    row |= {name: last.metrics[name] for name in MEASURES} | {"cycle": last.losses.get("cycle")}
    row |= {f"identity_{name}": last.metrics[f"identity_{name}"] for name in ("content", "spread", "fid")}
    return row | {"verdicts": [report.health.verdict for report in reports], "reasons": last.health.reasons}


def _table(rows: list[Row]) -> list[str]:
    lines = ["| case | seed | content | spread | FD | coverage | cycle L1 | verdict at the end | CPU s |"]
    lines += ["|---|---|---|---|---|---|---|---|---|"]
    for case in CASES:
        mine = [row for row in rows if row["case"] == case]
        for row in mine:
            cycle = "-" if row["cycle"] is None else f"{row['cycle']:.3f}"
            lines.append(
                f"| {case} | {row['seed']} | {row['content']:.1%} | {row['spread']:.2f} | {row['fid']:.1f} "
                f"| {row['coverage']:.2f} | {cycle} | {row['verdicts'][-1]} | {row['cpu_seconds']:.0f} |"
            )
        middle = {
            name: statistics.median(row[name] for row in mine) for name in ("content", "spread", "fid", "coverage")
        }
        lines.append(
            f"| **median** | | **{middle['content']:.1%}** | **{middle['spread']:.2f}** | **{middle['fid']:.1f}** "
            f"| {middle['coverage']:.2f} | | | |"
        )
        rival = mine[0]
        lines.append(
            f"| the identity map | | {rival['identity_content']:.1%} | {rival['identity_spread']:.2f} "
            f"| {rival['identity_fid']:.1f} | | 0 | | |"
        )
    return lines


def _write(section: list[str]) -> None:
    """In place of the section of this name, or behind the others."""
    text = TABLE.read_text() if TABLE.exists() else "# Families\n"
    made = "\n".join(section) + "\n"
    old = re.search(rf"^{HEAD}\n.*?(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    about = old and re.split(r"^\| case", old.group(), maxsplit=1, flags=re.MULTILINE)[0]
    made = made.replace(f"{HEAD}\n\n", about, 1) if about else made
    TABLE.write_text(text.replace(old.group(), made + "\n") if old else f"{text}\n{made}")
    print(made)


if __name__ == "__main__":
    main()
