"""How trials went from rung to rung, what that cost, and whether early ranks held."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import Any

from orchestrator.report.timeline import Course
from orchestrator.search import objective
from orchestrator.search.first_rung import spearman
from orchestrator.search.trial import BAD, FATAL, Trial
from orchestrator.spec import Sweep


def rungs(sweep: Sweep, trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """For each rung: how many trials set out for it, and what became of them, as ``on`` (beyond it, or finished) and by
    their state where they went no further.
    """
    found, before = [], 0
    for number, level in enumerate(sweep.rung_images(), start=1):
        there = [t for t in trials if t.rung >= number - 1 and (t.target >= level or t.rung >= number)]
        out = [t for t in there if t.begun < level]
        fates = Counter(_fate(t, number, level) for t in out)
        found.append({"rung": number, "images": level, "from": before, "trials": len(out), "fates": dict(fates)})
        before = level
    return found


def _fate(trial: Trial, number: int, level: int) -> str:
    further = trial.rung > number or (trial.rung == number and trial.target > level)
    return "on" if further or trial.state == "finished" else trial.state


def score_at(sweep: Sweep, trial: Trial, level: int) -> float | None:
    """Of the first objective, as ``objective.scores_at``; None for a trial that ended badly, or began later."""
    if trial.state in BAD or trial.begun >= level:
        return None
    return next(iter(objective.scores_at(sweep.objective, trial.reports, level)), None)


def rank_correlations(sweep: Sweep, trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """Spearman's, between the scores at every two rungs, over the trials that came to both; None for too few."""
    levels = sweep.rung_images()
    at = {level: {t.id: s for t in trials if (s := score_at(sweep, t, level)) is not None} for level in levels}
    found = []
    for early, late in combinations(levels, 2):
        both = sorted(at[early].keys() & at[late].keys())
        pairs = [(at[early][i], at[late][i]) for i in both]
        found.append({"early": early, "late": late, "trials": len(both), "correlation": spearman(pairs)})
    return found


def costs(sweep: Sweep, trials: Sequence[Trial], courses: Sequence[Course]) -> list[dict[str, Any]]:
    """Images and device-hours up to each rung and of the fresh seeds; ``lost``: what of it went into trainings that
    ended badly.
    """
    bad = {t.id for t in trials if t.state in FATAL or t.state == "crashed"}
    own, again = [c for c in courses if c.seed is None], [c for c in courses if c.seed is not None]
    found, before = [], 0
    for number, level in enumerate(sweep.rung_images(), start=1):
        found.append({"phase": f"rung {number}", **_spent(own, before, level, bad)})
        before = level
    return [*found, {"phase": "fresh seeds", **_spent(again, 0, sweep.train.images, set())}]


def _spent(courses: Sequence[Course], low: int, high: int, bad: set[int]) -> dict[str, Any]:
    images, hours, lost, trainings = 0, 0.0, 0.0, 0
    for course in courses:
        shown = max(course.reports, default=0)
        part = min(shown, high) - max(low, course.begun)
        if part <= 0:
            continue
        took = course.hours.get(shown, 0.0) * part / (shown - course.begun)
        images, hours, trainings = images + part, hours + took, trainings + 1
        lost += took if course.trial in bad else 0.0
    return {"trainings": trainings, "images": images, "hours": hours, "lost": lost}
