"""What came of a sweep, as one JSON document: run on any machine that reaches ledger and MLflow.

    python -m infra.cluster.verify NAME

``faults`` lists what must not be: a trial that has not ended once, a trial without exactly one run of MLflow, a point
of a curve that is missing, there twice, or other than in the ledger's order.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run


def verify(name: str) -> dict[str, Any]:
    """``{"state", "best", "curves": {trial: [[images, fid], …]}, "faults": [text, …]}``"""
    asked = subprocess.run(
        [sys.executable, "-m", "orchestrator", "status", name, "--json"], capture_output=True, text=True, check=False
    )
    if asked.returncode:
        return {"state": "unknown", "best": None, "curves": {}, "faults": [asked.stderr.strip()]}
    status = json.loads(asked.stdout)
    client = MlflowClient()
    experiment = client.get_experiment_by_name(name)
    found = client.search_runs([experiment.experiment_id], max_results=1000) if experiment else []
    runs: dict[str, list[Run]] = {}
    for run in found:
        runs.setdefault(run.data.tags.get("gansweep.trial", "sweep"), []).append(run)
    faults, curves = [], {}
    for trial in status["trials"]:
        identity = str(trial["id"])
        if trial["state"] in ("running", "waiting") and status["state"] == "finished":
            faults.append(f"trial {identity} is {trial['state']} in a finished sweep")
        own = runs.pop(identity, [])
        if len(own) != 1:
            faults.append(f"trial {identity} has {len(own)} MLflow runs")
            continue
        if own[0].info.status == "RUNNING" and status["state"] == "finished":
            faults.append(f"trial {identity} is still RUNNING in MLflow")
        points = {
            name: [(point.step, point.value) for point in client.get_metric_history(own[0].info.run_id, name)]
            for name in own[0].data.metrics
        }
        for name, known in points.items():
            if twice := [step for step, count in Counter(step for step, _ in known).items() if count > 1]:
                faults.append(f"trial {identity} has points of {name} twice: {sorted(twice)}")
        steps = {step for step, _ in points.get("fid", ())}
        for name in ("images", "score", "loss/generator", "health/verdict", "images_per_second"):
            if missing := steps ^ {step for step, _ in points.get(name, ())}:
                faults.append(f"trial {identity}: {name} and fid are not both there after {sorted(missing)} images")
        curves[identity] = sorted(points.get("fid", ()))
        if curves[identity] and curves[identity][-1][0] != trial["images"]:
            faults.append(
                f"trial {identity}: MLflow ends at {curves[identity][-1][0]}, the ledger at {trial['images']}"
            )
    sweeps = runs.pop("sweep", [])
    if len(sweeps) != 1:
        faults.append(f"the sweep has {len(sweeps)} MLflow runs")
    faults += [f"MLflow has runs of trial {trial}, which is in no ledger" for trial in runs if ":" not in trial]
    best = status["best"] and {"id": status["best"]["id"], "score": status["best"]["score"]}
    return {"state": status["state"], "best": best, "curves": curves, "faults": faults}


if __name__ == "__main__":
    print(json.dumps(verify(sys.argv[1])))
