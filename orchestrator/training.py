"""``gansweep train``: one training on this machine, without search, Ray or MLflow."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.spec import Sweep
from trainers.config import Config

if TYPE_CHECKING:
    from trainers.report import Report


def train(sweep: Sweep, out: Path, as_json: bool) -> str:
    """Train with ``resources.workers_per_trial`` local ranks into ``out``, going on from what stands there; print a
    line per report.

    Returns the last verdict.
    """
    from trainers.launch import last_verdict, run
    from trainers.report import line
    from trainers.watching.shown import shown

    reports, ranks = 0, sweep.resources.workers_per_trial
    with shown(sweep.train.images, as_json) as watcher:
        for report in run(sweep.trial_config({}), ranks, out, watcher=watcher):
            reports += 1
            print(line(report.as_dict()) if as_json else _words(report), flush=True)
    verdict = last_verdict(out)
    if not reports:
        told = f" with other settings ({changed})" if (changed := _changed(sweep, out)) else ""
        print(f"{out}: ended before ({verdict}){told}; give another --out to train anew", file=sys.stderr)
    return verdict


def _words(report: Report) -> str:
    metrics = "  ".join(f"{name} {value:.4g}" for name, value in report.metrics.items())
    line = f"{report.images:>10,} images  {report.seconds:7.1f} s  {report.health.verdict}  {metrics}"
    return line + "".join(f"\n{'':10} {reason}" for reason in report.health.reasons)


def _changed(sweep: Sweep, out: Path) -> str:
    """Which settings the training that ended in ``out`` had otherwise."""
    from trainers.files.sealed import facts
    from trainers.state import newest

    folder = newest(out / "checkpoints")
    assert folder is not None
    theirs, ours = _flat(Config.model_validate(facts(folder)["config"])), _flat(sweep.trial_config({}))
    return "; ".join(f"{name} was {theirs[name]}, now {value}" for name, value in ours.items() if theirs[name] != value)


def _flat(config: Config) -> dict[str, Any]:
    groups = config.model_dump(exclude={"family", "code"})
    flat = {f"{group}.{name}": value for group, values in groups.items() for name, value in values.items()}
    return {"family": config.family, **flat}
