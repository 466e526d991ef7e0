"""How long the report of a large sweep takes, how big its page is, whether a browser opens it offline and without an
error, and how soon ``import gansweep`` is done.

    python -m tests.benchmarks.pages [--trials 300 3000] [--out infra/results/pages.json]

Trials are simulated, each with its sample grids. Next to the seconds stand those that a core worked: the same on a
machine with nothing else to do.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from infra.browser.screenshot import Browser
from orchestrator.paths import Home
from tests.benchmarks.results import tell
from tests.orchestrator import simulated

ROUNDS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, nargs="+", default=[300, 3_000])
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    tell({"report": [reported(trials) for trials in arguments.trials], "import": imported()}, arguments.out)


def reported(trials: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        simulated.write(Home.open(Path(folder)), trials)
        page = Path(folder) / "report.html"
        took = timed("-m", "orchestrator", "report", "simulated", "--home", folder, "-o", str(page))
        return {"trials": trials, **took, "megabytes": round(page.stat().st_size / 1e6, 2), "browser": opened(page)}


def opened(page: Path) -> dict[str, Any]:
    """Seconds until Chromium shows the last section, errors in its console, and requests that leave the file."""
    with Browser(patience=60) as browser:
        began = time.perf_counter()
        browser.open(page.as_uri())
        browser.wait("The champion again")
        seconds = round(time.perf_counter() - began, 2)
        left = [url for url in browser.requests if url.split(":")[0] not in ("file", "data")]
        return {"seconds": seconds, "errors": browser.complaints, "requests": left}


def imported() -> dict[str, float]:
    rounds = [timed("-W", "error", "-c", "import gansweep") for _ in range(ROUNDS)]
    return {name: round(statistics.median(took[name] for took in rounds), 3) for name in rounds[0]}


def timed(*words: str) -> dict[str, float]:
    """Seconds of a Python process, and of a core's work."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *words], check=True, capture_output=True)
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    worked = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": round(seconds, 3), "core_seconds": round(worked, 3)}


if __name__ == "__main__":
    main()
