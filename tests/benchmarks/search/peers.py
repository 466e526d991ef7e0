"""The real samplers, pruners and schedulers of others, asked for legs and told of reports in the ledger's words.

A training that collapses is ended for all of them, and what breaks a constraint or collapses is told as the worst
score so far.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import BasePruner, NopPruner
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import FixedTrial, TrialState

from orchestrator.search import objective
from orchestrator.search.kept import kept
from orchestrator.search.record import ended
from orchestrator.search.space import searched, suggest
from orchestrator.search.trial import FATAL, Leg, Trial
from tests.benchmarks.search.problem import Params, Problem


class Peer(ABC):
    """What all peers share: each trial is one leg to the end, unless the peer stops it at an evaluation."""

    def __init__(self, problem: Problem) -> None:
        self._problem, self._sweep = problem, problem.sweep
        self._minimizes = problem.sweep.objective.direction == "minimize"
        self._evaluations = problem.sweep.train.images // problem.sweep.evaluate.every_images
        self._trials: list[Trial] = []

    @abstractmethod
    def _ask(self, number: int) -> Params:
        """Settings to train."""

    @abstractmethod
    def _stops(self, number: int, evaluation: int, value: float) -> bool:
        """Whether the trial ends at this evaluation, by its last measure: what all documentation shows."""

    @abstractmethod
    def _tell(self, number: int, value: float) -> None:
        """A trial ended with this score."""

    @abstractmethod
    def _tell_stopped(self, number: int) -> None:
        """A trial ended since ``_stops`` said so."""

    def next_leg(self) -> Leg:
        """A new trial."""
        number = len(self._trials)
        params = self._ask(number)
        self._trials.append(Trial(number, params, "running", self._sweep.train.images))
        return Leg(number, params, self._sweep.train.images)

    def report(self, leg: Leg, report: Mapping[str, Any]) -> bool:
        """Whether it ends here."""
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

    def end_leg(self, leg: Leg) -> None:
        """The peer is told."""
        trial = self._trials[leg.trial]
        if trial.state == "pruned":
            self._tell_stopped(trial.id)
            return
        trial = self._trials[leg.trial] = ended(trial, "finished")
        name, aim = self._sweep.objective.metric, self._sweep.objective
        value = trial.metrics[name]
        if trial.state in FATAL or not trial.feasible or not math.isfinite(value):
            seen = (one.metrics[name] for one in self._trials if one.reports)
            (value,) = objective.worst(aim, ((score,) for score in seen if math.isfinite(score)))
        self._tell(trial.id, value)

    def trials(self) -> list[Trial]:
        """As they stand."""
        return list(self._trials)


def tpe(seed: int) -> BaseSampler:
    """Optuna's, as it comes."""
    return TPESampler(seed=seed)


class Optuna(Peer):
    """A study with a sampler and a pruner."""

    def __init__(
        self,
        problem: Problem,
        seed: int,
        sampler: Callable[[int], BaseSampler] = tpe,
        pruner: BasePruner | None = None,
    ) -> None:
        super().__init__(problem)
        self.study = optuna.create_study(
            study_name=f"{seed}",  # Hyperband chooses brackets by it
            direction=problem.sweep.objective.direction,
            sampler=sampler(seed),
            pruner=pruner or NopPruner(),
        )
        self._asked: list[optuna.Trial] = []

    def _ask(self, number: int) -> Params:
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

    def _stops(self, number: int, evaluation: int, value: float) -> bool:
        self._asked[number].report(value, evaluation)
        return self._asked[number].should_prune()

    def _tell(self, number: int, value: float) -> None:
        self.study.tell(self._asked[number], value)

    def _tell_stopped(self, number: int) -> None:
        self.study.tell(self._asked[number], state=TrialState.PRUNED)


class Asha(Optuna):
    """Ray Tune's scheduler with Optuna's TPE, which is told the last result of whatever was stopped, as its
    ``OptunaSearch`` does.
    """

    def __init__(self, problem: Problem, seed: int) -> None:
        super().__init__(problem, seed)
        from ray.tune.schedulers import ASHAScheduler

        mode = "min" if self._minimizes else "max"
        self._scheduler: Any = ASHAScheduler(metric="score", mode=mode, max_t=self._evaluations)

    def _ask(self, number: int) -> Params:
        self._scheduler.on_trial_add(None, SimpleNamespace(trial_id=number))
        return super()._ask(number)

    def _stops(self, number: int, evaluation: int, value: float) -> bool:
        result = {"training_iteration": evaluation, "score": value}
        decision = self._scheduler.on_trial_result(None, SimpleNamespace(trial_id=number), result)
        return bool(decision == self._scheduler.STOP)

    def _tell_stopped(self, number: int) -> None:
        self._tell(number, self._trials[number].metrics[self._sweep.objective.metric])


class SyneTune(Peer):
    """One of Syne Tune's multi-fidelity methods, by its name among its ``baselines``. It knows no conditions: a setting
    that does not hold is proposed all the same, and leads to nothing. Not installed with the project:
    ``pip install huggingface_hub``, then ``pip install --no-deps`` syne-tune, xgboost-cpu, statsmodels, patsy, dill and
    sortedcontainers.
    """

    def __init__(self, problem: Problem, seed: int, method: str) -> None:
        super().__init__(problem)
        from syne_tune.backend.trial_status import Trial as Started
        from syne_tune.optimizer import baselines

        self._started = Started
        self._scheduler: Any = getattr(baselines, method)(
            config_space={name: _domain(kind) for name, kind in searched(problem.sweep).items()},
            metric="score",
            time_attr="evaluation",
            max_t=self._evaluations,
            do_minimize=self._minimizes,
            random_seed=seed,
        )
        self._known: list[Any] = []

    def _ask(self, number: int) -> Params:
        config = self._scheduler.suggest().config
        taken = self._problem.taken(suggest(FixedTrial(config), self._sweep))
        self._known.append(self._started(number, config | kept(taken), datetime.now()))
        self._scheduler.on_trial_add(self._known[number])
        return taken

    def _stops(self, number: int, evaluation: int, value: float) -> bool:
        decision = self._scheduler.on_trial_result(self._known[number], {"score": value, "evaluation": evaluation})
        return bool(decision == "STOP")

    def _tell(self, number: int, value: float) -> None:
        evaluation = self._trials[number].images // self._sweep.evaluate.every_images
        self._scheduler.on_trial_complete(self._known[number], {"score": value, "evaluation": evaluation})

    def _tell_stopped(self, number: int) -> None:
        """The scheduler stopped it, and knows."""


def _domain(kind: BaseDistribution) -> Any:
    from syne_tune import config_space as syne

    match kind:
        case CategoricalDistribution(choices=choices):
            return syne.choice(list(choices))
        case IntDistribution(low=low, high=high, log=log):
            return (syne.lograndint if log else syne.randint)(low, high)
        case FloatDistribution(low=low, high=high, log=log):
            return (syne.loguniform if log else syne.uniform)(low, high)
