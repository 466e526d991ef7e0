"""The searches that are compared: this project's own code, with single ingredients taken out, and its peers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol
from unittest.mock import patch

from optuna.pruners import HyperbandPruner, MedianPruner
from optuna.samplers import BaseSampler, RandomSampler

from orchestrator.search import asking
from orchestrator.search.ledger import Ledger
from orchestrator.search.samplers import SAMPLERS, STARTUP, Parzen, Space, Tpe
from orchestrator.search.space import suggest
from orchestrator.search.trial import Leg, Trial
from orchestrator.spec import Sweep
from tests.benchmarks.search.peers import Asha, Optuna, SyneTune, tpe
from tests.benchmarks.search.problem import Problem


class Search(Protocol):
    """Who says what is trained."""

    def next_leg(self) -> Leg | Literal["wait", "done"]: ...

    def report(self, leg: Leg, report: Mapping[str, Any]) -> bool | None:
        """Whether the leg is to end here."""

    def end_leg(self, leg: Leg) -> Any: ...

    def trials(self) -> list[Trial]: ...


class Ours:
    """The ledger, its rungs and samplers, with ``groups`` of settings changed; ``samplers`` replace those of their
    name, and ``startup`` trials are of the Sobol sequence.
    """

    def __init__(
        self,
        problem: Problem,
        seed: int,
        folder: Path,
        groups: Mapping[str, Any],
        samplers: Mapping[str, Callable[[Space, int], BaseSampler]],
        startup: int,
    ) -> None:
        sweep = changed(problem.sweep, {"search": {"seed": seed}}, groups)
        self._patches = (
            patch.object(asking, "suggest", lambda trial, asked: problem.taken(suggest(trial, asked))),
            patch.object(asking, "STARTUP", startup),
            patch.dict(SAMPLERS, samplers),
        )
        ledger = Ledger.open(sweep, folder / "journal")
        self._ask, self.report, self.end_leg, self.trials = (
            ledger.next_leg,
            ledger.report,
            ledger.end_leg,
            ledger.trials,
        )

    def next_leg(self) -> Leg | Literal["wait", "done"]:
        """The ledger's."""
        suggested, started, sampled = self._patches
        with suggested, started, sampled:
            return self._ask()


class _Neighbours(Tpe):
    kernels = Parzen


@dataclass(frozen=True)
class Method:
    """How it is begun, on ``wide`` times the slots."""

    words: str
    begin: Callable[[Problem, int, Path], Search]
    wide: int = 1


def changed(sweep: Sweep, *changes: Mapping[str, Any]) -> Sweep:
    """``sweep`` with groups of settings laid over its own; None leaves a group out."""
    values = sweep.model_dump(by_alias=True, exclude_none=True)
    for change in changes:
        for name, group in change.items():
            values[name] = {**(values.get(name) or {}), **group} if group is not None else None
    return Sweep.model_validate(values)


def _ours(startup: int = STARTUP, tpe: Callable[[Space, int], BaseSampler] = Tpe, **groups: Any) -> Any:
    return lambda problem, seed, folder: Ours(problem, seed, folder, groups, {"tpe": tpe}, startup)


def _first(evaluations: int, reduction: int = 3, **groups: Any) -> Callable[[Problem, int, Path], Search]:
    """Rungs that begin after so many evaluations."""

    def begin(problem: Problem, seed: int, folder: Path) -> Search:
        first = evaluations * problem.sweep.evaluate.every_images
        rungs = {"first_images": first, "reduction": reduction}
        return Ours(problem, seed, folder, {"rungs": rungs, **groups}, {}, STARTUP)

    return begin


def _hyperband(problem: Problem, seed: int, folder: Path) -> Search:
    most = problem.sweep.train.images // problem.sweep.evaluate.every_images
    return Optuna(problem, seed, pruner=HyperbandPruner(max_resource=most))


def _random(problem: Problem, seed: int, folder: Path) -> Search:
    return Optuna(problem, seed, lambda number: RandomSampler(seed=number))


METHODS = {
    "gansweep": Method("as shipped: first rung at a ninth, Sobol start, joint TPE", _ours()),
    "random": Method("every trial to its end", _random),
    "random x2": Method("on twice the slots", _random, wide=2),
    "tpe": Method("Optuna's TPESampler, every trial to its end", lambda p, seed, _: Optuna(p, seed)),
    "hyperband": Method("Optuna's TPESampler and HyperbandPruner", _hyperband),
    "median": Method("Optuna's TPESampler and MedianPruner", lambda p, seed, _: Optuna(p, seed, pruner=MedianPruner())),
    "asha": Method("Ray Tune's ASHAScheduler, Optuna's TPESampler", lambda p, seed, _: Asha(p, seed)),
    "asha-cqr": Method(
        "Syne Tune's ASHA with conformalized quantile regression", lambda p, seed, _: SyneTune(p, seed, "ASHACQR")
    ),
    "bohb": Method("Syne Tune's BOHB", lambda p, seed, _: SyneTune(p, seed, "BOHB")),
    "one evaluation": Method(
        "random; of 27 that had one evaluation, the best goes to the end", _first(1, 27, search={"sampler": "random"})
    ),
    "no Sobol": Method("gansweep, ten random trials first", _ours(startup=0)),
    "Optuna's TPE": Method("gansweep, with Optuna's own TPESampler", _ours(tpe=lambda _, seed: tpe(seed))),
    "neighbours' widths": Method("gansweep, kernels of the TPE as Optuna 5 has them", _ours(tpe=_Neighbours)),
    "first rung 1": Method("gansweep, first rung after one evaluation", _first(1)),
    "late": Method("gansweep, first rung at a third", _ours(rungs={"first_images": "late"})),
    "first rung 3": Method("gansweep, first rung after three", _first(3)),
    "no rungs": Method("gansweep, every trial to its end", _ours(rungs=None)),
    "random proposals": Method("gansweep, sampler: random", _ours(search={"sampler": "random"})),
}
"""Peers first, then gansweep with one ingredient taken out. Frozen before a run; tuned on other seeds."""
