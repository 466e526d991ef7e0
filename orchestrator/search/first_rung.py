"""Where ``rungs: auto`` puts the first rung: at the earliest evaluation that ranks trials as their end does. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from statistics import StatisticsError, correlation
from typing import Any

from orchestrator.search.objective import WINDOW, Scores, costs, scores_at
from orchestrator.search.trial import FATAL, Trial
from orchestrator.spec import Sweep
from trainers.check import FEWEST_EVALUATIONS

LEAST = 4
"""Trials below which ranks are no correlation."""
ENOUGH = 0.7


def measured(sweep: Sweep, trials: Iterable[Trial]) -> dict[str, Any] | None:
    """``{"images": where the first rung goes, "correlations": [{"images", "trials", "correlation"}, …]}``, once enough
    trials came to their end; None before.

    The correlations are of the first objective's score at each evaluation with that at the end, where a trial that
    ended badly comes last. It counts up to the evaluation before: there is nothing to decide about it any more.
    """
    ended = [t for t in trials if (t.state == "finished" or t.state in FATAL) and not t.outside]
    if len(ended) < sweep.startup:
        return None
    every, images = sweep.evaluate.every_images, sweep.train.images
    found = [_at(sweep, ended, point) for point in range(every, images, every)]
    # the last evaluations before the end share values with the score at the end
    useful = range(FEWEST_EVALUATIONS * every, images - (WINDOW - 1) * every, every)
    good = (one["images"] for one in found if one["images"] in useful and (one["correlation"] or 0) >= ENOUGH)
    return {"images": next(good, sweep.rung_images()[0]), "correlations": found}


def _at(sweep: Sweep, ended: Iterable[Trial], images: int) -> dict[str, Any]:
    def cost(scores: Scores) -> float:
        return costs(sweep.objective, scores)[0]

    pairs = [
        (cost(scores_at(sweep.objective, t.reports, images)), cost(() if t.state in FATAL else t.scores))
        for t in ended
        if t.state == "finished" or t.images >= images + sweep.evaluate.every_images
    ]
    return {"images": images, "trials": len(pairs), "correlation": spearman(pairs)}


def words(found: Mapping[str, Any]) -> str:
    """What was measured, and what came of it."""
    images = found["images"]
    chosen = next((one["correlation"] or 0 for one in found["correlations"] if one["images"] == images), 0)
    why = f"the first that ranks trials as their end does ({ENOUGH:g} or more)"
    if chosen < ENOUGH:
        why = f"a third of the budget, since no evaluation ranks trials as their end does ({ENOUGH:g} or more)"
    told = ", ".join(
        f"{'none' if one['correlation'] is None else format(one['correlation'], '.2f')} at {one['images']:,} "
        f"({one['trials']} trials)"
        for one in found["correlations"]
    )
    return f"first rung at {images:,} images, {why}; rank correlation with the end: {told}"


def spearman(pairs: Sequence[tuple[float, float]]) -> float | None:
    """The rank correlation; None for too few pairs, or where one side is all the same."""
    if len(pairs) < LEAST:
        return None
    first, second = zip(*pairs, strict=True)
    try:
        return correlation(_ranks(first), _ranks(second))
    except StatisticsError:
        return None


def _ranks(values: Sequence[float]) -> list[float]:
    """Equal values share the mean of their ranks."""
    order = sorted(values)
    return [(bisect_left(order, value) + bisect_right(order, value)) / 2 for value in values]
