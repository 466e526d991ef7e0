"""How soon commands that train nothing answer, with many trials in the ledger.

    python -m tests.benchmarks.answers [--trials 1000] [--rounds 5] [--out infra/results/answers.json]

Plays a sweep of tests/benchmarks/deciding into a home of its own, and times each command as a process, in turn.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from orchestrator.paths import Home
from orchestrator.search.ledger import Ledger
from tests.benchmarks.deciding import play, sweep
from tests.benchmarks.results import tell

COMMANDS = ("list", "status deciding", "status deciding --json", "plan configs/digits.yaml", "--version")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    seconds: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        paths = Home.at(folder).sweep("deciding")
        paths.root.mkdir(parents=True)
        asked = sweep(arguments.trials, "auto")
        paths.spec.write_text(asked.to_yaml())
        play(Ledger.open(asked, paths.ledger), arguments.trials)
        for _ in range(arguments.rounds):
            for command in COMMANDS:
                where = ["--home", folder] if command != "--version" else []
                began = time.perf_counter()
                subprocess.run(
                    [sys.executable, "-m", "orchestrator", *command.split(), *where], check=True, capture_output=True
                )
                seconds[command].append(time.perf_counter() - began)
    medians = {command: round(statistics.median(times), 2) for command, times in seconds.items()}
    tell({"trials": arguments.trials, "median_s": medians}, arguments.out)


if __name__ == "__main__":
    main()
