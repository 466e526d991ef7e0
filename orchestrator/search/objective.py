"""What "best" means: a score from the last evaluations, and constraints a good trial keeps. Pure functions on plain
values.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from statistics import median

from orchestrator.settings.groups import Objective

WINDOW = 3
"""A score is the median of this many last evaluations: one lucky minimum of a noisy FID must not win a sweep."""

Reports = Mapping[int, Mapping[str, float]]
"""images shown -> metrics"""


Scores = tuple[float, ...]
"""One for each objective, in the order of the file; none where one of them is missing."""


def score(objective: Objective, reports: Reports, upto: int | None = None) -> float | None:
    """Median of the first objective over the last evaluations (at or before ``upto`` images); None where there are
    none.
    """
    return _recent(objective.metric, reports, upto)


def scores(objective: Objective, reports: Reports, upto: int | None = None) -> Scores:
    """Medians of each objective over the last evaluations (at or before ``upto`` images)."""
    found = [_recent(metric, reports, upto) for metric in objective.metrics]
    return tuple(value for value in found if value is not None) if None not in found else ()


def scores_at(objective: Objective, reports: Reports, level: int) -> Scores:
    """The scores as they stood at the first evaluation at or past ``level`` images; none where none came so far."""
    upto = min((images for images in reports if images >= level), default=None)
    return () if upto is None else scores(objective, reports, upto)


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


def unmeasured(objective: Objective, reported: Iterable[Reports]) -> list[str]:
    """Metrics of the objective or of a constraint that no report of any of these trainings has."""
    seen = {metric for reports in reported for values in reports.values() for metric in values}
    return [metric for metric in dict.fromkeys((*objective.metrics, *objective.bounds)) if metric not in seen]


def cost(objective: Objective, value: float) -> float:
    """A score of the first objective, turned so that less is better, whichever way it goes."""
    return value if objective.direction == "minimize" else -value


def costs(objective: Objective, values: Scores) -> tuple[float, ...]:
    """Scores turned so that less is better; infinite where there are none."""
    if not values:
        return (math.inf,) * len(objective.goals)
    return tuple(v if goal.direction == "minimize" else -v for v, goal in zip(values, objective.goals, strict=True))


def worst(objective: Objective, seen: Iterable[Scores]) -> Scores:
    """The worst of ``seen``, told to the sampler for trials that earned none; zeros where there are no scores yet."""
    columns = list(zip(*seen, strict=True)) or [(0.0,)] * len(objective.goals)
    ends = (max if goal.direction == "minimize" else min for goal in objective.goals)
    return tuple(end(column) for end, column in zip(ends, columns, strict=True))


def _recent(metric: str, reports: Reports, upto: int | None) -> float | None:
    values = [
        reports[images][metric]
        for images in sorted(reports)
        if (upto is None or images <= upto) and math.isfinite(reports[images].get(metric, math.nan))
    ]
    return median(values[-WINDOW:]) if values else None
