"""``gansweep train``: one training on this machine, without search, Ray or MLflow."""

from __future__ import annotations

import sys
from pathlib import Path

from orchestrator.spec import Sweep
from trainers.config import Config


def train(sweep: Sweep, out: Path, as_json: bool) -> str:
    """Train with ``resources.workers_per_trial`` local ranks into ``out``, going on from what stands there; print a
    line per report.

    Returns the last verdict.
    """
    from trainers.data import describe, load
    from trainers.launch import last_verdict, run
    from trainers.report import line

    if sweep.resources.workers_per_trial == 1:  # else every rank reads the data in a process of its own
        print(*describe(load(sweep.data)), sep="\n", file=sys.stderr, flush=True)
    reports = 0
    for report in run(sweep.trial_config({}), sweep.resources.workers_per_trial, out):
        reports += 1
        if as_json:
            print(line(report.as_dict()), flush=True)
        else:
            metrics = "  ".join(f"{name} {value:.4g}" for name, value in report.metrics.items())
            print(
                f"{report.images:>10,} images  {report.seconds:7.1f} s  {report.health.verdict}  {metrics}", flush=True
            )
    verdict = last_verdict(out)
    if not reports:
        told = f" with other settings ({changed})" if (changed := _changed(sweep, out)) else ""
        print(f"{out}: ended before ({verdict}){told}; give another --out to train anew", file=sys.stderr)
    return verdict


def _changed(sweep: Sweep, out: Path) -> str:
    """Which settings the training that ended in ``out`` had otherwise."""
    from trainers.sealed import facts
    from trainers.state import newest

    folder = newest(out / "checkpoints")
    assert folder is not None
    theirs = Config.model_validate(facts(folder)["config"]).model_dump()
    return "; ".join(
        f"{group}.{name} was {theirs[group][name]}, now {value}"
        for group, values in sweep.trial_config({}).model_dump().items()
        for name, value in values.items()
        if theirs[group][name] != value
    )
