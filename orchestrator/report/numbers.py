"""All numbers of a report, from the ledger alone: the document of ``gansweep report --json``. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.choice import choose
from orchestrator.report.flow import costs, rank_correlations, rungs, score_at
from orchestrator.report.landscape import landscape
from orchestrator.report.timeline import course_of_run, course_of_trial, over_hours
from orchestrator.search.importance import Measured, importance
from orchestrator.search.population import words
from orchestrator.search.trial import FATAL, Trial
from orchestrator.spec import Sweep
from orchestrator.status import best_row, front_rows, rows

if TYPE_CHECKING:
    from orchestrator.search.known import Known


def numbers(ledger: Known, state: str) -> dict[str, Any]:
    """``{"name", "state", "objective", "devices", "trials", "best", "front", "confirmed", "over_hours", "first_rung",
    "rungs", "rank_correlations", "importance", "landscape", "costs", "space"}``. Hours are device-hours, evaluation
    included; scores, images and the first rung are as in ``gansweep status --json``.
    """
    sweep, trials = ledger.ranked, ledger.trials()
    held, device = sweep.resources.devices
    speeds = {trial.id: trial.images_per_second for trial in trials}
    runs = ledger.confirmations.all()
    courses = [course_of_trial(trial) for trial in trials]
    courses += [course_of_run(run, speeds[run.trial]) for run in runs]
    confirmed = _confirmed(ledger)
    hours = {c.trial: max(c.hours.values(), default=None) for c in courses if c.seed is None}
    inside = [trial for trial in trials if not trial.outside]  # the space may have become narrower
    survivors = _survivors(sweep, inside)
    judged = [(t.params, float(t.state in FATAL)) for t in inside if t.state != "crashed" and t.reports]
    weights = importance(sweep, survivors)
    return {
        "name": sweep.name,
        "state": state,
        "objective": {"metric": sweep.objective.metric, "direction": sweep.objective.direction}
        | {"told": sweep.objective.told, "require": sweep.objective.require},
        "devices": {"a_trial": held, "kind": device},
        "space": {name: dimension.model_dump(mode="json", by_alias=True) for name, dimension in _space(sweep)},
        "trials": [{**row, "hours": hours[row["id"]]} for row in rows(ledger)],
        "best": _best(ledger),
        "front": front_rows(ledger),
        "confirmed": confirmed,
        "notes": ledger.notes,
        "over_hours": over_hours(sweep.objective, trials, courses, confirmed),
        "first_rung": ledger.first_rung,
        "rungs": rungs(sweep, trials),
        "rank_correlations": rank_correlations(sweep, trials),
        "importance": {
            "score": [one._asdict() for one in weights],
            "score_at": sweep.rung_images()[0],
            "collapse": [one._asdict() for one in importance(sweep, judged)],
        },
        "landscape": landscape(sweep, survivors, [one.name for one in weights[:2]]),
        "costs": costs(sweep, trials, courses),
    }


def _best(ledger: Known) -> dict[str, Any] | None:
    """With the ``seed`` of the training that ``promote`` takes, and the ``schedule`` of what changed on its way."""
    best = best_row(ledger)
    if best is None:
        return None
    changed = words(ledger.trial(best["id"]), ledger.trials())
    return best | {"seed": choose(ledger, best["id"], forced=True).training.seed, "schedule": changed}


def _survivors(sweep: Sweep, trials: list[Trial]) -> Measured:
    """Scores at the first rung, where the most trials can be compared, all after as many images."""
    level = sweep.rung_images()[0]
    return [(t.params, s) for t in trials if (s := score_at(sweep, t, level)) is not None]


def _space(sweep: Sweep) -> list[tuple[str, Any]]:
    return list(sweep.search.space.items())


def _confirmed(ledger: Known) -> list[dict[str, Any]]:
    """The ledger's summaries, each with the score that its trial claimed and the verdicts of its seeds."""
    claimed = {trial.id: trial.score for trial in ledger.trials()}
    return [
        {
            **summary,
            "claimed": claimed[summary["trial"]],
            "verdicts": [run.verdict for run in ledger.confirmations.of(summary["trial"])],
        }
        for summary in ledger.confirmations.summaries()
    ]
