"""The searches that are compared: this project's own code, and the real samplers, pruners and schedulers of others.

All are asked for legs and told of reports in the ledger's words. A training that collapses is ended for all of them,
and what breaks a constraint or collapses is told to a peer as the worst score so far.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, Protocol
from unittest.mock import patch

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import TrialState

from orchestrator.search import asking, objective
from orchestrator.search.kept import kept
from orchestrator.search.ledger import Ledger
from orchestrator.search.record import ended
from orchestrator.search.samplers import SAMPLERS, STARTUP, Space, Tpe, _Parzen
from orchestrator.search.space import suggest
from orchestrator.search.trial import FATAL, Leg, Trial
from orchestrator.spec import Sweep
from tests.benchmarks.search.problem import Params, Problem


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


class _Scott(_Parzen):
    """Every kernel of a setting as wide as the others: a fifth of its range, less as more is known (Scott's rule, as in
    Optuna until 4).
    """

    def _calculate_distributions(self, observations: NDArray[Any], *rest: Any) -> Any:
        found = super()._calculate_distributions(observations, *rest)
        if "sigma" not in found._fields:
            return found
        width, sigma = 0.2 * max(len(observations), 1) ** (-1 / (len(self._search_space) + 4)), found.sigma.copy()
        sigma[:-1][~np.isnan(observations)] = width * sigma[-1]  # the last is the prior's, as wide as the range
        return found._replace(sigma=sigma)


class _WideTpe(Tpe):
    def __init__(self, space: Space, seed: int) -> None:
        super().__init__(space, seed)
        self._parzen_estimator_cls = _Scott


def _tpe(seed: int) -> BaseSampler:
    return TPESampler(seed=seed)


class Peer:
    """An Optuna study, in which every trial trains to its end."""

    stopped: TrialState = TrialState.PRUNED
    """What the study is told of a trial that was stopped."""

    def __init__(
        self,
        problem: Problem,
        seed: int,
        sampler: Callable[[int], BaseSampler] = _tpe,
        pruner: BasePruner | None = None,
    ) -> None:
        self._problem, self._sweep = problem, problem.sweep
        self.study = optuna.create_study(
            study_name=f"{seed}",  # Hyperband chooses brackets by it
            direction=problem.sweep.objective.direction,
            sampler=sampler(seed),
            pruner=pruner or NopPruner(),
        )
        self._asked: list[optuna.Trial] = []
        self._trials: list[Trial] = []

    def next_leg(self) -> Leg:
        """A new trial."""
        params = self._ask()
        number = len(self._trials)
        self._trials.append(Trial(number, params, "running", self._sweep.train.images))
        return Leg(number, params, self._sweep.train.images)

    def _ask(self) -> Params:
        asked = self.study.ask()
        proposed = suggest(asked, self._sweep)
        taken = self._problem.taken(proposed)
        if taken != proposed:  # the study must know what was trained, and nothing of the proposal
            self.study.tell(asked, state=TrialState.FAIL)
            self.study.enqueue_trial(kept(taken))
            asked = self.study.ask()
            suggest(asked, self._sweep)
        self._asked.append(asked)
        return taken

    def report(self, leg: Leg, report: Mapping[str, Any]) -> bool:
        """Whether the pruner ends it, by its last measure, which is what its documentation shows."""
        images, aim, trial = report["images"], self._sweep.objective, self._trials[leg.trial]
        reports = {**trial.reports, images: report["metrics"]}
        self._trials[leg.trial] = replace(
            trial,
            images=images,
            reports=reports,
            verdict=report["health"]["verdict"],
            score=objective.score(aim, reports),
            scores=objective.scores(aim, reports),
            violations=objective.violations(aim, reports),
        )
        evaluation, value = images // self._sweep.evaluate.every_images, report["metrics"][aim.metric]
        ends = images == leg.until or report["health"]["verdict"] in FATAL
        stops = not ends and math.isfinite(value) and self._stops(leg.trial, evaluation, value)
        if stops:
            self._trials[leg.trial] = replace(self._trials[leg.trial], state="pruned")
        return stops

    def _stops(self, number: int, evaluation: int, value: float) -> bool:
        self._asked[number].report(value, evaluation)
        return self._asked[number].should_prune()

    def end_leg(self, leg: Leg) -> None:
        """The study is told."""
        asked, trial = self._asked[leg.trial], self._trials[leg.trial]
        if trial.state == "running":
            trial = self._trials[leg.trial] = ended(trial, "finished")
        if trial.state == "pruned" and self.stopped == TrialState.PRUNED:
            self.study.tell(asked, state=TrialState.PRUNED)
            return
        name, aim = self._sweep.objective.metric, self._sweep.objective
        value = trial.metrics[name]
        if trial.state in FATAL or not trial.feasible or not math.isfinite(value):
            seen = (one.metrics[name] for one in self._trials if one.reports)
            (value,) = objective.worst(aim, ((score,) for score in seen if math.isfinite(score)))
        self.study.tell(asked, value)

    def trials(self) -> list[Trial]:
        """As they stand."""
        return list(self._trials)


class Asha(Peer):
    """Ray Tune's scheduler with Optuna's TPE, which is told the last result of whatever was stopped, as its
    ``OptunaSearch`` does.
    """

    stopped = TrialState.COMPLETE

    def __init__(self, problem: Problem, seed: int) -> None:
        super().__init__(problem, seed)
        from ray.tune.schedulers import ASHAScheduler

        sweep = problem.sweep
        mode = "min" if sweep.objective.direction == "minimize" else "max"
        most = sweep.train.images // sweep.evaluate.every_images
        self._scheduler: Any = ASHAScheduler(metric="score", mode=mode, max_t=most)

    def next_leg(self) -> Leg:
        """A new trial."""
        leg = super().next_leg()
        self._scheduler.on_trial_add(None, SimpleNamespace(trial_id=leg.trial))
        return leg

    def _stops(self, number: int, evaluation: int, value: float) -> bool:
        result = {"training_iteration": evaluation, "score": value}
        decision = self._scheduler.on_trial_result(None, SimpleNamespace(trial_id=number), result)
        return bool(decision == self._scheduler.STOP)


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
    return Peer(problem, seed, pruner=HyperbandPruner(max_resource=most))


def _random(problem: Problem, seed: int, folder: Path) -> Search:
    return Peer(problem, seed, lambda number: RandomSampler(seed=number))


METHODS = {
    "gansweep": Method("as shipped: first rung at a third, Sobol start, joint TPE", _ours()),
    "random": Method("every trial to its end", _random),
    "random x2": Method("on twice the slots", _random, wide=2),
    "tpe": Method("Optuna's TPESampler, every trial to its end", lambda p, seed, _: Peer(p, seed)),
    "hyperband": Method("Optuna's TPESampler and HyperbandPruner", _hyperband),
    "median": Method("Optuna's TPESampler and MedianPruner", lambda p, seed, _: Peer(p, seed, pruner=MedianPruner())),
    "asha": Method("Ray Tune's ASHAScheduler, Optuna's TPESampler", lambda p, seed, _: Asha(p, seed)),
    "one evaluation": Method(
        "random; of 27 that had one evaluation, the best goes to the end", _first(1, 27, search={"sampler": "random"})
    ),
    "no Sobol": Method("gansweep, ten random trials first", _ours(startup=0)),
    "Optuna's TPE": Method("gansweep, with Optuna's own TPESampler", _ours(tpe=lambda _, seed: _tpe(seed))),
    "Scott's widths": Method("gansweep, every kernel of the TPE equally wide", _ours(tpe=_WideTpe)),
    "first rung 1": Method("gansweep, first rung after one evaluation", _first(1)),
    "first rung 3": Method("gansweep, first rung after three", _first(3)),
    "no rungs": Method("gansweep, every trial to its end", _ours(rungs=None)),
    "random proposals": Method("gansweep, sampler: random", _ours(search={"sampler": "random"})),
}
"""Peers first, then gansweep with one ingredient taken out. Frozen before a run; tuned on other seeds."""
