"""The sweep file as frozen values, checked so that what starts can also end.

``load`` is the way in: YAML -> ``Sweep``, or one SettingsError with every problem of the file.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, Field, model_validator

from orchestrator.dimension import Dimension, Value, ancestors, extended
from orchestrator.problems import problems
from trainers.check import FEWEST_EVALUATIONS, LAGGING
from trainers.check import warnings as untold
from trainers.config import TORCHSCRIPT, Config, Settings
from trainers.files.places import database, is_missing, place
from trainers.reading import owncode, ownimports
from trainers.reading.document import override
from trainers.schedule import first_weights
from trainers.settings import Document, Problem, build, parse, read


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
    sampler: Literal["tpe", "random"] = Field(
        default="tpe", description="tpe learns from the trials before (Bergstra et al. 2011)"
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
        for name in sorted(self.space, key=lambda name: len(ancestors(self.space, name))):  # parents first
            found = extended(found, name, self.space[name], self.space[name].values or ())
        return found


class Objective(Settings):
    """What "best" means: one metric, and bounds that a good trial keeps."""

    minimize: str | None = Field(default=None, description="a metric: this, or maximize")
    maximize: str | None = Field(default=None, description="a metric: this, or minimize")
    require: dict[str, str] = Field(default={}, description="bounds by metric: {coverage: '>= 0.5'}")

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
    reduction: int = Field(default=3, ge=2, description="one trial in so many trains on from a rung to the next")


class Confirm(Settings):
    """Re-train the ``top`` finished trials on ``seeds`` fresh seeds each; a seed that fails disqualifies its trial."""

    top: CountOrAuto = Field(
        default="auto", description="auto: 3, or what fits into a third of the sweep's images; 0: no confirmation"
    )
    seeds: int = Field(default=3, ge=1, description="of each trial; where top is auto, at most")


class Resources(Settings):
    """What one trial gets, and how many run at once."""

    workers_per_trial: int = Field(default=1, ge=1, le=1024, description="data-parallel ranks of one training")
    cpus_per_worker: float = Field(default=1, gt=0, description="cores that a worker takes")
    gpus_per_worker: float = Field(default=0, ge=0, description="GPUs that a worker takes, or a share of one")
    max_concurrent_trials: PositiveOrAuto = Field(
        default="auto", description="at once; auto: as many as the machine or the cluster has room for"
    )
    priority: float = Field(
        default=1, gt=0, description="of several sweeps on one cluster, each gets places in proportion to its own"
    )
    memory_per_worker: float = Field(default=0, ge=0, description="GiB of a host that a worker takes; 0: not counted")
    accelerator: str | None = Field(
        default=None, description="the kind of GPU, as nodes are labelled (ray.io/accelerator-type): H100"
    )
    placement: Literal["pack", "spread", "strict_pack"] = Field(
        default="pack", description="of a trial's workers: on few nodes, on many, or all on one"
    )
    hang_seconds: float = Field(
        default=60, ge=1, description="without a sign of life or a step for so long, a worker counts as hung"
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


COMPARED = Config.model_fields.keys() - {"code"}
"""The groups of settings in which trials may not differ but by the space; names of own code tell its content."""


class Sweep(Config):
    """A whole sweep: the settings of one training (``Config``), and what to vary, judge, run on and keep."""

    name: Name = Field(description="of the sweep: a to z, digits, - and _")
    search: Search = Search()
    objective: Objective = Objective(minimize="fid")
    rungs: Rungs | None = Field(default=None, description="left out: every trial trains to the end")
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
            return every * max(math.ceil(self.train.images / 3 / every), FEWEST_EVALUATIONS)
        return rungs.first_images

    @property
    def most_trials(self) -> int:
        """As many as asked for, or as the space has points."""
        points = self.search.points()
        return self.search.trials if points is None else sum(1 for _ in islice(points, self.search.trials))

    def comparable(self) -> dict[str, Any]:
        """What must stay the same for two trials to be ranked in one sweep."""
        values = self.model_dump(mode="json", by_alias=True, include={*COMPARED, "objective", "rungs"})
        values["space"] = {name: d.model_dump(mode="json", by_alias=True) for name, d in self.search.space.items()}
        return values

    def to_yaml(self) -> str:
        """The resolved sweep, readable by ``load``."""
        values = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        values["search"]["start_with"] = self.search.model_dump(mode="json")["start_with"]  # null is a value there
        if code := values.pop("code"):
            values["code"] = code  # last: it is long
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
    enough = FEWEST_EVALUATIONS * every
    if sweep.rungs and first < min(enough, sweep.train.images):
        message = (
            f"trials are first compared after {first:,} images and {counted(first // every, 'evaluation')}; curves "
            f"are noisy and cross, so give them at least {FEWEST_EVALUATIONS} ({enough:,} images), or 'auto'"
        )
        found.append(("rungs.first_images", message))
    left = first_weights(first, sweep.train.ema_half_life, sweep.train.ema_ramp)
    if left >= LAGGING:
        message = (
            f"after {first:,} images, where trials are first compared, the average still holds {left:.0%} of its first "
            "weights: choose a shorter half-life, or train.ema_ramp (0.05)"
        )
        found.append(("train.ema_half_life", message))
    named = {name for name, _ in found}
    return found + [(name, message) for name, message in untold(sweep.trial_config({})) if name not in named]


def load(
    source: Path | Mapping[str, Any],
    overrides: Sequence[str] = (),
    here: bool = False,
    resources: Mapping[str, Any] | None = None,
) -> Sweep:
    """Read and check a sweep file, or the settings that could stand in one; ``here``: also that the files which it
    names lie on this machine. ``resources`` are those of its group that hold where it says nothing.

    Raises SettingsError listing every problem.
    """
    document = read(source, overrides) if isinstance(source, Path) else _given(source, overrides)
    own = document.values.get("resources") or {}
    if resources and isinstance(own, dict):
        document.values["resources"] = {**resources, **own}
    owncode.gather(document, source.parent if isinstance(source, Path) else Path())
    return _checked(document, lambda sweep: _missing_files(sweep, document) if here else ())


def _given(values: Mapping[str, Any], overrides: Sequence[str]) -> Document:
    """As it would stand in a file: without tuples, paths and NumPy's numbers."""
    plain = json.dumps(dict(values), default=lambda value: value.item() if hasattr(value, "item") else str(value))
    document = Document("settings", json.loads(plain))
    for setting in overrides:
        override(document, setting)
    return document


def loads(text: str, source: str) -> Sweep:
    """Like ``load``, from text."""
    return _checked(parse(text, source))


def _checked(document: Document, more: Callable[[Sweep], Iterable[Problem]] = lambda _: ()) -> Sweep:
    sweep = build(Sweep, document, lambda sweep: [*problems(sweep, document), *more(sweep)], {"name": "unnamed"})
    ownimports.provide(sweep.code)
    return sweep


def _missing_files(sweep: Sweep, document: Document) -> Iterator[Problem]:
    if sweep.data.name in ("images", "parquet"):
        for path in filter(is_missing, sweep.data.places):
            yield document.problem("data.path", f"there is no {path}")
        if sweep.data.source and is_missing(sweep.data.source):
            yield document.problem("data.source", f"there is no {sweep.data.source}")
    extractor = sweep.evaluate.extractor
    if extractor.startswith(TORCHSCRIPT) and is_missing(file := extractor.removeprefix(TORCHSCRIPT)):
        yield document.problem("evaluate.extractor", f"there is no {file}")
