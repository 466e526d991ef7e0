"""When a sweep knew what, in device-hours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.search import objective
from orchestrator.search.confirmation import Confirmation
from orchestrator.search.trial import BAD, Trial
from orchestrator.settings.groups import Objective


@dataclass(frozen=True)
class Course:
    """One training as reports: the search's own of a trial (``seed`` is None), or one on a fresh seed.

    ``hours`` are device-hours up to each report, ``at`` when it came, in seconds since the epoch. It has ``begun`` with
    the first image, or after those of another.
    """

    trial: int
    seed: int | None
    reports: Mapping[int, Mapping[str, float]]
    hours: dict[int, float] = field(default_factory=dict)
    at: dict[int, float] = field(default_factory=dict)
    begun: int = 0


def course_of_trial(trial: Trial) -> Course:
    """The search's own training of a trial."""
    return _course(trial.id, None, trial, trial.images_per_second, trial.begun)


def course_of_run(run: Confirmation, speed: float | None) -> Course:
    """A training on a fresh seed, at the ``speed`` of its trial."""
    return _course(run.trial, run.seed, run, speed)


def _course(trial: int, seed: int | None, trained: Trial | Confirmation, speed: float | None, begun: int = 0) -> Course:
    """A ledger keeps what all legs of a training took, and the time of its last report: the others share in the one,
    and lie before the other, as their images say.
    """
    reports, last = trained.reports, trained.reported_at
    if not reports or not speed or last is None:
        return Course(trial, seed, reports, begun=begun)
    end, spent = max(reports), trained.device_seconds / 3600
    hours = {images: spent * (images - begun) / (end - begun) for images in reports}
    return Course(trial, seed, reports, hours, {images: last - (end - images) / speed for images in reports}, begun)


def moments(courses: Iterable[Course]) -> Iterator[tuple[float, Course, int]]:
    """(device-hours spent by the whole sweep, training, images) at each report, in the order in which they came."""
    spent = 0.0
    events = [(at, course.trial, course, images) for course in courses for images, at in course.at.items()]
    told: dict[tuple[int, int | None], float] = {}
    for _, _, course, images in sorted(events, key=lambda event: (event[0], event[1], event[3])):
        key = (course.trial, course.seed)
        spent += course.hours[images] - told.get(key, 0.0)
        told[key] = course.hours[images]
        yield spent, course, images


def over_hours(
    aim: Objective, trials: list[Trial], courses: list[Course], confirmed: list[dict[str, Any]]
) -> dict[str, Any]:
    """``trials``: the score that each stands at, at the moment of its last report; ``best``: the best claimed so far,
    by trials that did not end badly and keep every constraint; ``confirmed``: medians on fresh seeds, when they were
    known.
    """
    good = {t.id for t in trials if t.state not in BAD and t.feasible}
    medians = {one["trial"]: one for one in confirmed if one["median"] is not None}
    stand: dict[int, dict[str, Any]] = {}
    best: list[dict[str, Any]] = []
    known: dict[int, float] = {}
    for spent, course, images in moments(courses):
        if course.seed is not None:
            known[course.trial] = spent
            continue
        value = objective.score(aim, course.reports, images)
        if value is None:
            continue
        stand[course.trial] = {"trial": course.trial, "hours": spent, "score": value}
        ahead = not best or objective.cost(aim, value) < objective.cost(aim, best[-1]["score"])
        if course.trial in good and ahead:
            best.append({"trial": course.trial, "hours": spent, "score": value, "images": images})
    certain = [
        {"trial": trial, "hours": hours, "median": medians[trial]["median"], "scores": medians[trial]["scores"]}
        for trial, hours in known.items()
        if trial in medians
    ]
    return {"trials": list(stand.values()), "best": best, "confirmed": certain}
