"""Walk MLflow's pages of a sweep as a user would, and fail where a column, a picture or a word is missing.

    gansweep ui &    then: python -m infra.browser.walk http://127.0.0.1:5000 digits [--pictures FOLDER]

List, charts, the sweep's own run, the best trial, a trial that ended badly, two side by side, and where a generator
was promoted, the registered model and its version.
"""

from __future__ import annotations

import argparse
import json
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from infra.browser.screenshot import Browser, BrowserError

VISITED = {"mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true"}


class Page(NamedTuple):
    """What ``words`` must stand on."""

    name: str
    address: str
    words: Sequence[str]


def pages(server: str, sweep: str) -> Iterator[Page]:
    """All that is walked, found by MLflow's own API."""
    found = _ask(server, "experiments/search", filter=f"name = '{sweep}'", max_results=1)["experiments"][0]
    number, tags = found["experiment_id"], {tag["key"]: tag["value"] for tag in found["tags"]}
    view, charts = (name for name in ("gansweep", "gansweep-charts") if f"mlflow.sharedViewState.{name}" in tags)
    runs = _ask(server, "runs/search", experiment_ids=[number], max_results=1000)["runs"]
    state = {run["info"]["run_id"]: _tags(run).get("gansweep.state", "") for run in runs}
    own = next(run["info"]["run_id"] for run in runs if "mlflow.parentRunId" not in _tags(run))
    trials = [run for run in runs if "gansweep.trial" in _tags(run)]
    best = next(r for r in trials if state[r["info"]["run_id"]] == "finished")["info"]["run_id"]
    bad = [r["info"]["run_id"] for r in trials if state[r["info"]["run_id"]] in ("collapsed", "stuck", "diverged")]
    base = f"{server}/#/experiments/{number}"
    mode = "workflowType=machine_learning"
    columns = ("fid", "coverage", "images", "gansweep.ve", "gansweep.st", "train.gen", "train.dis", "train.loss")
    yield Page("list", f"{base}/runs?{mode}&viewStateShareKey={view}", (*columns, f"{sweep}-"))
    yield Page("charts", f"{base}/runs?{mode}&viewStateShareKey={charts}&compareRunsMode=CHART", ("Quality", "Samples"))
    yield Page("sweep", f"{base}/runs/{own}", ("Best so far", "Searched", "Go on", "report.html"))
    yield Page("trial", f"{base}/runs/{best}", ("finished, verdict healthy", "score"))
    yield from (Page("failed", f"{base}/runs/{run}", (f"{state[run]}, verdict",)) for run in bad[:1])
    both = json.dumps([best, (bad or [own])[0]])
    yield Page(
        "compare", f"{server}/#/compare-runs?runs={both}&experiments=[%22{number}%22]", ("Parameters", "Metrics")
    )
    named = urllib.parse.quote(f"name = '{sweep}'")
    for version in _ask(server, f"model-versions/search?filter={named}").get("model_versions", [])[:1]:
        address = f"{server}/#/models/{urllib.parse.quote(sweep)}"
        yield Page("model", address, ("generates examples of shape", "Licence", "champion"))
        yield Page("version", f"{address}/versions/{version['version']}", ("verdict healthy", "On fresh seeds"))


def _tags(run: dict[str, Any]) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in run["data"].get("tags", [])}


def _ask(server: str, what: str, **body: Any) -> dict[str, Any]:
    address = f"{server}/api/2.0/mlflow/{what}"
    posted = json.dumps(body).encode() if body else None
    asked = urllib.request.Request(address, posted, {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=60) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("server")
    parser.add_argument("sweep")
    parser.add_argument("--pictures", type=Path, help="keep a picture of each page here")
    parser.add_argument("--patience", type=float, default=60)
    arguments = parser.parse_args()
    missing = 0
    for page in pages(arguments.server, arguments.sweep):
        with Browser(1600, 1000, arguments.patience) as browser:
            browser.remember(**VISITED)
            browser.open(page.address)
            try:
                for word in page.words:
                    browser.wait(word)
                print(f"ok       {page.name}")
            except BrowserError as error:
                missing += 1
                print(f"missing  {page.name}: {str(error).splitlines()[0]}")
            if arguments.pictures:
                browser.screenshot(arguments.pictures / f"{page.name}.png")
    sys.exit(bool(missing))


if __name__ == "__main__":
    main()
