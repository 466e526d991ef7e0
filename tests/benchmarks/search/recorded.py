"""Tasks made of the recorded table: its rows themselves, or trainings drawn from a model of them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.samplers import RandomSampler
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

from orchestrator.search.objective import WINDOW, cost, score, violations
from orchestrator.search.space import suggest
from orchestrator.search.trial import FATAL
from orchestrator.spec import Sweep
from tests.benchmarks.search import record
from tests.benchmarks.search.methods import changed
from tests.benchmarks.search.problem import Coordinates, Curve, Goal, Params, Worth

DRAWN = 1_000
"""Random settings that tell what the best 2 % of a model are."""
FOREST = {"n_estimators": 100, "min_samples_leaf": 3, "random_state": 0}


class Row(NamedTuple):
    """Settings of the table, with the curve of each seed."""

    params: Params
    curves: list[Curve]


class Table:
    """What was recorded so far of a task; a search on it ends trainings as the sweep file says."""

    def __init__(self, sweep: Sweep, recorded: Sequence[record.Row]) -> None:
        self.sweep = changed(
            sweep,
            {"search": {"trials": 10_000}, "health": {"stop": "collapsed"}, "confirm": {"top": "auto", "seeds": 2}},
        )
        runs: dict[tuple[int, int], list[record.Row]] = defaultdict(list)
        for row in recorded:
            runs[row["configuration"], row["seed"]].append(row)
        average = float(np.mean([rows[-1]["cpu_seconds"] for rows in runs.values()]))
        curves: dict[str, list[Curve]] = defaultdict(list)
        for _, rows in sorted(runs.items()):
            curves[rows[0]["params"]].append(_curve(rows, average))
        self.rows = [Row(json.loads(params), found) for params, found in curves.items()]
        self.place = Coordinates(self.sweep)
        self.places = np.array([self.place(row.params) for row in self.rows])

    def worth(self, row: Row) -> Worth:
        """By the mean over its seeds."""
        found = [self.end(curve) for curve in row.curves]
        good = [value for value in found if value is not None]
        return Worth(float(np.mean(good)) if good else np.inf, 1 - len(good) / len(found))

    def end(self, curve: Curve) -> float | None:
        """The log of its score; None if it failed: it would have been ended, or breaks a constraint."""
        aim, reports = self.sweep.objective, dict(enumerate(curve.metrics))
        value = score(aim, reports)
        broken = any(distance > 0 for distance in violations(aim, reports).values())
        failed = broken or value is None or any(verdict in FATAL for verdict in curve.verdicts)
        return None if failed or value is None else float(np.log(cost(aim, value)))

    def nearest(self, params: Params, among: NDArray[np.intp]) -> int:
        """The row of these whose settings are nearest."""
        away = np.linalg.norm(self.places[among] - self.place(params), axis=1)
        return int(among[np.argmin(away)])


def _curve(rows: Sequence[record.Row], average: float) -> Curve:
    """Of a training whose rows these are; whole ones take ``average`` seconds."""
    metrics = [
        {name.removeprefix("metric."): v for name, v in row.items() if name.startswith("metric.") and v is not None}
        for row in rows
    ]
    return Curve(metrics, [row["verdict"] for row in rows], rows[-1]["cpu_seconds"] / average / len(rows))


@cache
def table(task: str) -> Table:
    """The one that is committed."""
    return Table(record.sweep_of(task), record.read(record.FOLDER / f"{task}.parquet"))


class Pool:
    """The rows themselves: a proposal is moved to the nearest that this search has not tried. The search sees one seed
    of a row, by lot, and the race the others in turn; with two or three seeds nothing is left to judge its winner by.
    """

    def __init__(self, recorded: Table, seed: int) -> None:
        self.sweep, self._table = recorded.sweep, recorded
        self._dice = np.random.default_rng([seed, 2])
        self._orders: list[NDArray[np.int_]] = [self._dice.permutation(len(row.curves)) for row in recorded.rows]
        self._free = np.ones(len(recorded.rows), bool)
        self._rows = {_key(row.params): number for number, row in enumerate(recorded.rows)}
        self.goal = Goal.among(np.array([recorded.worth(row).cost for row in recorded.rows]))

    def taken(self, params: Params) -> Params:
        """Settings of a row; again of any when all were tried."""
        if not self._free.any():
            self._free[:] = True
        found = self._table.nearest(params, np.flatnonzero(self._free))
        self._free[found] = False
        return self._table.rows[found].params

    def curve(self, params: Params, number: int, seed: int | None) -> Curve:
        """As recorded."""
        row = self._rows[_key(params)]
        order, curves = self._orders[row], self._table.rows[row].curves
        fresh = order[1:] if len(order) > 1 else order
        chosen = order[0] if seed is None else fresh[seed % len(fresh)]
        return curves[int(chosen)]

    def worth(self, params: Params) -> Worth:
        """By all its seeds."""
        return self._table.worth(self._table.rows[self._rows[_key(params)]])


class Model:
    """A forest for the log of the score over settings and time, of trainings that end well; one for who fails; and how
    seeds were seen to differ from their mean.
    """

    def __init__(self, recorded: Table) -> None:
        self.table, aim = recorded, recorded.sweep.objective
        self.sweep = changed(recorded.sweep, {"objective": {"require": {}}})
        self.evaluations = len(recorded.rows[0].curves[0].metrics)
        points, levels, places, failed = [], [], [], []
        self.luck: list[NDArray[np.float64]] = []
        self.moments: list[int] = []
        for row, place in zip(recorded.rows, recorded.places, strict=True):
            good = [np.log([m[aim.metric] for m in c.metrics]) for c in row.curves if recorded.end(c) is not None]
            bad = [curve for curve in row.curves if recorded.end(curve) is None]
            places += [place] * len(row.curves)
            failed += [False] * len(good) + [True] * len(bad)
            self.moments += [_failed_at(curve) for curve in bad]
            if good:
                points.append(self.points(place))
                levels.append(np.mean(good, axis=0))
            if len(good) > 1:
                self.luck += list((good - np.mean(good, axis=0)) * np.sqrt(len(good) / (len(good) - 1)))
        self._level = ExtraTreesRegressor(**FOREST).fit(np.concatenate(points), np.concatenate(levels))
        self._fails = ExtraTreesClassifier(**FOREST).fit(np.array(places), failed)
        study = optuna.create_study(sampler=RandomSampler(seed=0))
        drawn = [suggest(study.ask(), self.sweep) for _ in range(DRAWN)]
        self.goal = Goal.among(np.array([worth.cost for worth in self.worths(drawn)]))

    def points(self, place: NDArray[np.float64]) -> NDArray[np.float64]:
        """Settings with each moment of a training."""
        share = np.arange(1, self.evaluations + 1) / self.evaluations
        return np.column_stack([np.tile(place, (self.evaluations, 1)), share])

    def level(self, params: Params) -> NDArray[np.float64]:
        """Expected log of the score at each evaluation."""
        found: NDArray[np.float64] = self._level.predict(self.points(self.table.place(params)))
        return found

    def worth(self, params: Params) -> Worth:
        """By the forests."""
        return self.worths([params])[0]

    def worths(self, some: Sequence[Params]) -> list[Worth]:
        """Of several settings at once, which takes hardly longer than of one."""
        places = [self.table.place(params) for params in some]
        levels = self._level.predict(np.concatenate([self.points(place)[-WINDOW:] for place in places]))
        values = np.median(levels.reshape(-1, WINDOW), axis=1)
        fails = self._fails.predict_proba(np.array(places))[:, self._fails.classes_.tolist().index(True)]
        return [Worth(float(value), float(risk)) for value, risk in zip(values, fails, strict=True)]


def _failed_at(curve: Curve) -> int:
    """The evaluation, from 1, whose verdict ended it; the last where it broke a constraint."""
    fatal = [number for number, verdict in enumerate(curve.verdicts, 1) if verdict in FATAL]
    return fatal[0] if fatal else len(curve.verdicts)


@cache
def model(task: str) -> Model:
    """Of the table that is committed. Exits where nothing tells how seeds differ."""
    learnt = Model(table(task))
    if not learnt.luck:
        go_on = f"go on with: python -m tests.benchmarks.search.record {task}"
        raise SystemExit(f"{task}.parquet has no settings yet that end well on two seeds; {go_on}")
    return learnt


class Surrogate:
    """Trainings drawn from a model: any settings, any number of fresh seeds, and no recorded curve is replayed."""

    def __init__(self, learnt: Model, seed: int) -> None:
        self.sweep, self.goal, self.worth = learnt.sweep, learnt.goal, learnt.worth
        self._model, self._seed = learnt, seed

    def taken(self, params: Params) -> Params:
        """Any."""
        return params

    def curve(self, params: Params, number: int, seed: int | None) -> Curve:
        """The luck of trial ``number`` is the same for every method."""
        learnt, name = self._model, self.sweep.objective.metric
        dice = np.random.default_rng([self._seed, 1, number, 0 if seed is None else seed])
        fate, luck, moment = dice.random(), dice.integers(2**31), dice.integers(2**31)
        level = learnt.level(params) + learnt.luck[luck % len(learnt.luck)]
        ends = (
            learnt.moments[moment % len(learnt.moments)] if fate < learnt.worth(params).risk else learnt.evaluations + 1
        )
        verdicts = ["collapsed" if n >= ends else "healthy" for n in range(1, learnt.evaluations + 1)]
        near = learnt.table.rows[learnt.table.nearest(params, np.arange(len(learnt.table.rows)))]
        return Curve([{name: float(value)} for value in np.exp(level)], verdicts, near.curves[0].pace)


def _key(params: Params) -> str:
    return json.dumps(params, sort_keys=True)
