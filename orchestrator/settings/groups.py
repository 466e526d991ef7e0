"""The groups of settings of a sweep file: what to search, for what, how long, on what, and where to keep it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, Field, model_validator

from orchestrator.settings.dimension import Dimension, Value, ancestors, extended
from orchestrator.settings.presets import PRESETS, started
from trainers.config import Settings
from trainers.files.places import database, place


def _name(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,62}", value):
        raise ValueError(f"{value!r}: use 1 to 63 of a-z, 0-9, '-' and '_', a letter or digit first")
    return value


Name = Annotated[str, AfterValidator(_name)]
Place = Annotated[str, AfterValidator(lambda url: url if url == "auto" else place(url))]
Database = Annotated[str, AfterValidator(database)]


CountOrAuto = Annotated[int, Field(ge=0)] | Literal["auto"]
PositiveOrAuto = Annotated[int, Field(ge=1)] | Literal["auto"]


class Search(Settings):
    """How many trials, chosen how, from which space."""

    trials: int = Field(default=16, ge=1, description="in all; later more: gansweep resume NAME --trials K")
    sampler: Literal["tpe", "gp", "nsga2", "random", "grid"] = Field(
        default="tpe",
        description="tpe (Bergstra et al. 2011), gp (Gaussian processes) and nsga2 (Deb et al. 2002) learn from the "
        "trials before; grid takes every point of a finite space",
    )
    seed: int = Field(default=0, ge=0, description="of the sampler")
    storage: Database = Field(
        default="auto",
        description="the ledger: auto = the profile's, or a journal in the home; or postgresql://…, sqlite:///…",
    )
    space: dict[str, Dimension] = Field(
        default={},
        description="by dotted name: {float: [low, high], log: true}, {int: [low, high]} or {choice: [a, b]}; when: "
        "{other.setting: [values]} makes one conditional",
    )
    start_with: tuple[dict[str, Value] | str, ...] = Field(
        default=(),
        description="settings to try first, before the sampler's own: {train.beta1: 0.5}; or published ones by name, "
        f"as far as the space has them: {', '.join(PRESETS)}",
    )

    @property
    def starts(self) -> list[dict[str, Any]]:
        """``start_with``, with the settings of presets."""
        return [started(one, self.space) for one in self.start_with]

    def points(self) -> Iterator[dict[str, Any]] | None:
        """Every point of a finite space, in which a conditional setting stands only where it is active; None where
        there is no end of them.
        """
        if any(dimension.values is None for dimension in self.space.values()):
            return None
        found: Iterator[dict[str, Any]] = iter([{}])
        for name in sorted(self.space, key=lambda name: len(ancestors(self.space, name))):  # parents first
            found = extended(found, name, self.space[name], self.space[name].values or ())
        return found


class Goal(NamedTuple):
    """One objective."""

    metric: str
    direction: Literal["minimize", "maximize"]


def _listed(metrics: str | tuple[str, ...] | None) -> tuple[str, ...]:
    return (metrics,) if isinstance(metrics, str) else metrics or ()


class Objective(Settings):
    """What "best" means: a metric, or several for a Pareto front, and bounds that a good trial keeps."""

    minimize: str | tuple[str, ...] | None = Field(default=None, description="a metric, or a list: a Pareto front")
    maximize: str | tuple[str, ...] | None = Field(default=None, description="likewise; a file may give both")
    require: dict[str, str] = Field(default={}, description="bounds by metric: {coverage: '>= 0.5'}")

    @model_validator(mode="after")
    def _some_goal(self) -> Objective:
        if not self.goals:
            raise ValueError("give minimize: METRIC or maximize: METRIC, or a list of metrics for a Pareto front")
        if len(set(self.metrics)) < len(self.metrics):
            raise ValueError("a metric stands twice under minimize and maximize")
        for metric, bound in self.require.items():
            if not _BOUND.fullmatch(bound.strip()):
                raise ValueError(f"require.{metric}: {bound!r} is not a bound such as '>= 0.5' or '<= 20'")
        return self

    @property
    def goals(self) -> tuple[Goal, ...]:
        """In the order of the file."""
        down, up = _listed(self.minimize), _listed(self.maximize)
        return (*(Goal(metric, "minimize") for metric in down), *(Goal(metric, "maximize") for metric in up))

    @property
    def told(self) -> str:
        """``minimize fid, maximize coverage``."""
        return ", ".join(f"{goal.direction} {goal.metric}" for goal in self.goals)

    @property
    def metrics(self) -> tuple[str, ...]:
        return tuple(goal.metric for goal in self.goals)

    @property
    def metric(self) -> str:
        """The first, which is what a trial's score is of."""
        return self.goals[0].metric

    @property
    def direction(self) -> Literal["minimize", "maximize"]:
        """Of the first."""
        return self.goals[0].direction

    @property
    def bounds(self) -> dict[str, tuple[str, float]]:
        """metric -> (">=" or "<=", limit)"""
        found = {metric: _BOUND.fullmatch(bound.strip()) for metric, bound in self.require.items()}
        return {metric: (match[1], float(match[2])) for metric, match in found.items() if match}


_BOUND = re.compile(r"(>=|<=)\s*([-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)")


STARTUP = 10
"""Trials that are trained to the end to measure where the first rung goes."""


class Rungs(Settings):
    """Asynchronous successive halving: the best 1/``reduction`` of each rung trains on, to ``reduction`` times the
    images. ``auto`` in place of the group is ``first_images: measured``.
    """

    first_images: Annotated[int, Field(ge=1)] | Literal["early", "late", "auto", "measured"] = Field(
        default="early",
        description="early: a ninth of the budget; late (in older files: auto): a third, never before three "
        f"evaluations; measured: the earliest evaluation, from the third on, at which the first {STARTUP} trials rank "
        "as they do once fully trained",
    )
    reduction: int = Field(default=3, ge=2, description="one trial in so many trains on from a rung to the next")

    @model_validator(mode="before")
    @classmethod
    def _auto(cls, given: Any) -> Any:
        return {"first_images": "measured"} if given == "auto" else given


class Population(Settings):
    """Population based training: trials train together, and copies of the best replace the worst and go on with other
    settings of training.
    """

    every_images: int = Field(ge=1, description="between two replacements")
    replace: float = Field(
        default=0.25, gt=0, le=0.5, description="share of the trials that copies replace, those that ended badly first"
    )


class Confirm(Settings):
    """Re-train the ``top`` finished trials on ``seeds`` fresh seeds each; a seed that fails disqualifies its trial."""

    top: CountOrAuto = Field(
        default="auto", description="auto: 3, or what fits into a third of the sweep's images; 0: no confirmation"
    )
    seeds: int = Field(default=3, ge=1, description="of each trial; where top is auto, at most")


class Budget(Settings):
    """What the sweep may take in all, restarts and confirmation included; the search ends in time to confirm."""

    trials: int | None = Field(default=None, ge=1, description="trainings begun: trials, and the best on fresh seeds")
    hours: float | None = Field(default=None, gt=0, description="while a driver runs, over all resumes")
    device_hours: float | None = Field(
        default=None, gt=0, description="of all legs, times the GPUs (or CPUs) that a trial holds"
    )


class Resources(Settings):
    """What one trial gets, and how many run at once."""

    workers_per_trial: int = Field(default=1, ge=1, le=1024, description="data-parallel ranks of one training")
    cpus_per_worker: float = Field(default=1, gt=0, description="cores that a worker takes")
    gpus_per_worker: float = Field(default=0, ge=0, description="GPUs that a worker takes, or a share of one")
    max_concurrent_trials: PositiveOrAuto = Field(
        default="auto", description="at once; auto: as many as the machine or the cluster has room for"
    )
    priority: float = Field(
        default=1, gt=0, description="among sweeps that share a cluster: one of 2 has twice the places of one of 1"
    )
    memory_per_worker: float = Field(default=0, ge=0, description="GiB of a host that a worker takes; 0: not counted")
    accelerator: str | None = Field(
        default=None, description="the kind of GPU, as nodes are labelled (ray.io/accelerator-type): H100"
    )
    labels: dict[str, str] = Field(
        default={}, description="that a node must have, as ray start --labels gave them: {pool: research}"
    )
    placement: Literal["pack", "spread", "strict_pack"] = Field(
        default="pack", description="of a trial's workers: on few nodes, on many, or all on one"
    )
    hang_seconds: float = Field(
        default=60,
        ge=1,
        description="without a sign of life or a step for so long, a worker counts as hung; "
        "without a batch read or measured, after ten minutes",
    )

    @model_validator(mode="after")
    def _gpu_shares(self) -> Resources:
        if self.gpus_per_worker > 1 and self.gpus_per_worker % 1:
            raise ValueError(f"gpus_per_worker {self.gpus_per_worker}: a fraction up to 1, or a whole number")
        return self

    @property
    def devices(self) -> tuple[float, str]:
        """How many devices one trial holds, and what they are."""
        if self.gpus_per_worker:
            return self.workers_per_trial * self.gpus_per_worker, "GPU"
        return self.workers_per_trial * self.cpus_per_worker, "CPU"


class Tracking(Settings):
    uri: Database = Field(
        default="auto",
        description="auto = the profile's, or an MLflow server in the home; or http://…, postgresql://…, sqlite:///…",
    )


class Artifacts(Settings):
    url: Place = Field(
        default="auto", description="auto = the profile's, or one in the home; or a folder, or s3://bucket/prefix"
    )
