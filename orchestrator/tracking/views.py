"""How MLflow's own pages open on a sweep: saved views, as MLflow's pages keep them in an experiment's tags."""

from __future__ import annotations

import base64
import json
import math
import time
import uuid
import zlib
from typing import Any

from orchestrator.spec import Sweep

RUNS, CHARTS = "gansweep", "gansweep-charts"
"""The two views: a table, the best first; and charts."""
_TAG = "mlflow.sharedViewState."
_KIND = {"mlflow.experimentKind": "custom_model_development"}
"""Without it MLflow guesses, and shows what is made for language models."""
ENDS = ("finished", "pruned", "stuck", "collapsed", "diverged", "crashed")
SAMPLES = "Samples"
WIDE, NARROW = {"columns": 1, "cardHeight": 640}, {"columns": 3, "cardHeight": 320}
"""Cards of a section: that of the samples is as wide as the page, since it shows as many grids as it has room for."""
GENERATED = ("Model metrics", "score", "System metrics")
"""Sections, before ``health``, that MLflow fills with a chart of each metric; where none has such a name, it makes one
at the end, unfolded.
"""
SHOWN_RATES = ("train.generator_lr", "train.discriminator_lr", "train.loss")


def page(server: str, experiment: str, charts: bool = False) -> str:
    """The address of a view."""
    words = f"workflowType=machine_learning&viewStateShareKey={CHARTS if charts else RUNS}"
    return f"{server}/#/experiments/{experiment}/runs?{words}{'&compareRunsMode=CHART' if charts else ''}"


def views_of(sweep: Sweep, parent: str) -> dict[str, str]:
    """The experiment's tags: both views, with the sweep's own run ``parent`` pinned."""
    table, now = _state(sweep, parent), round(time.time() * 1000)
    return {
        **_KIND,
        f"{_TAG}{RUNS}": _saved("Trials, the best first", table, now),
        f"{_TAG}{CHARTS}": _saved("Charts", table | _charts(sweep), now),
    }


def _saved(name: str, state: dict[str, Any], now: int) -> str:
    packed = base64.b64encode(zlib.compress(_json(state).encode())).decode()
    return _json({"name": name, "createdAt": now, "state": f"deflate;{packed}"})


def _state(sweep: Sweep, parent: str) -> dict[str, Any]:
    columns = [
        *(f"metrics.`{name}`" for name in ("score", "score/confirmed", *_measures(sweep), "images")),
        *(f"tags.`gansweep.{name}`" for name in ("verdict", "state")),
        *(f"params.`{name}`" for name in dict.fromkeys((*SHOWN_RATES, *sweep.search.space))),
    ]
    return {
        "searchFilter": "",
        "orderByKey": "metrics.`score`",
        "orderByAsc": sweep.objective.direction == "minimize",
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": columns,
        "columnOrder": columns,
        "runsPinned": [parent],
        "runsExpanded": {parent: True},
        "runsHidden": [],
        "runsHiddenMode": "FIRST_10_RUNS",
        "viewMaximized": False,
        "runListHidden": False,
    }


def _charts(sweep: Sweep) -> dict[str, Any]:
    """Few and named before the many: quality, then samples, how the sweep went, losses, speed, and health last."""
    aim, others = sweep.objective.metric, _measures(sweep)[1:]
    varied = list(sweep.search.space)
    sections: list[tuple[str, bool, list[dict[str, Any]]]] = [
        ("Quality", True, [_line(aim, aim, log=True), *(_line(one, one) for one in others), _parallel(varied, aim)]),
        (SAMPLES, True, [_grids(_first_compared(sweep))]),
        ("Confirmation", True, [_line(f"confirm/{aim}", f"{aim} on fresh seeds")]),
        (
            "Sweep, over device-seconds",
            True,
            [*(_line(f"best/{one}", f"best {one}") for one in sweep.objective.metrics), *map(_count, ENDS)],
        ),
        ("Losses", True, [_line("loss/generator", "generator"), _line("loss/discriminator", "discriminator")]),
        ("Speed", False, [_line("images_per_second", "images per second")]),
        *((name, False, []) for name in GENERATED),
        ("health", False, [_line("health/verdict", "verdict: 0 healthy, 2 collapsed, 3 diverged")]),
    ]
    named = [(_id(title), title, open_, cards) for title, open_, cards in sections]
    return {
        "compareRunSections": [
            {
                **{"uuid": section, "name": title, "display": open_, "isReordered": True},
                **{"deleted": False, "isGenerated": False, **(WIDE if title == SAMPLES else NARROW)},
            }
            for section, title, open_, _ in named
        ],
        "compareRunCharts": [
            {
                **{"uuid": _id(f"{title}/{i}"), "metricSectionId": section, "deleted": False, "isGenerated": False},
                **{"runsCountToCompare": 10, **card},
            }
            for section, title, _, cards in named
            for i, card in enumerate(cards)
        ],
        "isAccordionReordered": True,
        "hideEmptyCharts": True,
        "autoRefreshEnabled": True,
    }


def _line(metric: str, name: str, log: bool = False) -> dict[str, Any]:
    look = {"scaleType": "log" if log else "linear", "xAxisKey": "step", "lineSmoothness": 0, "ignoreOutliers": False}
    return {"type": "LINE", "metricKey": metric, "selectedMetricKeys": [metric], "displayName": name, **look}


def _count(state: str) -> dict[str, Any]:
    return _line(f"trials/{state}", f"trials {state}")


def _grids(step: int) -> dict[str, Any]:
    return {"type": "IMAGE", "imageKeys": ["samples"], "step": step, "displayName": "samples", "showRunParams": False}


def _first_compared(sweep: Sweep) -> int:
    """Images of the report at which every trial that came so far is compared: the first after the rung, once its batch
    is whole.
    """
    every, batch = sweep.evaluate.every_images, sweep.train.batch_size
    due = min(math.ceil(sweep.rung_images()[0] / every) * every, sweep.train.images)
    return math.ceil(due / batch) * batch


def _parallel(params: list[str], metric: str) -> dict[str, Any]:
    chosen = {"selectedParams": params[:8], "selectedMetrics": [metric], "showAllRuns": True}
    return {"type": "PARALLEL", "displayName": "settings and score", **chosen}


def _measures(sweep: Sweep) -> list[str]:
    """The objective first, then what it is bound by, then what else stands for variety."""
    known = (*sweep.objective.metrics, *sweep.objective.bounds, *(m for m in sweep.evaluate.metrics if m == "coverage"))
    return list(dict.fromkeys(known))


def _id(name: str) -> str:
    """The same at each writing, so that what a user folded stays so."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"gansweep/{name}"))


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
