"""Walk MLflow's pages of a sweep as a user would, and fail where a column, a picture or a word is missing.

    gansweep ui &    then: python -m infra.browser.walk http://127.0.0.1:5000 digits [--pictures FOLDER]

List, charts, the sweep's own run, its report, the best trial where there is one, a trial that ended badly, two side by
side, and where a generator was promoted, the registered model and its version.
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
import urllib.parse
import urllib.request
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from infra.browser.screenshot import Browser, BrowserError

BAD = ("collapsed", "stuck", "diverged")
_VIEW = "mlflow.sharedViewState."
VISITED = {"mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true"}


SIZE = (1600, 1000)
COLUMN = 110
"""Pixels; of a list with many columns MLflow draws those that the window has room for."""
PICTURES = "[...document.images].some(one => one.naturalWidth > 32 && one.getClientRects().length)"
CURVES = "document.querySelectorAll('.scatterlayer .trace').length > 1"
FRAME = "document.querySelector('iframe')?.getClientRects().length > 0"


class Page(NamedTuple):
    """What ``words`` must stand on and none of ``never``, and of which the JavaScript expression ``shows`` is true."""

    name: str
    address: str
    words: Sequence[str]
    shows: str = "true"
    never: Sequence[str] = ()
    width: int = SIZE[0]


def pages(server: str, sweep: str) -> Iterator[Page]:
    """All that is walked, found by MLflow's own API."""
    found = _ask(server, "experiments/search", filter=f"name = '{sweep}'", max_results=1)["experiments"][0]
    number, tags = found["experiment_id"], {tag["key"]: tag["value"] for tag in found["tags"]}
    runs = _ask(server, "runs/search", experiment_ids=[number], max_results=1000)["runs"]
    used = {pair["key"] for run in runs for kind in ("metrics", "params", "tags") for pair in run["data"].get(kind, ())}
    columns = [column.split("`")[1] for column in _view(tags[f"{_VIEW}gansweep"])["selectedColumns"]]
    aim = next(column for column in columns if not column.startswith("score"))
    of_trial = {_tags(run)["gansweep.trial"]: run["info"]["run_id"] for run in runs if "gansweep.trial" in _tags(run)}
    state = {run["info"]["run_id"]: _tags(run).get("gansweep.state", "") for run in runs}
    own = next(run for run in runs if "mlflow.parentRunId" not in _tags(run))
    best = of_trial.get(_tags(own).get("gansweep.best", ""))
    others = sorted((run for run in of_trial.values() if run != best), key=lambda run: state[run] not in BAD)
    base, mode = f"{server}/#/experiments/{number}", "workflowType=machine_learning"
    view = f"{base}/runs?{mode}&viewStateShareKey=gansweep"

    drawn = [column for column in columns if column in used]  # MLflow shows none that is empty
    width = SIZE[0] + COLUMN * len(drawn)
    yield Page("list", view, (*drawn, f"{sweep}-", f"sweep {sweep}"), width=width)
    sections = ("Quality", aim, "Samples", "Confirmation", "Sweep, over device-seconds", "Losses", "Speed", "health")
    yield Page(
        "charts",
        f"{view}-charts&compareRunsMode=CHART",
        sections,
        f"{PICTURES} && {CURVES}",
        ("No image logged at this step", *(["No charts in this section"] if f"confirm/{aim}" in used else [])),
    )
    told = ["Best so far", "Searched", "Go on", "report.html", "device_hours", "hardware"]
    told += [f"best/{aim}"] if best else []
    yield Page("sweep", f"{base}/runs/{own['info']['run_id']}?{mode}", told)
    yield Page("report", f"{base}/runs/{own['info']['run_id']}/artifacts/report.html", ("report.html",), FRAME)
    if best:
        words = ("finished, verdict healthy", "score", "system/cpu_utilization_percentage")
        yield Page("trial", f"{base}/runs/{best}?{mode}", words)
    for run in others[:1]:
        yield Page("other", f"{base}/runs/{run}?{mode}", (f"{state[run]}, verdict",))
    if len(two := [run for run in (best, *others) if run][:2]) == 2:
        asked = f"runs={_json(two)}&experiments={_json([number])}&{mode}"
        yield Page("compare", f"{server}/#/compare-runs?{asked}", ("Comparing 2 Runs", "Parameters", "Metrics", aim))
    named = urllib.parse.quote(f"name = '{sweep}'")
    for version in _ask(server, f"model-versions/search?filter={named}").get("model_versions", [])[:1]:
        address = f"{server}/#/models/{urllib.parse.quote(sweep)}"
        yield Page("model", f"{address}?{mode}", ("load_model", "Licence", "champion"))
        forced = any(tag["key"] == "gansweep.forced.reason" for tag in version.get("tags", ()))
        told = ["Promoted against the gate"] if forced else ["verdict healthy", "On fresh seeds"]
        yield Page("version", f"{address}/versions/{version['version']}?{mode}", told)


def _view(tag: str) -> dict[str, Any]:
    """What a saved view shows."""
    packed = json.loads(tag)["state"].removeprefix("deflate;")
    state: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(packed)))
    return state


def _json(value: Any) -> str:
    """For an address."""
    return urllib.parse.quote(json.dumps(value))


def _tags(run: dict[str, Any]) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in run["data"].get("tags", [])}


def _ask(server: str, what: str, **body: Any) -> dict[str, Any]:
    address = f"{server}/api/2.0/mlflow/{what}"
    posted = json.dumps(body).encode() if body else None
    asked = urllib.request.Request(address, posted, {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=60) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def look(browser: Browser, page: Page) -> None:
    """Raises BrowserError where the page lacks something, or shows what it must not."""
    browser.resize(page.width, SIZE[1])
    browser.open("about:blank")  # as a new tab: MLflow's pages do not always survive a turn to another one
    browser.open(page.address)
    for word in page.words:
        browser.wait(word)
    browser.until(page.shows, "no picture, curve or frame appeared")
    browser.rest()
    if unwanted := [words for words in page.never if words in browser.text()]:
        raise BrowserError(f"it says {unwanted[0]!r}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("server")
    parser.add_argument("sweep")
    parser.add_argument("--pictures", type=Path, help="keep a picture of each page here")
    parser.add_argument("--patience", type=float, default=60)
    arguments = parser.parse_args()
    try:
        missing = walk(arguments.server, arguments.sweep, arguments.pictures, arguments.patience)
    except BrowserError as error:
        sys.exit(str(error))
    sys.exit(bool(missing))


def walk(server: str, sweep: str, pictures: Path | None = None, patience: float = 60) -> int:
    """How many pages lack something; keeps a picture of each in the folder ``pictures``."""
    missing = 0
    if pictures:
        pictures.mkdir(parents=True, exist_ok=True)
    with Browser(*SIZE, patience) as browser:
        browser.remember(**VISITED)
        for page in pages(server, sweep):
            try:
                look(browser, page)
                print(f"ok       {page.name}", flush=True)
            except BrowserError as error:
                missing += 1
                print(f"missing  {page.name}: {str(error).splitlines()[0]}", flush=True)
            if pictures:
                browser.screenshot(pictures / f"{page.name}.png")
    return missing


if __name__ == "__main__":
    main()
