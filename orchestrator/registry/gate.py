"""Which trial may become the champion. Pure: values in, refusals in words out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Candidate:
    """A trial as the gate sees it. ``violations``: constraint -> how far it is from being kept (above 0: violated);
    ``fresh_seeds``: on how many the sweep wants it confirmed.
    """

    trial: int
    state: str
    verdict: str
    score: float | None
    checkpoint: str | None
    mlflow_run_id: str | None
    reasons: Sequence[str] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    violations: Mapping[str, float] = field(default_factory=dict)
    confirmed: Mapping[str, Any] | None = None
    failed_seeds: Sequence[int] = ()
    fresh_seeds: int = 0


def refusals(candidate: Candidate) -> list[str]:
    """Why this trial must not be promoted; empty where it may."""
    found = []
    if candidate.state != "finished":
        why = f" ({'; '.join(candidate.reasons)})" if candidate.reasons else ""
        found.append(f"it is {candidate.state}, not finished{why}")
    elif candidate.verdict != "healthy":
        found.append(f"its last verdict is {candidate.verdict}: {'; '.join(candidate.reasons)}")
    if candidate.state == "finished" and candidate.score is None:
        found.append("it has no score: the objective was never measured")
    for constraint, distance in candidate.violations.items():
        if distance > 0:
            metric = constraint.split()[0]
            measured = candidate.metrics.get(metric)
            found.append(
                f"it violates {constraint}" + (f" (last measured {measured:.4g})" if measured is not None else "")
            )
    if candidate.failed_seeds:
        found.append(f"it did not survive re-training on seed {', '.join(map(str, candidate.failed_seeds))}")
    elif candidate.fresh_seeds and (candidate.confirmed is None or candidate.confirmed["median"] is None):
        found.append(f"it is not confirmed on {candidate.fresh_seeds} fresh seeds: let the sweep finish, or resume it")
    return found


def impossible(candidate: Candidate) -> str | None:
    """What not even ``--force`` can mend."""
    if candidate.checkpoint is None:
        return "it has no checkpoint: nothing was stored before it ended"
    return None
