"""The sweep file as frozen values, checked so that what starts can also end.

``load`` is the way in: YAML -> ``Sweep``, or one SettingsError with every problem of the file.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field

from orchestrator.settings.groups import (
    STARTUP,
    Artifacts,
    Budget,
    Confirm,
    Name,
    Objective,
    Population,
    Resources,
    Rungs,
    Search,
    Tracking,
)
from orchestrator.settings.problems import problems
from trainers.check import FEWEST_EVALUATIONS, LAGGING, TEXT
from trainers.check import warnings as untold
from trainers.config import TORCHSCRIPT, Config
from trainers.files.places import is_missing
from trainers.reading import owncode, ownimports
from trainers.reading.document import override
from trainers.schedule import first_weights
from trainers.settings import Document, Problem, build, parse, read

EARLY = 9
"""The first rung is after this part of the budget, where good settings were confirmed soonest (decision 0030)."""

COMPARED = Config.model_fields.keys() - {"code"}
"""The groups of settings in which trials may not differ but by the space; names of own code tell its content."""


class Sweep(Config):
    """A whole sweep: the settings of one training (``Config``), and what to vary, judge, run on and keep."""

    name: Name = Field(description="of the sweep: a to z, digits, - and _")
    search: Search = Search()
    objective: Objective = Objective(minimize="fid")
    rungs: Rungs | None = Field(
        default=None, description="left out: every trial trains to the end; auto: {first_images: measured}"
    )
    population: Population | None = Field(
        default=None, description="in place of rungs: population based training (Jaderberg et al. 2017)"
    )
    confirm: Confirm = Confirm()
    budget: Budget = Budget()
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
        """Images at which a trial is compared; the last is the whole budget. A first rung that is yet to be measured
        stands where it goes if no evaluation tells.
        """
        if self.population:
            return [
                *range(self.population.every_images, self.train.images, self.population.every_images),
                self.train.images,
            ]
        if self.rungs is None:
            return [self.train.images]
        levels, images = [], self._first_rung(self.rungs)
        while images < self.train.images:
            levels.append(images)
            images *= self.rungs.reduction
        return [*levels, self.train.images]

    def _first_rung(self, rungs: Rungs) -> int:
        """In images."""
        every = self.evaluate.every_images
        if isinstance(rungs.first_images, int):
            return rungs.first_images
        if rungs.first_images == "early":
            return every * math.ceil(self.train.images / EARLY / every)
        return every * max(math.ceil(self.train.images / 3 / every), FEWEST_EVALUATIONS)

    @property
    def startup(self) -> int:
        """Trials that are trained to the end to measure where the first rung goes."""
        return STARTUP if self.rungs and self.rungs.first_images == "measured" else 0

    @property
    def most_trials(self) -> int:
        """As many as asked for, or as the space has points, or as the budget has trainings."""
        points, most = self.search.points(), min(self.search.trials, self.budget.trials or self.search.trials)
        return most if points is None else sum(1 for _ in islice(points, most))

    def comparable(self) -> dict[str, Any]:
        """What must stay the same for two trials to be ranked in one sweep."""
        values = self.model_dump(mode="json", by_alias=True, include={*COMPARED, "objective", "rungs", "population"})
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
    if sweep.most_trials < min(sweep.search.trials, sweep.budget.trials or sweep.search.trials):
        message = f"the space has only {counted(sweep.most_trials, 'point')}: the search ends when each is tried"
        found.append(("search.space", message))
    if (sweep.budget.hours or sweep.budget.device_hours) and "trials" not in sweep.search.model_fields_set:
        message = f"left out, it is {sweep.search.trials}, which may end the sweep long before its budget of hours does"
        found.append(("search.trials", message))
    if (gpus := sweep.resources.gpus_per_worker) > 1:
        message = f"a worker trains on one GPU, and holds {gpus:g}; for more of them per trial: workers_per_trial"
        found.append(("resources.gpus_per_worker", message))
    first, every, images = sweep.rung_images()[0], sweep.evaluate.every_images, sweep.train.images
    enough = FEWEST_EVALUATIONS * every
    if sweep.population and first < enough:
        message = (
            f"trials are first compared after {first:,} images and {counted(first // every, 'evaluation')}; whoever is "
            f"replaced does not come back, so give them at least {FEWEST_EVALUATIONS} ({enough:,} images)"
        )
        found.append(("population.every_images", message))
    if sweep.rungs and first < images // EARLY:
        message = (
            f"trials are first compared after {first:,} images, {first / images:.1%} of the budget; curves are noisy "
            "and cross, so don't compare them before a ninth of it, which is what 'early' does"
        )
        found.append(("rungs.first_images", message))
    if sweep.rungs and isinstance(sweep.rungs.first_images, int) and first == images:
        message = f"no trial is compared before its end, at train.images = {first:,}; 'early' compares after a ninth"
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


def overrides(set: Mapping[str, Any] | None = None, name: str | None = None, trials: int | None = None) -> list[str]:
    """As ``load`` and ``--set`` take them."""
    asked = dict(set or {}) | ({"name": name} if name else {}) | ({"search.trials": trials} if trials else {})
    return [f"{setting}={json.dumps(value)}" for setting, value in asked.items()]


def loads(text: str, source: str) -> Sweep:
    """Like ``load``, from text."""
    return _checked(parse(text, source))


def _checked(document: Document, more: Callable[[Sweep], Iterable[Problem]] = lambda _: ()) -> Sweep:
    sweep = build(Sweep, document, lambda sweep: [*problems(sweep, document), *more(sweep)], {"name": "unnamed"})
    ownimports.provide(sweep.code)
    return sweep


def _missing_files(sweep: Sweep, document: Document) -> Iterator[Problem]:
    if sweep.data.name in ("images", "parquet", "clips", *TEXT):
        for path in filter(is_missing, sweep.data.places):
            yield document.problem("data.path", f"there is no {path}")
        if sweep.data.source and is_missing(sweep.data.source):
            yield document.problem("data.source", f"there is no {sweep.data.source}")
    extractor = sweep.evaluate.extractor
    if extractor.startswith(TORCHSCRIPT) and is_missing(file := extractor.removeprefix(TORCHSCRIPT)):
        yield document.problem("evaluate.extractor", f"there is no {file}")
