"""``gansweep train``: one training on this machine, without search, Ray or MLflow."""

from __future__ import annotations

import json
from pathlib import Path

from orchestrator.spec import Sweep


def train(sweep: Sweep, out: Path, as_json: bool) -> str:
    """Train with ``resources.workers_per_trial`` local ranks into ``out``, going on from what stands there; print a
    line per report.

    Returns the last verdict.
    """
    from trainers.launch import run

    verdict = "healthy"
    for report in run(sweep.trial_config({}), sweep.resources.workers_per_trial, out):
        verdict = report.health.verdict
        line = report.as_dict()
        if as_json:
            print(json.dumps(line), flush=True)
        else:
            metrics = "  ".join(f"{name} {value:.4g}" for name, value in report.metrics.items())
            print(f"{report.images:>10,} images  {report.seconds:7.1f} s  {verdict}  {metrics}", flush=True)
    return verdict
