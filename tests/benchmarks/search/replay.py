"""Searches played in virtual time, on one clock: the real ledger, rungs, samplers and confirmation, and their peers.

    python -m tests.benchmarks.search.replay synthetic --slots 4 --seeds 20 [--methods gansweep random]

also: the tasks of ``record`` as ``pool:digits``, whose trainings are rows of the recorded table, and as
``surrogate:digits``, drawn from a model of it. A search lasts as long as 40 trainings take on its slots. At each of 20
moments it is asked: if it ended now, which settings would it name? The best by score; and what the race of decision
0030 leaves of those that finished, as large as a third of what was trained by then allows, played on the same slots.
Every play is a line of ``infra/results/search/replay.jsonl``, so the same command goes on. ``judge`` makes a page.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import count, product
from pathlib import Path
from typing import Any, Literal

from orchestrator.paths import RunKey
from orchestrator.search.confirmation import Confirmations
from orchestrator.search.objective import WINDOW, costs
from orchestrator.search.ranking import in_order
from orchestrator.search.trial import FATAL, Leg, Trial
from tests.benchmarks.search.methods import METHODS, Search, changed
from tests.benchmarks.search.problem import Curve, Problem
from tests.benchmarks.search.recorded import Pool, Surrogate, model, table
from tests.benchmarks.search.synthetic import Synthetic
from tests.benchmarks.seeds import RESULTS
from tests.orchestrator.small import report

ROWS = RESULTS / "search" / "replay.jsonl"
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Where journals are: played time has no use for waits for a disk."""
KEY = ("task", "slots", "method", "seed")
TRAININGS, MOMENTS = 40, 20


class Played:
    """A search on slots; time is in whole trainings of average pace."""

    def __init__(self, search: Search, problem: Problem, slots: int) -> None:
        self.now = self.trained = 0.0
        self._search, self._problem, self._idle = search, problem, slots
        self._every = problem.sweep.evaluate.every_images
        self._events: list[tuple[float, int, Leg, Curve]] = []
        self._evaluated, self._number = Counter[RunKey](), count()

    def until(self, moment: float = math.inf) -> None:
        """Plays on to this moment, or until nothing is left."""
        self._hand_out()
        while self._events and self._events[0][0] <= moment:
            self.now, _, leg, curve = heapq.heappop(self._events)
            self.trained += curve.pace
            self._evaluated[leg.run] += 1
            done = self._evaluated[leg.run]
            metrics, verdict = curve.metrics[done - 1], curve.verdicts[done - 1]
            stops = self._search.report(leg, report(done * self._every, verdict=verdict) | {"metrics": metrics})
            if done * self._every < leg.until and not stops and not self._problem.sweep.health.stops(verdict):
                self._go_on(leg, curve)
            else:
                self._search.end_leg(leg)
                self._idle += 1
                self._hand_out()

    def _hand_out(self) -> None:
        while self._idle and isinstance(leg := self._search.next_leg(), Leg):
            self._idle -= 1
            self._go_on(leg, self._problem.curve(leg.params, leg.trial, leg.confirm_seed))

    def _go_on(self, leg: Leg, curve: Curve) -> None:
        heapq.heappush(self._events, (self.now + curve.pace, next(self._number), leg, curve))


class Race:
    """The confirmation of what a search had at some moment."""

    def __init__(self, problem: Problem, trials: Sequence[Trial], trained: int) -> None:
        sweep = changed(problem.sweep, {"search": {"trials": max(1, trained)}, "rungs": None})
        self._known: dict[str, Any] = {}
        self._runs = Confirmations(sweep, {}, self._known.__setitem__)
        self._trials, self._last = trials, sweep.train.images - WINDOW * sweep.evaluate.every_images
        self._aim, self.end_leg = sweep.objective, self._runs.end_leg

    def next_leg(self) -> Leg | Literal["wait", "done"]:
        """Of the race."""
        return self._runs.next_leg(self._trials)

    def report(self, leg: Leg, report: Mapping[str, Any]) -> None:
        """What the score is made of; the rest of a curve takes its time, and needs no telling."""
        if report["images"] > self._last or report["health"]["verdict"] != "healthy":
            self._runs.report(leg, report, 0.0)

    def trials(self) -> list[Trial]:
        """Those that take part."""
        return list(self._trials)

    def winner(self) -> Trial | None:
        """Of those that came to the end of it, the best by its median on fresh seeds."""
        found = {number: costs(self._aim, medians) for number, medians in self._runs.medians().items()}
        return self._trials[in_order(self._aim, found)[0]] if found else None


def confirmed(problem: Problem, trials: Sequence[Trial], trained: float, slots: int) -> tuple[Trial | None, float]:
    """Who wins the race after so many trainings, and how long it takes."""
    race = Race(problem, trials, round(trained))
    played = Played(race, problem, slots)
    played.until()
    return race.winner(), played.now


def best(problem: Problem, trials: Sequence[Trial]) -> Trial | None:
    """Whom a search names that confirms nobody: the best score of those that came to the end; before there are any, of
    those that came furthest.
    """
    known = [t for t in trials if t.scores and t.state not in FATAL and t.feasible]
    return min(known, key=lambda t: (-t.images, costs(problem.sweep.objective, t.scores)), default=None)


def play(method: str, problem: Problem, seed: int, slots: int, folder: Path) -> dict[str, Any]:
    """A search to its end. Regret is of whom it would name at each moment, in the log of the score that settings are
    really worth; ``confirmed_at``: when it first confirms one of the best 2 %, the race included; risk is of whom it
    names at the end, with a race and without.
    """
    chosen, end = METHODS[method], TRAININGS / slots
    search, wide = chosen.begin(problem, seed, folder), slots * chosen.wide
    played = Played(search, problem, wide)
    named, winner, at = None, None, None
    regret: list[float | None] = []
    for number in range(1, MOMENTS + 1):
        moment = end * number / MOMENTS
        played.until(moment)
        trials = search.trials()
        named = best(problem, trials)
        regret.append(_regret(problem, named))
        if at is None or number == MOMENTS:
            winner, took = confirmed(problem, trials, played.trained, wide)
            if at is None and winner and problem.worth(winner.params).cost <= problem.goal.enough:
                at = round(moment + took, 3)
    return {
        **{"confirmed_at": at, "trials": len(search.trials()), "regret": regret},
        **{"risk": _risk(problem, named), "confirmed_risk": _risk(problem, winner)},
        "confirmed_regret": _regret(problem, winner),
    }


def _regret(problem: Problem, trial: Trial | None) -> float | None:
    return round(float(problem.worth(trial.params).value - problem.goal.best), 4) if trial else None


def _risk(problem: Problem, trial: Trial | None) -> float | None:
    return round(float(problem.worth(trial.params).risk), 4) if trial else None


def problem(name: str, seed: int) -> Problem:
    """A task by its name on the command line, with the luck of this seed."""
    kind, _, task = name.partition(":")
    kinds: dict[str, Callable[[], Problem]] = {
        "synthetic": lambda: Synthetic(seed),
        "pool": lambda: Pool(table(task), seed),
        "surrogate": lambda: Surrogate(model(task), seed),
    }
    return kinds[kind]()


def main() -> None:
    """Plays what is missing."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("task")
    options.add_argument("--slots", type=int, nargs="+", default=[1, 4, 16])
    options.add_argument("--seeds", type=int, default=100)
    options.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    chosen = options.parse_args()
    known = {tuple(row[name] for name in KEY) for row in rows()}
    for seed, slots, method in product(range(chosen.seeds), chosen.slots, chosen.methods):
        key = (chosen.task, slots, method, seed)
        if key in known:
            continue
        with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
            found = play(method, problem(chosen.task, seed), seed, slots, Path(folder))
        with ROWS.open("a") as lines:
            lines.write(json.dumps(dict(zip(KEY, key, strict=True)) | found) + "\n")
        print(*key, found["confirmed_at"], found["regret"][-1], flush=True)


def rows() -> list[dict[str, Any]]:
    """Those played so far."""
    return [json.loads(line) for line in ROWS.read_text().splitlines()] if ROWS.exists() else []


if __name__ == "__main__":
    main()
