"""What "best" means: a score from the last evaluations, and constraints a good trial keeps. Pure functions on plain
values.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from statistics import median

from orchestrator.spec import Objective

WINDOW = 3
"""A score is the median of this many last evaluations: one lucky minimum of a noisy FID must not win a sweep."""

Reports = Mapping[int, Mapping[str, float]]
"""images shown -> metrics"""


def score(objective: Objective, reports: Reports, upto: int | None = None) -> float | None:
    """Median of the objective over the last evaluations (at or before ``upto`` images); None where there are none."""
    return _recent(objective.metric, reports, upto)


def score_at(objective: Objective, reports: Reports, level: int) -> float | None:
    """The score as it stood at the first evaluation at or past ``level`` images; None where none came so far."""
    upto = min((images for images in reports if images >= level), default=None)
    return None if upto is None else score(objective, reports, upto)


def violations(objective: Objective, reports: Reports) -> dict[str, float]:
    """Constraint -> how far it is from being kept; zero or less is kept (Optuna's convention). Unmeasured counts as
    violated.
    """
    found = {}
    for metric, (sign, limit) in objective.bounds.items():
        value = _recent(metric, reports, None)
        distance = 1.0 if value is None else (limit - value if sign == ">=" else value - limit)
        found[f"{metric} {sign} {limit:g}"] = distance
    return found


def cost(objective: Objective, value: float) -> float:
    """``value`` turned so that less is better, whichever way the objective goes."""
    return value if objective.direction == "minimize" else -value


def worst(objective: Objective, scores: Iterable[float]) -> float:
    """The worst of ``scores``, told to the sampler for trials that earned none; 0 where there are no scores yet."""
    return (max if objective.direction == "minimize" else min)(scores, default=0.0)


def _recent(metric: str, reports: Reports, upto: int | None) -> float | None:
    values = [
        reports[images][metric]
        for images in sorted(reports)
        if (upto is None or images <= upto) and math.isfinite(reports[images].get(metric, math.nan))
    ]
    return median(values[-WINDOW:]) if values else None
