"""A sweep as its ledger and artifact store would hold it, of any size, written in a moment: a formula in place of
trainings.

    python -m tests.orchestrator.simulated HOME [--trials 300]    then: gansweep report simulated --home HOME
"""

from __future__ import annotations

import argparse
import math
import random
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial
from PIL import Image

from orchestrator.paths import Home, samples_key, trial_key
from orchestrator.search import objective
from orchestrator.search.confirmation import FIRST_SEED, Confirmation
from orchestrator.search.journal import Study, place
from orchestrator.search.kept import kept
from orchestrator.search.record import record_of
from orchestrator.search.space import distribution
from orchestrator.search.trial import State, Trial
from orchestrator.spec import Sweep

LOSSES = ("non_saturating", "hinge", "relativistic")
SPACE = {
    "train.generator_lr": {"float": (1e-5, 1e-2), "log": True},
    "train.discriminator_lr": {"float": (1e-5, 1e-2), "log": True},
    "train.beta1": {"float": (0.0, 0.9)},
    "train.loss": {"choice": LOSSES},
    "train.r1_gamma": {"float": (0.01, 10.0), "log": True},
    "train.r2_gamma": {"float": (0.01, 10.0), "log": True, "when": {"train.loss": ("relativistic",)}},
    "model.width": {"int": (16, 128), "step": 16},
}
ENDS: tuple[State, ...] = ("collapsed", "collapsed", "stuck", "diverged")
LEVELS = (100_000, 300_000, 900_000)
IDENTITY = "0123456789abcdef0123456789abcdef"


def sweep(trials: int) -> Sweep:
    return Sweep.model_validate(
        {
            "name": "simulated",
            "model": {"generator": "mlp", "discriminator": "mlp"},
            "train": {"images": LEVELS[-1]},
            "evaluate": {"every_images": 50_000, "metrics": ("fid", "coverage")},
            "objective": {"minimize": "fid", "require": {"coverage": ">= 0.5"}},
            "rungs": {"first_images": LEVELS[0], "reduction": 3},
            "confirm": {"top": 3, "seeds": 3},
            "search": {"trials": trials, "space": SPACE},
        }
    )


def trial(number: int, trials: int) -> Trial:
    """One in five collapses, which high rates make likelier; of the others a third comes to each next rung."""
    dice = random.Random(number)
    params: dict[str, Any] = {
        "train.generator_lr": 10 ** dice.uniform(-5, -2),
        "train.discriminator_lr": 10 ** dice.uniform(-5, -2),
        "train.beta1": dice.uniform(0, 0.9),
        "train.loss": dice.choice(LOSSES),
        "train.r1_gamma": 10 ** dice.uniform(-2, 1),
        "model.width": dice.randrange(16, 129, 16),
    }
    if params["train.loss"] == "relativistic":
        params["train.r2_gamma"] = 10 ** dice.uniform(-2, 1)
    rate = math.log10(params["train.generator_lr"]) + 3.5
    floor = 5 + 8 * rate**2 + 3 * math.log10(params["train.r1_gamma"]) ** 2 + params["train.beta1"]
    bad = dice.random() < 0.12 + 0.25 * (params["train.discriminator_lr"] > 2e-3)
    rung = 1 if floor > 12 or bad else 2 if floor > 7 else 3
    last = 50_000 if bad else LEVELS[rung - 1]
    shown = [images for images in (50_000, 100_000, 200_000, 300_000, 500_000, 700_000, 900_000) if images <= last]
    reports = {i: {"fid": floor + 3e6 / i + dice.random(), "coverage": 0.7} for i in shown}
    made = Trial(
        *(number, params, "finished" if rung == 3 else "pruned", last),
        images=last,
        rung=rung,
        verdict="healthy",
        score=objective.score(sweep(trials).objective, reports),
        images_per_second=5_000.0,
        device_seconds=last / 5_000,
        reported_at=1_700_000_000.0 + 60.0 * number + last / 1_000,
        reports=reports,
    )
    if not bad:
        return made
    end = dice.choice(ENDS)
    why = ("coverage .02 where it was .41", "samples alike")
    return replace(made, state=end, verdict=end, reasons=why, rung=0, target=LEVELS[0], score=None)


def confirmations(trials: list[Trial]) -> Iterator[Confirmation]:
    """The three best, on three seeds each; the third's last seed collapses."""
    best = sorted((t for t in trials if t.state == "finished"), key=lambda t: t.score or 0.0)[:3]
    for rank, one in enumerate(best):
        for i in range(3):
            bad = (rank, i) == (2, 2)
            score = None if bad else (one.score or 0.0) + 0.4 * i + 0.3
            verdict, at = "collapsed" if bad else "healthy", (one.reported_at or 0.0) + 200_000 + 300 * i
            yield Confirmation(
                *(one.id, FIRST_SEED + i, True, score, verdict),
                reasons=("it looks collapsed",) if bad else (),
                reported_at=at,
                device_seconds=max(one.reports) / 5_000,
                reports=one.reports,
            )


def write(home: Home, trials: int) -> list[Trial]:
    """The ledger, the sweep file and some sample grids of a sweep of so many trials in ``home``."""
    asked, paths = sweep(trials), home.sweep("simulated")
    paths.root.mkdir(parents=True)
    paths.spec.write_text(asked.to_yaml())
    study = place(paths.ledger).create("simulated", [StudyDirection.MINIMIZE])
    made = [trial(number, trials) for number in range(trials)]
    attrs: dict[str, Any] = {"gansweep.comparable": asked.comparable(), "gansweep.id": IDENTITY}
    attrs |= {"gansweep.state": "finished"}
    attrs |= {f"confirm:{run.trial}:{run.seed}": asdict(run) for run in confirmations(made)}
    with study.together():
        for name, value in attrs.items():
            study.storage.set_study_user_attr(study.id, name, value)
        for one in made:
            _write(study, asked, one)
    for one in made:
        for images in one.reports:
            _grid(home, one.id, images)
    return made


def _write(study: Study, asked: Sweep, one: Trial) -> None:
    told = {f"report:{images}": metrics for images, metrics in one.reports.items()}
    kinds = {name: distribution(asked.search.space[name]) for name in one.params}
    values: dict[str, Any] = {"params": kept(one.params), "distributions": kinds}
    values |= {"user_attrs": {"trial": record_of(one), **told}}
    state = TrialState.PRUNED if one.state == "pruned" else TrialState.COMPLETE
    value = None if one.state == "pruned" else one.score or 99.0
    study.storage.create_new_trial(study.id, create_trial(state=state, value=value, **values))


def _grid(home: Home, number: int, images: int) -> None:
    target = home.artifacts / samples_key(trial_key(f"simulated-{IDENTITY[:8]}", number), images)
    target.parent.mkdir(parents=True, exist_ok=True)
    dice = np.random.default_rng(number)
    pixels = dice.normal(128, 60 * images / LEVELS[-1], (32, 32, 3)).clip(0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(target, compress_level=1)


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("home", type=Path)
    options.add_argument("--trials", type=int, default=300)
    chosen = options.parse_args()
    write(Home.open(chosen.home), chosen.trials)
