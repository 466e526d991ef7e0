"""The sweep file as frozen values, checked so that what starts can also end.

``load`` is the way in: YAML -> ``Sweep``, or one SettingsError with every problem of the file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, Field, ValidationError, model_validator

from orchestrator.dimension import Dimension, Value
from orchestrator.sharing import SHARED, unshared
from trainers.config import TORCHSCRIPT, Config, Settings
from trainers.places import database, is_missing, place
from trainers.settings import Document, Problem, build, did_you_mean, parse, read

EARLIEST = 3
"""Evaluations before trials are first compared, as many as a score is the median of."""


LAGGING = 0.2
"""Share of its first weights with which an averaged generator is not the one that was trained."""


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

    trials: int = Field(default=16, ge=1)
    sampler: Literal["tpe", "random"] = "tpe"
    seed: int = Field(default=0, ge=0)
    storage: Database = Field(
        default="auto", description="the ledger: auto = a journal file in the home, or an Optuna RDB URL"
    )
    space: dict[str, Dimension] = Field(default={})
    start_with: tuple[dict[str, Value], ...] = Field(
        default=(), description="settings to try first, before the sampler's own"
    )

    def points(self) -> Iterator[dict[str, Any]] | None:
        """Every point of a finite space, in which a conditional setting stands only where it is active; None where
        there is no end of them.
        """
        if any(dimension.values is None for dimension in self.space.values()):
            return None
        found: Iterator[dict[str, Any]] = iter([{}])
        for name in sorted(self.space, key=lambda name: len(_ancestors(self.space, name))):  # parents first
            found = _extended(found, name, self.space[name])
        return found


class Objective(Settings):
    """What "best" means: one metric, and bounds that a good trial keeps."""

    minimize: str | None = None
    maximize: str | None = None
    require: dict[str, str] = Field(default={})

    @model_validator(mode="after")
    def _one_direction(self) -> Objective:
        if (self.minimize is None) == (self.maximize is None):
            raise ValueError("give exactly one of minimize: METRIC or maximize: METRIC")
        for metric, bound in self.require.items():
            if not _BOUND.fullmatch(bound.strip()):
                raise ValueError(f"require.{metric}: {bound!r} is not a bound such as '>= 0.5' or '<= 20'")
        return self

    @property
    def metric(self) -> str:
        return self.minimize or self.maximize or ""

    @property
    def direction(self) -> Literal["minimize", "maximize"]:
        return "minimize" if self.minimize else "maximize"

    @property
    def bounds(self) -> dict[str, tuple[str, float]]:
        """metric -> (">=" or "<=", limit)"""
        found = {metric: _BOUND.fullmatch(bound.strip()) for metric, bound in self.require.items()}
        return {metric: (match[1], float(match[2])) for metric, match in found.items() if match}


_BOUND = re.compile(r"(>=|<=)\s*([-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)")


class Rungs(Settings):
    """Asynchronous successive halving: the best 1/``reduction`` of each rung trains on, to ``reduction`` times the
    images.
    """

    first_images: PositiveOrAuto = Field(
        default="auto", description="auto: a third of the budget, never before three evaluations"
    )
    reduction: int = Field(default=3, ge=2)


class Confirm(Settings):
    """Re-train the ``top`` finished trials on ``seeds`` fresh seeds each; a seed that fails disqualifies its trial."""

    top: CountOrAuto = Field(
        default="auto", description="auto: 3, or what fits into a third of the sweep's images; 0: no confirmation"
    )
    seeds: int = Field(default=3, ge=1, description="of each trial; where top is auto, at most")


class Resources(Settings):
    """What one trial gets, and how many run at once."""

    workers_per_trial: int = Field(default=1, ge=1, le=1024)
    cpus_per_worker: float = Field(default=1, gt=0)
    gpus_per_worker: float = Field(default=0, ge=0)
    max_concurrent_trials: PositiveOrAuto = "auto"

    @model_validator(mode="after")
    def _gpu_shares(self) -> Resources:
        if self.gpus_per_worker > 1 and self.gpus_per_worker % 1:
            raise ValueError(f"gpus_per_worker {self.gpus_per_worker}: a fraction up to 1, or a whole number")
        return self


class Tracking(Settings):
    uri: Database = Field(
        default="auto", description="auto = an MLflow server in the home; or http://…, postgresql://…, sqlite:///…"
    )


class Artifacts(Settings):
    url: Place = Field(default="auto", description="auto = a folder in the home; or a folder, or s3://bucket/prefix")


class Sweep(Config):
    """A whole sweep: the settings of one training (``Config``), and what to vary, judge, run on and keep."""

    name: Name
    search: Search = Search()
    objective: Objective = Objective(minimize="fid")
    rungs: Rungs | None = None
    confirm: Confirm = Confirm()
    resources: Resources = Resources()
    tracking: Tracking = Tracking()
    artifacts: Artifacts = Artifacts()

    def trial_config(self, params: dict[str, Any]) -> Config:
        """The settings of one training with ``params`` (dotted names) laid over the file's. Raises ValidationError."""
        values = self.model_dump(include=set(Config.model_fields))
        for name, value in params.items():
            group, key = name.split(".")
            values[group][key] = value
        return Config.model_validate(values)

    def rung_images(self) -> list[int]:
        """Images at which a trial is compared; the last is the whole budget."""
        if self.rungs is None:
            return [self.train.images]
        levels, images = [], self._first_rung(self.rungs)
        while images < self.train.images:
            levels.append(images)
            images *= self.rungs.reduction
        return [*levels, self.train.images]

    def _first_rung(self, rungs: Rungs) -> int:
        """In images; a curve of less than three evaluations says little of where it leads."""
        every = self.evaluate.every_images
        if rungs.first_images == "auto":
            return every * max(math.ceil(self.train.images / 3 / every), EARLIEST)
        return rungs.first_images

    @property
    def most_trials(self) -> int:
        """As many as asked for, or as the space has points."""
        points = self.search.points()
        return self.search.trials if points is None else sum(1 for _ in islice(points, self.search.trials))

    def comparable(self) -> dict[str, Any]:
        """What must stay the same for two trials to be ranked in one sweep."""
        values = self.model_dump(mode="json", by_alias=True, include={*Config.model_fields, "objective", "rungs"})
        values["space"] = {name: d.model_dump(mode="json", by_alias=True) for name, d in self.search.space.items()}
        return values

    def to_yaml(self) -> str:
        """The resolved sweep, readable by ``load``."""
        values = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        values["search"]["start_with"] = self.search.model_dump(mode="json")["start_with"]  # null is a value there
        return yaml.safe_dump(values, sort_keys=False)


def counted(number: int, noun: str) -> str:
    """``2 points``, ``1 point``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def warnings(sweep: Sweep) -> list[tuple[str, str]]:
    """What can be run and is hardly meant: (dotted name, message)."""
    found = []
    if sweep.most_trials < sweep.search.trials:
        message = f"the space has only {counted(sweep.most_trials, 'point')}: the search ends when each is tried"
        found.append(("search.space", message))
    first, every = sweep.rung_images()[0], sweep.evaluate.every_images
    if sweep.rungs and first < min(EARLIEST * every, sweep.train.images):
        message = (
            f"trials are first compared after {first:,} images and {counted(first // every, 'evaluation')}; curves "
            f"are noisy and cross, so give them at least {EARLIEST} ({EARLIEST * every:,} images), or 'auto'"
        )
        found.append(("rungs.first_images", message))
    train = sweep.train
    left = 0.5 ** (first / train.ema_half_life) if train.ema_half_life and not train.ema_ramp else 0.0
    if left >= LAGGING:
        message = (
            f"after {first:,} images, where trials are first compared, the average still holds {left:.0%} of its first "
            "weights: choose a shorter half-life, or train.ema_ramp (0.05)"
        )
        found.append(("train.ema_half_life", message))
    return found


def load(file: Path, overrides: Sequence[str] = (), here: bool = False) -> Sweep:
    """Read and check a sweep file; ``here``: also that the files which it names lie on this machine.

    Raises SettingsError listing every problem.
    """
    document = read(file, overrides)
    return _checked(document, lambda sweep: _missing_files(sweep, document) if here else ())


def loads(text: str, source: str) -> Sweep:
    """Like ``load``, from text."""
    return _checked(parse(text, source))


def _checked(document: Document, more: Callable[[Sweep], Iterable[Problem]] = lambda _: ()) -> Sweep:
    return build(Sweep, document, lambda sweep: [*_problems(sweep, document), *more(sweep)], {"name": "unnamed"})


def _missing_files(sweep: Sweep, document: Document) -> Iterator[Problem]:
    if sweep.data.name in ("images", "parquet"):
        for path in filter(is_missing, sweep.data.places):
            yield document.problem("data.path", f"there is no {path}")
    extractor = sweep.evaluate.extractor
    if extractor.startswith(TORCHSCRIPT) and is_missing(file := extractor.removeprefix(TORCHSCRIPT)):
        yield document.problem("evaluate.extractor", f"there is no {file}")


def _problems(sweep: Sweep, document: Document) -> Iterator[Problem]:
    """What is wrong between settings that are each fine."""
    yield from _space_problems(sweep, document)
    yield from _measure_problems(sweep, document)
    yield from _training_problems(sweep, document)


def _space_problems(sweep: Sweep, document: Document) -> Iterator[Problem]:
    known = [f"{group}.{key}" for group in ("model", "train") for key in type(getattr(sweep, group)).model_fields]
    for name, dimension in sweep.search.space.items():
        where, path = f"search.space.{name}", ("search", "space", name)
        if name.split(".")[0] in ("data", "evaluate"):
            yield document.problem(where, "decides what trials are compared by, so it can't differ between them", path)
            continue
        if name == "train.ema_half_life" and dimension.holds(0) and len(dimension.corners) > 1:
            message = "0 would rank plain generators with averaged ones, which can't be compared; leave it out"
            yield document.problem(where, message, path)
        if name not in known:
            yield document.problem(where, f"no such setting{did_you_mean(name, known)}", path)
            continue
        for value in dimension.corners:
            try:
                sweep.trial_config({name: value})
            except ValidationError as error:
                yield document.problem(where, f"value {value!r} is impossible: {error.errors()[0]['msg']}", path)
        for other, values in dimension.when.items():
            yield from _when_problems(sweep, document, name, other, values)
    for i, params in enumerate(sweep.search.start_with):
        for name, value in params.items():
            where, at = f"search.start_with.{i}.{name}", ("search", "start_with", i, name)
            if name not in sweep.search.space:
                yield document.problem(where, "is not in search.space", at)
            elif not sweep.search.space[name].holds(value):
                yield document.problem(where, f"{value!r} lies outside search.space.{name}", at)


def _when_problems(
    sweep: Sweep, document: Document, name: str, other: str, values: tuple[Any, ...]
) -> Iterator[Problem]:
    where, path = f"search.space.{name}.when.{other}", ("search", "space", name, "when", other)
    dimension = sweep.search.space.get(other)
    if other == name or (dimension and name in _ancestors(sweep.search.space, other)):
        yield document.problem(where, "depends on itself", path)
    elif dimension is None:
        yield document.problem(
            where, f"'{other}' is not in search.space{did_you_mean(other, sweep.search.space)}", path
        )
    elif dimension.choice is None:
        yield document.problem(where, f"'{other}' is an interval; a condition needs a choice", path)
    elif not set(values) & set(dimension.choice):
        yield document.problem(where, f"can never hold: {list(values)} are none of {list(dimension.choice)}", path)


def _context(space: dict[str, Dimension], name: str) -> dict[str, Any]:
    """Settings under which ``name`` is active: of every ancestor the first value that its conditions allow."""
    found: dict[str, Any] = {}
    for one in {name, *_ancestors(space, name)} & space.keys():
        for other, values in space[one].when.items():
            allowed = [value for value in values if other in space and space[other].holds(value)]
            if allowed:
                found[other] = allowed[0]
    return found


def _ancestors(space: dict[str, Dimension], name: str, seen: frozenset[str] = frozenset()) -> frozenset[str]:
    """Every parameter whose value decides whether ``name`` is active."""
    for other in space[name].when if name in space else ():
        if other not in seen:
            seen = _ancestors(space, other, seen | {other})
    return seen


def _extended(points: Iterator[dict[str, Any]], name: str, dimension: Dimension) -> Iterator[dict[str, Any]]:
    """Each of ``points`` with every value of one more setting, where that is active."""
    for point in points:
        if all(point.get(other) in values for other, values in dimension.when.items()):
            yield from (point | {name: value} for value in dimension.values or ())
        else:
            yield point


def _measure_problems(sweep: Sweep, document: Document) -> Iterator[Problem]:
    measured, objective = sweep.evaluate.metrics, sweep.objective
    wanted = {f"objective.{objective.direction}": objective.metric}
    wanted |= {f"objective.require.{metric}": metric for metric in objective.require}
    for where, metric in wanted.items():
        if metric not in measured:
            hint = did_you_mean(metric, measured)
            yield document.problem(where, f"'{metric}' is not measured{hint}; add it to evaluate.metrics")
    every = sweep.evaluate.every_images
    if sweep.rungs and sweep.rungs.first_images != "auto" and sweep.rungs.first_images < every:
        message = f"{sweep.rungs.first_images} comes before the first evaluation, at evaluate.every_images = {every}"
        yield document.problem("rungs.first_images", message)


def _training_problems(sweep: Sweep, document: Document) -> Iterator[Problem]:
    """What no training could start with: in the file as it stands, and at every corner of the space, one setting at a
    time, under settings that switch it on.
    """
    from trainers.check import problems, sharing_problems

    ranks, on_gpu = sweep.resources.workers_per_trial, sweep.resources.gpus_per_worker > 0
    base = problems(sweep.trial_config({}), ranks, on_gpu)
    yield from (document.problem(where, message) for where, message in base if where not in sweep.search.space)
    for name, dimension in sweep.search.space.items():
        if name.count(".") != 1:
            continue
        context = _context(sweep.search.space, name)
        for value in dimension.corners:
            try:
                known = problems(sweep.trial_config(context), ranks, on_gpu)
                config = sweep.trial_config(context | {name: value})
            except (ValidationError, KeyError):
                continue  # reported by _space_problems
            shared = sharing_problems(config, ranks) if name in SHARED else []  # told below, for all values at once
            for where, message in problems(config, ranks, on_gpu):
                if (where, message) not in [*base, *known, *shared]:
                    yield document.problem(
                        f"search.space.{name}", f"value {value!r}: {where}: {message}", ("search", "space", name)
                    )
    if found := unshared(sweep.search.space, sweep.train.batch_size, sweep.train.packing, ranks):
        name, message = found
        yield document.problem(f"search.space.{name}", message, ("search", "space", name))
