"""Which generator of a sweep is the one to promote: of which trial, and of which of its trainings."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.artifacts import Store
from orchestrator.commands import command
from orchestrator.errors import UserError, WorkError
from orchestrator.registry.gate import Candidate, refusals
from orchestrator.search.effort import confirming
from orchestrator.search.known import Known
from orchestrator.search.objective import cost
from orchestrator.search.trial import Training, Trial
from orchestrator.settings.groups import Objective
from orchestrator.spec import counted
from orchestrator.status import front_rows, front_words

if TYPE_CHECKING:
    from orchestrator.generators.generator import Generator


class Choice(NamedTuple):
    """``candidate`` is what the gate is shown of ``training``; ``candidates`` are all trainings of the trial."""

    trial: Trial
    candidate: Candidate
    training: Training
    candidates: list[Candidate]


def choose(ledger: Known, number: int | None, forced: bool) -> Choice:
    """Of trial ``number``, or of the best. Raises UserError where there is no such trial, or several objectives and no
    ``number``; WorkError where none is good enough and it is not ``forced``.
    """
    trial = _trial(ledger, number, forced)
    trainings = ledger.trainings(trial)
    candidates = [_candidate(ledger, trial, training) for training in trainings]
    candidate = best_of(candidates, ledger.sweep.objective)
    return Choice(trial, candidate, trainings[candidates.index(candidate)], candidates)


def generator(ledger: Known, store: Store, number: int | None) -> Generator:
    """The one that ``promote`` would take; where the gate would refuse all, the best by score."""
    from orchestrator.generators.generator import opened  # brings torch

    trial, _, training, _ = choose(ledger, number, forced=True)
    if training.checkpoint is None:
        raise WorkError(f"trial {trial.id} has no checkpoint yet")
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = store.get(training.checkpoint, Path(folder) / "checkpoint")
        return opened(str(checkpoint), raw=False, trusted=ledger.sweep.code, uri="")


def best_of(candidates: Sequence[Candidate], objective: Objective) -> Candidate:
    """The best by score of a trial's trainings that the gate lets pass; the first, the search's own, where none does.

    Confirmation has shown what its settings are worth on any seed; which of the generators to keep is another question.
    """
    passing = [c for c in candidates if not refusals(c)]
    return min(passing, key=lambda c: cost(objective, c.score or 0.0), default=candidates[0])


def _trial(ledger: Known, number: int | None, forced: bool) -> Trial:
    """The one that is asked for, or the best; where none is good enough and it is forced, the best by score."""
    trials = ledger.trials()
    if number is not None:
        if number not in range(len(trials)):
            raise UserError(
                f"sweep '{ledger.sweep.name}' has no trial {number}; it has 0 to {len(trials) - 1}"
                if trials
                else "no trials yet"
            )
        return trials[number]
    if len(ledger.sweep.objective.goals) > 1:
        raise UserError(_which(ledger))
    best = ledger.best() or (_nearest(ledger.sweep.objective, trials) if forced else None)
    if best is None:
        raise WorkError(f"sweep '{ledger.sweep.name}' has no trial to promote: {_why_none(ledger, trials)}")
    return best


def _which(ledger: Known) -> str:
    """A sweep with several objectives has no best trial: somebody has to say which."""
    name, front = ledger.sweep.name, front_rows(ledger)
    if not front:
        return f"sweep '{name}' has no trial on its Pareto front yet: {_why_none(ledger, ledger.trials())}"
    told = "".join(f"\n  {line}" for line in front_words(front))
    return (
        f"sweep '{name}' has several objectives, and no best trial: choose one of its Pareto front with --trial{told}"
    )


def _nearest(objective: Objective, trials: list[Trial]) -> Trial | None:
    """Of the finished ones the best by score, those that keep every constraint first."""
    scored = [t for t in trials if t.state == "finished" and t.score is not None]
    return min(scored, key=lambda t: (not t.feasible, cost(objective, t.score or 0.0)), default=None)


def _why_none(ledger: Known, trials: list[Trial]) -> str:
    finished = [t for t in trials if t.state == "finished"]
    if not finished:
        counts = {state: sum(t.state == state for t in trials) for state in sorted({t.state for t in trials})}
        return (
            "none has finished ("
            + (", ".join(f"{n} {state}" for state, n in counts.items()) or "none was started")
            + ")"
        )
    broken = sorted({name for t in finished for name, distance in t.violations.items() if distance > 0})
    ill = sorted({t.verdict for t in finished} - {"healthy"})
    faults = [f"violate {', '.join(broken)}"] if broken else []
    faults += [f"ended {', '.join(ill)}{_example(finished)}"] if ill else []
    failed = sorted({c.trial for c in ledger.confirmations.all() if c.failed})
    faults += [f"did not survive re-training on a fresh seed ({', '.join(map(str, failed))})"] if failed else []
    faults += ["were never scored"] if any(t.score is None for t in finished) else []
    more = ["relax objective.require"] if broken else []
    more += ["train longer or evaluate more often, so that it can be judged"] if "unjudged" in ill else []
    anyway = command("promote", ledger.sweep.name, "--force", "--reason", "TEXT")
    return (
        f"{counted(len(finished), 'trial')} finished, and all {' or '.join(faults)}; "
        f"{', '.join([*more, 'search further'])}, or take the best by score all the same: {anyway}"
    )


def _example(finished: list[Trial]) -> str:
    """Why the first that did not end healthy has not."""
    first = next(t for t in finished if t.verdict != "healthy")
    return f" (trial {first.id}: {'; '.join(first.reasons)})" if first.reasons else ""


def _candidate(ledger: Known, trial: Trial, training: Training) -> Candidate:
    confirmed = next((c for c in ledger.confirmations.summaries() if c["trial"] == trial.id), None)
    return Candidate(
        trial.id,
        training.state,
        training.verdict,
        training.score,
        training.checkpoint,
        training.mlflow_run_id,
        training.reasons,
        training.metrics,
        training.violations,
        confirmed,
        [c.seed for c in ledger.confirmations.of(trial.id) if c.failed],
        confirming(ledger.sweep).seeds,
        training.seed,
    )
