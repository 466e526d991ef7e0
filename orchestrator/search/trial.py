"""One trial as the ledger knows it, and a leg of its training. Plain values, known to every room above."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, get_args

from orchestrator.paths import RunKey

State = Literal["running", "waiting", "finished", "pruned", "stuck", "collapsed", "diverged", "crashed"]
ENDED = frozenset(get_args(State)) - {"running", "waiting"}
FATAL: tuple[Literal["stuck", "collapsed", "diverged"], ...] = ("stuck", "collapsed", "diverged")
"""Verdicts that are an end: a trial whose last verdict is one of them has the state of that name."""
BAD = frozenset({*FATAL, "crashed"})

Blame = Literal["settings", "memory", "rank", "lost", "hung"]
"""Classes of failures that are held against a trial: its settings or code, too little memory, an error of a rank (its
device, its disk), a rank's process that died, ranks that hung.
"""
RETRIES: dict[Blame, int] = {"settings": 0, "memory": 1, "rank": 2, "lost": 2, "hung": 2}
"""So often a leg is tried again from its last checkpoint after failures of one class; then its trial is crashed.
Settings fail the same way each time; memory may have been used by others.
"""


class Origin(NamedTuple):
    """A trial that goes on from the ``checkpoint`` of another ``trial``, made after so many ``images``, in place of one
    that was ``replaced``.
    """

    trial: int
    images: int
    checkpoint: str
    replaced: int

    @property
    def words(self) -> str:
        return f"goes on from trial {self.trial} after {self.images:,} images, in place of trial {self.replaced}"


@dataclass(frozen=True)
class Trial:
    """``target`` is the number of images its current or last leg goes to; ``rung`` counts the rungs it has reached;
    ``reported_at`` is the time of its last report, in seconds since the epoch; ``scores`` are of each objective,
    ``score`` is the first of them; ``device_seconds`` are those of all its legs, by the driver's clock.
    One ``outside`` the space, as it is by now, counts no more; one that is ``unwanted`` ends as pruned.
    """

    id: int
    params: dict[str, Any]
    state: State
    target: int
    images: int = 0
    rung: int = 0
    failures: dict[Blame, int] = field(default_factory=dict)
    checkpoints: tuple[str, ...] = ()
    verdict: str = "unjudged"
    reasons: tuple[str, ...] = ()
    score: float | None = None
    scores: tuple[float, ...] = ()
    images_per_second: float | None = None
    device_seconds: float = 0.0
    reported_at: float | None = None
    error: str | None = None
    reports: dict[int, dict[str, float]] = field(default_factory=dict)
    violations: dict[str, float] = field(default_factory=dict)
    mlflow_run_id: str | None = None
    outside: bool = False
    unwanted: bool = False
    origin: Origin | None = None

    @property
    def begun(self) -> int:
        """Images that were shown in another trial, from which it goes on."""
        return self.origin.images if self.origin else 0

    @property
    def checkpoint(self) -> str | None:
        """Key of the newest stored checkpoint; the one before is kept to fall back to."""
        return self.checkpoints[-1] if self.checkpoints else None

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    @property
    def feasible(self) -> bool:
        return all(distance <= 0 for distance in self.violations.values())

    @property
    def too_large(self) -> bool:
        """Whether it crashed for want of memory."""
        return self.state == "crashed" and self.failures.get("memory", 0) > RETRIES["memory"]

    @property
    def promotable(self) -> bool:
        """Finished and healthy, with a score and every constraint kept, inside the space."""
        healthy = self.state == "finished" and self.verdict == "healthy"
        return healthy and self.score is not None and self.feasible and not self.outside

    @property
    def metrics(self) -> dict[str, float]:
        """As last measured."""
        return self.reports[max(self.reports)] if self.reports else {}


@dataclass(frozen=True)
class Training:
    """A training that can be promoted: the search's own of a trial, or its re-training on ``confirm_seed``."""

    seed: int
    confirm_seed: int | None
    state: State
    score: float | None
    verdict: str
    reasons: tuple[str, ...]
    images: int
    metrics: dict[str, float]
    violations: dict[str, float]
    checkpoint: str | None
    mlflow_run_id: str | None


@dataclass(frozen=True)
class Leg:
    """A segment of training: trial ``trial`` from the last of ``checkpoints`` (or none) until ``until`` images.

    ``confirm_seed`` is set where the trial is trained afresh on another seed, to see whether its score was luck. Of the
    checkpoints those that are ``shared`` stay: other trials go on from them.
    """

    trial: int
    params: dict[str, Any]
    until: int
    checkpoints: tuple[str, ...] = ()
    confirm_seed: int | None = None
    shared: frozenset[str] = frozenset()

    @property
    def run(self) -> RunKey:
        """The MLflow run that it belongs to."""
        return self.trial if self.confirm_seed is None else (self.trial, self.confirm_seed)


def one_more(failures: dict[Blame, int], blame: Blame | None) -> dict[Blame, int]:
    """After another failure, which counts where something is to blame."""
    return failures | {blame: failures.get(blame, 0) + 1} if blame else failures


def used_up(failures: dict[Blame, int]) -> bool:
    """Whether a training with these failures is not tried again."""
    return any(count > RETRIES[blame] for blame, count in failures.items())


def with_newest(checkpoints: tuple[str, ...], newest: str) -> tuple[str, ...]:
    """The last two, each once: the one before is there to fall back to."""
    return (*(key for key in checkpoints if key != newest), newest)[-2:]
