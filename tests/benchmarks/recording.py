"""What recording costs a trial: the digits sweep's training with MLflow (server, batches, pictures) and without,
alternating.

    python -m tests.benchmarks.recording [--pairs 3] [--out infra/results/recording.json]

One trial on two ranks per run. Its time is taken in the worker, from the first report to the last, so that starting Ray
and the server counts for neither side; without recording, the spool is written and nobody reads it.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import tempfile
from pathlib import Path
from typing import Any

from orchestrator import sweep as story
from orchestrator.artifacts import store_of
from orchestrator.conductor import Conductor
from orchestrator.paths import Home
from orchestrator.search.lease import lease_of
from orchestrator.search.ledger import Ledger
from orchestrator.search.trial import Leg
from orchestrator.spec import load
from orchestrator.terminal.live import Quiet
from orchestrator.tracking.spool import Spool
from tests.benchmarks.results import tell

ONE_TRIAL = ("search.trials=1", "rungs=null", "confirm.top=0", "train.images=300_000")


class Watch(Quiet):
    """Notes when each report was made."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def reported(self, leg: Leg, report: dict[str, Any]) -> None:
        self.times.append(report["timestamp"])


def seconds(home: Home, name: str, recorded: bool) -> float:
    sweep = load(Path("configs/digits.yaml"), [*ONE_TRIAL, f"name={name}"])
    paths = home.sweep(sweep.name)
    paths.root.mkdir(parents=True)
    ledger, store, watch = Ledger.open(sweep, paths.ledger), store_of(sweep, home), Watch()
    spool = Spool(paths.spool)
    lease = lease_of(sweep, paths)
    conductor = Conductor(ledger, spool, store, lease, watch)
    recording = story._recording(ledger, home, lease, spool, store, watch, {}) if recorded else contextlib.nullcontext()
    with recording:
        conductor.open()
        story._search(conductor, ledger, home, paths, store, lease, watch, None)
        conductor.close()
    assert spool.empty is recorded
    return watch.times[-1] - watch.times[0]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--pairs", type=int, default=3)
    options.add_argument("--out", type=Path)
    chosen = options.parse_args()
    with_, without = [], []
    with tempfile.TemporaryDirectory() as root:
        home = Home.open(Path(root))
        for pair in range(chosen.pairs):
            with_.append(seconds(home, f"with-{pair}", True))
            without.append(seconds(home, f"without-{pair}", False))
    ratios = [a / b for a, b in zip(with_, without, strict=True)]
    result = {
        "with_recording_s": [round(s, 2) for s in with_],
        "without_s": [round(s, 2) for s in without],
        "median_ratio": round(statistics.median(ratios), 4),
    }
    tell(result, chosen.out)


if __name__ == "__main__":
    main()
