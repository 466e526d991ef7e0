"""The harness in which searches are compared, and the comparison itself in a small form: methods keep their order."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import pytest
from optuna.trial import TrialState

from orchestrator.search.trial import Leg
from tests.benchmarks.search import record, replay
from tests.benchmarks.search.methods import METHODS
from tests.benchmarks.search.peers import Asha, Optuna
from tests.benchmarks.search.recorded import Model, Pool, Surrogate, Table
from tests.benchmarks.search.replay import MEMORY, Played, best, play
from tests.benchmarks.search.synthetic import EVERY, Synthetic

SLOTS, TRAININGS, SEEDS = 4, 24, 20


class End(NamedTuple):
    """Of a search: how far what it names is from the best, and what it proposed at last; both less is better."""

    regret: float
    proposed: float


def searched(method: str, seed: int) -> End:
    """For ``TRAININGS`` on ``SLOTS``."""
    problem = Synthetic(seed)
    with TemporaryDirectory(dir=MEMORY) as folder:
        search = METHODS[method].begin(problem, seed, Path(folder))
        Played(search, problem, SLOTS).until(TRAININGS / SLOTS)
        trials = search.trials()
    named = best(problem, trials)
    assert named
    values = [problem.worth(trial.params).value for trial in trials]
    return End(problem.worth(named.params).value - problem.goal.best, float(np.median(values[len(values) // 2 :])))


def test_a_search_is_better_than_chance():
    """In the median over paired seeds: by .12 in what it names, the log of FID, and by more in what it proposes. Rungs
    that promote the worst lose the first, by .98; a sampler told to maximize the second.
    """
    pairs = [(searched("random", seed), searched("gansweep", seed)) for seed in range(SEEDS)]
    assert np.median([chance.regret - ours.regret for chance, ours in pairs]) > 0
    assert np.median([chance.proposed - ours.proposed for chance, ours in pairs]) > 0.3


# -- the clock ---------------------------------------------------------------------------------------------------------


class Watched(Optuna):
    """Counts what runs at once."""

    running = most = 0

    def next_leg(self) -> Leg:
        self.running += 1
        self.most = max(self.most, self.running)
        return super().next_leg()

    def end_leg(self, leg: Leg) -> None:
        self.running -= 1
        super().end_leg(leg)


def test_time_is_of_trainings_side_by_side():
    """Four slots are busy all the time: after three trainings' time twelve were trained, less what is under way."""
    problem = Synthetic(0)
    search = Watched(problem, 0)
    played = Played(search, problem, SLOTS)
    played.until(3.0)
    assert search.most == SLOTS
    assert 3.0 * SLOTS - 1 < played.trained <= 3.0 * SLOTS
    under_way = sum(t.images for t in search.trials() if t.state == "running")
    assert under_way < SLOTS * problem.sweep.train.images


def test_what_collapses_is_ended_and_told_as_the_worst():
    problem = Synthetic(0)
    search = Optuna(problem, 0)
    Played(search, problem, SLOTS).until(5.0)
    collapsed = [t for t in search.trials() if t.state == "collapsed"]
    values = {t.number: t.values[0] for t in search.study.trials if t.state == TrialState.COMPLETE}
    assert collapsed and all(t.images <= problem.sweep.train.images and t.score is None for t in collapsed)
    assert min(values[t.id] for t in collapsed) > np.median(list(values.values()))


def test_asha_stops_at_its_rungs():
    """Ray's, as documented: after 1, 4 and 16 evaluations, what is not among the best quarter so far."""
    problem = Synthetic(0)
    search = Asha(problem, 0)
    Played(search, problem, 1).until(10.0)
    stopped = Counter(trial.images // EVERY for trial in search.trials() if trial.state == "pruned")
    assert set(stopped) == {1, 4, 16} and stopped[1] > stopped[4] + stopped[16]


# -- the table ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def table() -> Table:
    """As the recorder writes it: 40 settings of the digits sweep on two seeds; a high rate of the generator fails."""
    return Table(record.sweep_of("digits"), list(recorded()))


def recorded() -> Iterator[record.Row]:
    sweep, dice = record.sweep_of("digits"), np.random.default_rng(0)
    for seed in range(2):
        for number in range(40):
            params = record.drawn(sweep, number)
            rate, bad = float(np.log10(params["train.generator_lr"])), params["train.generator_lr"] > 2e-3
            for images in range(5_000, 60_001, 5_000):
                level = 1.0 + (rate + 3.2) ** 2 + 20_000 / images
                yield {
                    **{"configuration": number, "seed": seed, "params": json.dumps(params), "images": images},
                    **{"verdict": "collapsed" if bad and images > 30_000 else "healthy", "cpu_seconds": images / 1e4},
                    **{"metric.fid": float(np.exp(level + 0.05 * dice.normal())), "metric.coverage": 0.8},
                }


def test_a_row_is_trained_once_and_confirmed_on_another_seed(table: Table):
    pool = Pool(table, 0)
    proposed = table.rows[3].params
    first, second = pool.taken(proposed), pool.taken(proposed)
    assert first == proposed and second != proposed
    left = [pool.taken(proposed) for _ in table.rows[2:]]
    assert len({json.dumps(params) for params in (first, second, *left)}) == len(table.rows)
    seen, fresh = pool.curve(first, 0, None), pool.curve(first, 0, 1_000)
    assert {id(seen), id(fresh)} == {id(curve) for curve in table.rows[3].curves}


def test_a_model_of_the_table_knows_what_is_good_and_what_fails(table: Table):
    learnt = Model(table)
    worths = [learnt.worth(row.params) for row in table.rows]
    true = [table.worth(row) for row in table.rows]
    good = [n for n, worth in enumerate(true) if worth.risk == 0]
    assert np.corrcoef([worths[n].value for n in good], [true[n].value for n in good])[0, 1] > 0.8
    assert min(worths[n].risk for n, worth in enumerate(true) if worth.risk == 1) > max(worths[n].risk for n in good)
    drawn = Surrogate(learnt, 0).curve(table.rows[good[0]].params, 0, None)
    assert len(drawn.metrics) == 12
    assert 0.03 < np.std(learnt.luck) < 0.07, "as noisy as what was recorded"


@pytest.mark.parametrize("method", METHODS)
def test_every_method_plays_on_the_table(method: str, table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What it knows is what was trained: rows."""
    if method in ("asha-cqr", "bohb"):
        pytest.importorskip("syne_tune", reason="Syne Tune is installed for the benchmark only")
    monkeypatch.setattr(replay, "TRAININGS", 4)
    (tmp_path / "whole").mkdir()
    problem, rows = Pool(table, 0), {json.dumps(row.params, sort_keys=True) for row in table.rows}
    assert play(method, problem, 0, 2, tmp_path / "whole")["regret"][-1] >= 0
    search = METHODS[method].begin(problem, 0, tmp_path)
    Played(search, problem, 2).until(2.0)
    assert {json.dumps(trial.params, sort_keys=True) for trial in search.trials()} <= rows
