"""Paper configurations over seeds: every finished seed is a line of a JSONL file, so the same command goes on."""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainers import launch
from trainers.__main__ import read_training
from trainers.config import Config
from trainers.settings import build

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "infra" / "results"
Row = dict[str, Any]


@dataclass(frozen=True)
class Seeds:
    """Rows of ``infra/results/<name>.jsonl``, each with some measures of a training's last report."""

    name: str
    measures: tuple[str, ...]

    @property
    def file(self) -> Path:
        """One row per line."""
        return RESULTS / f"{self.name}.jsonl"

    def rows(self, **key: Any) -> list[Row]:
        """All rows so far that have these values."""
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        return [row for row in map(json.loads, lines) if all(row[name] == value for name, value in key.items())]

    def add(self, paper: str, overrides: Sequence[str], seed: int, out: Path | None = None, **key: Any) -> None:
        """Trains ``configs/<paper>.yaml`` with this seed, unless its row is there. A training that was killed goes on
        from its newest checkpoint below ``out``.
        """
        if self.rows(seed=seed, **key):
            return
        file = ROOT / "configs" / f"{paper}.yaml"
        config = build(Config, read_training(file, [*overrides, f"train.seed={seed}"]))
        with tempfile.TemporaryDirectory() as fresh:
            folder = out / "-".join(map(str, (*key.values(), seed))) if out else Path(fresh)
            for _ in launch.run(config, 1, folder):
                pass
            last = json.loads((folder / "reports.jsonl").read_text().splitlines()[-1])
        row = {**key, "seed": seed, "steps": last["images"] // config.train.batch_size}
        row |= {"seconds": round(last["seconds"], 1), **{name: last["metrics"][name] for name in self.measures}}
        with self.file.open("a") as lines:
            lines.write(json.dumps(row) + "\n")
        print(row, flush=True)

    def write(self, text: str) -> None:
        """Puts the table beside the rows."""
        (RESULTS / f"{self.name}.md").write_text(text + "\n")
        print(text)


def put(head: str, text: str) -> None:
    """A section of families.md: in place of the one under this ``head``, or behind all others."""
    file = RESULTS / "families.md"
    before, _, rest = file.read_text().partition(f"{head}\n")
    after = rest.partition("\n## ")
    ours = f"{before.rstrip()}\n\n{head}\n\n{text.strip()}\n"
    file.write_text(ours + "".join(after[1:]))


def spread(rows: Sequence[Row], name: str, shape: str, scale: float = 1.0) -> str:
    """Mean ± standard error over seeds."""
    values = [scale * row[name] for row in rows]
    error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return f"{statistics.mean(values):{shape}}±{error:{shape}}"


def seconds(rows: Sequence[Row]) -> str:
    """Of training, the median over seeds."""
    return f"{statistics.median(row['seconds'] for row in rows):.0f}"


def table(head: Sequence[str], lines: Sequence[Sequence[Any]]) -> str:
    """Markdown."""
    return "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in (head, ["---"] * len(head), *lines))
