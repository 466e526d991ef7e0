"""The shipped digits sweep for real, at equal wall time: as it is, at random, as a population, and under plain Optuna.

    env OMP_NUM_THREADS=1 python -m tests.benchmarks.search.real --minutes 5 --repetitions 0 1 2 3 4

Every search has one core and so many minutes from its first process to its last; what gansweep confirms is within them.
Then the settings that it names are trained on three seeds that no search has used, which takes no time of its own.
Every search is a line of infra/results/search/real.jsonl; the same command goes on, and writes search-real.md. Two
cores: two such commands at once, each with repetitions and a core of its own (``taskset -c 0``).
"""

from __future__ import annotations

import argparse
import json
import math
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import optuna
import torch

from orchestrator.paths import Home
from orchestrator.search import objective
from orchestrator.search.population import schedule
from orchestrator.search.space import suggest
from orchestrator.search.trial import FATAL
from orchestrator.spec import Sweep, load
from orchestrator.status import ledger_of
from tests.benchmarks.seeds import RESULTS, ROOT, table
from trainers import launch

FILE, ROWS = ROOT / "configs" / "digits.yaml", RESULTS / "search" / "real.jsonl"
SEEDS = (7_001, 7_002, 7_003)
ENDING = 15
"""Seconds for the start and the end of a driver, which its own budget does not count."""
ONE_CORE = ("resources.workers_per_trial=1", "resources.max_concurrent_trials=1", "search.trials=500")


class Named(NamedTuple):
    """Whom a search names: settings up to some images each, what it claims, and how many trials it began."""

    parts: list[tuple[float, dict[str, Any]]]
    claimed: float | None
    trials: int


Search = Callable[[int, float, Path], Named]


def swept(*changes: str) -> Search:
    """``gansweep submit`` with settings changed."""

    def search(repetition: int, seconds: float, folder: Path) -> Named:
        given = [*ONE_CORE, f"search.seed={repetition}", f"train.seed={repetition}", *changes]
        given += [f"budget.hours={(seconds - ENDING) / 3600}", "name=race"]
        words = [sys.executable, "-m", "orchestrator", "submit", str(FILE), "--home", str(folder)]
        words += [word for setting in given for word in ("--set", setting)]
        driver = subprocess.Popen(words, stdout=subprocess.DEVNULL)
        try:
            driver.wait(seconds)
        except subprocess.TimeoutExpired:
            driver.send_signal(signal.SIGINT)
            driver.wait()
        ledger, _ = ledger_of("race", Home.open(folder))
        best, trials = ledger.best(), ledger.trials()
        return Named(schedule(best, trials) if best else [], best.score if best else None, len(trials))

    return search


def plain(repetition: int, seconds: float, folder: Path) -> Named:
    """Optuna as its documentation shows it: TPE, a median pruner, the last value counts; what breaks the constraint
    counts as pruned.
    """
    sweep, deadline = load(FILE, [f"train.seed={repetition}", "health.stop=never"]), time.monotonic() + seconds

    def train(trial: optuna.Trial) -> float:
        metrics: Mapping[str, float] = {}
        config = sweep.trial_config(suggest(trial, sweep))
        for number, report in enumerate(launch.run(config, 1, folder / str(trial.number))):
            metrics = report.metrics
            if not math.isfinite(metrics.get("fid", math.nan)) or time.monotonic() > deadline:
                raise optuna.TrialPruned
            trial.report(metrics["fid"], number)
            if trial.should_prune():
                raise optuna.TrialPruned
        if metrics["coverage"] < 0.5:
            raise optuna.TrialPruned
        return metrics["fid"]

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruner = optuna.pruners.MedianPruner()
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=repetition), pruner=pruner)
    study.optimize(train, timeout=seconds)
    done = study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
    best = study.best_trial if done else None
    return Named([(math.inf, best.params)] if best else [], best.value if best else None, len(study.trials))


METHODS: dict[str, Search] = {
    "gansweep": swept(),
    "random": swept("search.sampler=random", "rungs=null", "confirm.top=0"),
    "optuna": plain,
    "population": swept("rungs=null", "population={every_images: 60000}", "search.trials=12"),
}


def judged(sweep: Sweep, parts: Sequence[tuple[float, dict[str, Any]]], seed: int) -> float | None:
    """The score of settings on a seed, None where the training fails or breaks the constraint."""
    reports: dict[int, Mapping[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for until, params in parts:
            training = launch.run(sweep.trial_config(params | {"train.seed": seed}), 1, Path(folder))
            for report in training:
                reports[report.images] = report.metrics
                if report.health.verdict in FATAL:
                    return None
                if report.images >= until:
                    break
            training.close()
    kept = all(distance <= 0 for distance in objective.violations(sweep.objective, reports).values())
    return objective.score(sweep.objective, reports) if kept else None


def main() -> None:
    """Runs what is missing."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--minutes", type=float, default=5)
    options.add_argument("--repetitions", type=int, nargs="+", default=range(5))
    options.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    chosen = options.parse_args()
    torch.set_num_threads(1)
    sweep = load(FILE)
    for repetition in chosen.repetitions:
        for method in chosen.methods:
            if any((row["method"], row["repetition"]) == (method, repetition) for row in rows()):
                continue
            with tempfile.TemporaryDirectory() as folder:
                began = time.monotonic()
                named = METHODS[method](repetition, chosen.minutes * 60, Path(folder))
                took = time.monotonic() - began
            scores = [judged(sweep, named.parts, seed) if named.parts else None for seed in SEEDS]
            row = {"method": method, "repetition": repetition, "minutes": chosen.minutes, "seconds": round(took, 1)}
            row |= {"trials": named.trials, "claimed": named.claimed, "scores": scores}
            row |= {"parts": [[None if math.isinf(until) else until, params] for until, params in named.parts]}
            with ROWS.open("a") as lines:
                lines.write(json.dumps(row) + "\n")
            print(method, repetition, round(took), named.trials, named.claimed, scores, flush=True)
    (RESULTS / "search-real.md").write_text(page(rows()))


def rows() -> list[dict[str, Any]]:
    """Those run so far."""
    return [json.loads(line) for line in ROWS.read_text().splitlines()] if ROWS.exists() else []


def page(known: Sequence[Mapping[str, Any]]) -> str:
    """The table: per method the confirmed medians of its repetitions; a winner that fails on a seed has none."""
    lines = []
    for method in METHODS:
        found = [row for row in known if row["method"] == method]
        if not found:
            continue
        medians = [median(row["scores"]) for row in found if None not in row["scores"]]
        told = ", ".join(f"{value:.2f}" for value in sorted(medians)) or "none"
        claims = [row["claimed"] for row in found if row["claimed"] is not None]
        claimed = f"{median(claims):.2f}" if claims else "none"
        overall = f"{median(medians):.2f}" if medians else "none"
        tried = median(row["trials"] for row in found)
        lines.append([method, len(found), f"{tried:g}", claimed, overall, told, len(found) - len(medians)])
    head = ("method", "searches", "trials", "claimed", "FID on fresh seeds", "each", "winners that fail")
    return f"{INTRODUCTION}\n{table(head, lines)}\n"


INTRODUCTION = """# The digits sweep for real, at equal wall time

Written by `python -m tests.benchmarks.search.real`. `configs/digits.yaml` on one core, a search of the same number of
minutes by each method, other seeds of search and training in each repetition. Then the settings that it named were
trained on three seeds that no search has used: the median of three is what counts, and a winner fails whose training
collapses, or breaks the constraint, on one of them. Medians over searches. *claimed*: what the search itself said.

A training takes nine seconds here and a report comes every second. gansweep draws, stores and records each (checkpoint,
grid of samples, MLflow's server and database, all on the same core), which takes it about four tenths of the time;
plain Optuna keeps nothing but numbers. Where an evaluation takes minutes instead of a second, that is gone.

- gansweep: as shipped, ended by `budget.hours`, confirmation within it
- random: the same with random settings, every trial to its end, no confirmation
- optuna: TPE and the median pruner of Optuna in a plain loop, without the verdict
- population: twelve members, the worst quarter replaced every 60,000 images
"""


if __name__ == "__main__":
    main()
