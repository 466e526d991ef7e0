"""What is wrong between settings of a sweep file that are each fine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from orchestrator.settings.dimension import Dimension, ancestors, changing
from orchestrator.settings.presets import PRESETS
from orchestrator.settings.sharing import SHARED, unshared
from trainers.check import FEWEST_EVALUATIONS
from trainers.families import FAMILIES
from trainers.reading.owncode import plain
from trainers.settings import Document, Problem, did_you_mean

if TYPE_CHECKING:
    from orchestrator.spec import Sweep


FEWEST = 4
"""Members of a population: the best of fewer are hardly better than the rest."""


def problems(sweep: Sweep, document: Document) -> Iterator[Problem]:
    """What is wrong between settings that are each fine."""
    yield from _space_problems(sweep, document)
    yield from _start_problems(sweep, document)
    yield from _measure_problems(sweep, document)
    yield from _population_problems(sweep, document)
    yield from _budget_problems(sweep, document)
    yield from _training_problems(sweep, document)
    yield from _idle_problems(sweep, document)


def _space_problems(sweep: Sweep, document: Document) -> Iterator[Problem]:
    groups = ("model", "train", *FAMILIES[sweep.family].groups)
    known = [f"{group}.{key}" for group in groups for key in type(getattr(sweep, group)).model_fields]
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
    if sweep.search.sampler == "grid":
        for name, dimension in sweep.search.space.items():
            if dimension.values is None:
                message = "grid needs an end of points: give the interval a step, or its values as a choice"
                yield document.problem(f"search.space.{name}", message, ("search", "space", name))


def _start_problems(sweep: Sweep, document: Document) -> Iterator[Problem]:
    for i, start in enumerate(sweep.search.start_with):
        where, path = f"search.start_with.{i}", ("search", "start_with", i)
        if not isinstance(start, str):
            for name, value in start.items():
                if name not in sweep.search.space:
                    yield document.problem(f"{where}.{name}", "is not in search.space", (*path, name))
                elif not sweep.search.space[name].holds(value):
                    message = f"{value!r} lies outside search.space.{name}"
                    yield document.problem(f"{where}.{name}", message, (*path, name))
        elif start not in PRESETS:
            yield document.problem(where, f"no preset '{start}'{did_you_mean(start, PRESETS)}", path)
        elif not sweep.search.starts[i]:
            yield document.problem(where, f"the space holds none of the settings of '{start}'", path)


def _when_problems(
    sweep: Sweep, document: Document, name: str, other: str, values: tuple[Any, ...]
) -> Iterator[Problem]:
    where, path = f"search.space.{name}.when.{other}", ("search", "space", name, "when", other)
    dimension = sweep.search.space.get(other)
    if other == name or (dimension and name in ancestors(sweep.search.space, other)):
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
    for one in {name, *ancestors(space, name)} & space.keys():
        for other, values in space[one].when.items():
            allowed = [value for value in values if other in space and space[other].holds(value)]
            if allowed:
                found[other] = allowed[0]
    return found


def _measure_problems(sweep: Sweep, document: Document) -> Iterator[Problem]:
    measured, objective = [plain(name) for name in sweep.evaluate.metrics], sweep.objective
    wanted = [(f"objective.{goal.direction}", goal.metric) for goal in objective.goals]
    wanted += [(f"objective.require.{metric}", metric) for metric in objective.require]
    for where, metric in wanted:
        if metric not in measured:
            hint = did_you_mean(metric, measured)
            way_out = "add it to evaluate.metrics"
            if "objective" not in document.values:
                way_out = f"it is the objective where none is given, so {way_out} or name another"
            yield document.problem(where, f"'{metric}' is not measured{hint}; {way_out}")
    every = sweep.evaluate.every_images
    if sweep.rungs and isinstance(sweep.rungs.first_images, int) and sweep.rungs.first_images < every:
        message = f"{sweep.rungs.first_images} comes before the first evaluation, at evaluate.every_images = {every}"
        yield document.problem("rungs.first_images", message)
    fewest = 2 * FEWEST_EVALUATIONS  # a rung comes after so many, and the score at the end is of as many others
    if sweep.startup and sweep.train.images <= (fewest - 1) * every:
        message = (
            f"too few evaluations to measure the first rung: it takes {fewest}, so set evaluate.every_images to "
            f"{sweep.train.images // fewest:,} or less, or rungs.first_images to auto"
        )
        yield document.problem("rungs", message)


def _population_problems(sweep: Sweep, document: Document) -> Iterator[Problem]:
    if not (population := sweep.population):
        return
    if sweep.rungs:
        yield document.problem("population", "trains all trials to the end, and rungs don't; leave one of them out")
    if population.every_images < sweep.evaluate.every_images:
        message = f"{population.every_images} comes before the first evaluation, at evaluate.every_images = "
        yield document.problem("population.every_images", f"{message}{sweep.evaluate.every_images}")
    if population.every_images >= sweep.train.images:
        message = f"nobody is replaced before the end, at train.images = {sweep.train.images:,}; compare more often"
        yield document.problem("population.every_images", message)
    if not changing(sweep.search.space):
        message = (
            "nothing in search.space can change while a training runs: give a learning rate, a penalty or another "
            "interval of train, or leave population out"
        )
        yield document.problem("population", message)
    if sweep.most_trials < FEWEST:
        message = f"a population of {sweep.most_trials} is too small to replace some by others; take {FEWEST} or more"
        yield document.problem("search.trials", message)


def _budget_problems(sweep: Sweep, document: Document) -> Iterator[Problem]:
    if sweep.rungs and sweep.budget.trials and sweep.budget.trials < sweep.rungs.reduction:
        message = f"{sweep.budget.trials} trainings are too few for one rung, which compares {sweep.rungs.reduction}"
        yield document.problem("budget.trials", message)
    if sweep.startup and sweep.rungs and sweep.most_trials < (least := sweep.startup + sweep.rungs.reduction):
        message = (
            f"too few trials to measure the first rung: {sweep.startup} are trained to the end for it, so take at "
            f"least {least}, or set rungs.first_images to auto"
        )
        yield document.problem("rungs", message)


def _training_problems(sweep: Sweep, document: Document) -> Iterator[Problem]:
    """What no training could start with: in the file as it stands, and at every corner of the space, one setting at a
    time, under settings that switch it on.
    """
    from trainers import check

    ranks, on_gpu = sweep.resources.workers_per_trial, sweep.resources.gpus_per_worker > 0
    base = check.problems(sweep.trial_config({}), ranks, on_gpu)
    yield from (document.problem(where, message) for where, message in base if where not in sweep.search.space)
    for name, dimension in sweep.search.space.items():
        if name.count(".") != 1:
            continue
        context = _context(sweep.search.space, name)
        for value in dimension.corners:
            try:
                known = check.problems(sweep.trial_config(context), ranks, on_gpu)
                config = sweep.trial_config(context | {name: value})
            except (ValidationError, KeyError):
                continue  # reported by _space_problems
            shared = check.sharing_problems(config, ranks) if name in SHARED else []  # told below, at once
            for where, message in check.problems(config, ranks, on_gpu):
                if (where, message) not in [*base, *known, *shared]:
                    yield document.problem(
                        f"search.space.{name}", f"value {value!r}: {where}: {message}", ("search", "space", name)
                    )
    if found := unshared(sweep.search.space, sweep.train.batch_size, sweep.train.packing, ranks):
        name, message = found
        yield document.problem(f"search.space.{name}", message, ("search", "space", name))


def _idle_problems(sweep: Sweep, document: Document) -> Iterator[Problem]:
    """Settings of a discriminator that are searched under a method which has none."""
    from trainers import check

    for name in filter(check.OF_A_DISCRIMINATOR.__contains__, sweep.search.space):
        try:
            method = check.method_alone(sweep.trial_config(_context(sweep.search.space, name)))
        except (ValidationError, KeyError):
            continue  # reported by _space_problems
        if method:
            message = f"method {method!r} has no discriminator; leave it out, or search it under another with 'when'"
            yield document.problem(f"search.space.{name}", message, ("search", "space", name))
