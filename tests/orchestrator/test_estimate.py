"""The estimate against what the rungs really decide."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.paths import Home
from orchestrator.planning.earlier import Earlier, Stopwatch, like, remember
from orchestrator.planning.estimate import Estimate, estimate, parameter_ranges, parameters, stages
from orchestrator.search.effort import confirming
from orchestrator.search.rungs import Continue, Ladder, Rules
from orchestrator.search.trial import Trial
from orchestrator.spec import Sweep
from tests.orchestrator.small import sweep


def played(asked: Sweep) -> tuple[int, int]:
    """Legs and images of one slot where the best trials happen to come first, so that none is promoted in vain."""
    levels = asked.rung_images()
    reduction, keep = asked.rungs.reduction if asked.rungs else 2, max(1, confirming(asked).top)
    ladder = Ladder(Rules(levels, reduction, keep, asked.objective))
    number = 0
    legs = images = 0
    while (next_ := ladder.decide(frozenset(), number < asked.search.trials)) != "done":
        if next_ == "ask":
            ladder.put(Trial(number, {}, "running", levels[0]))
            number += 1
            continue
        assert isinstance(next_, Continue)
        trial = next_.trial
        rung = levels.index(next_.until) + 1
        legs, images = legs + 1, images + next_.until - trial.images
        reports = {**trial.reports, next_.until: {"fid": float(trial.id)}}
        state = "finished" if rung == len(levels) else "waiting"
        done = replace(trial, images=next_.until, rung=rung, reports=reports)
        ladder.put(replace(done, state=state))  # type: ignore[arg-type]
    return legs, images


@pytest.mark.parametrize("trials", [1, 2, 3, 8, 9, 16, 27, 40])
@pytest.mark.parametrize("top", [0, 2, 5])
@pytest.mark.parametrize("rungs", [None, {"first_images": 10, "reduction": 3}, {"first_images": 30, "reduction": 2}])
def test_the_estimate_is_what_an_orderly_sweep_takes(trials: int, top: int, rungs: dict[str, int] | None):
    asked = sweep(search={"trials": trials}, confirm={"top": top, "seeds": 2}, rungs=rungs)
    guess = estimate(asked)
    again = guess.confirmations * asked.train.images
    assert (guess.legs - guess.confirmations, guess.images - again) == played(asked)
    assert guess.confirmations == 2 * min(top, trials)


def test_an_estimate_in_numbers():
    """Nine trials to 10, three of them to 30, one to 90; the best once more to 90 on each of three seeds."""
    asked = sweep(search={"trials": 9}, confirm={"top": 1, "seeds": 3})
    assert estimate(asked) == Estimate(9, 13 + 3, 3, 90 + 60 + 60 + 270, 480 / (12 * 90))


def test_what_each_rung_costs():
    asked = sweep(search={"trials": 9}, confirm={"top": 1, "seeds": 3})
    assert [(name, *stage) for name, stage in stages(asked)] == [
        ("rung 1", 10, 9, 90),
        ("rung 2", 30, 3, 60),
        ("rung 3", 90, 1, 60),
        ("fresh seeds", 90, 3, 270),
    ]


def test_the_sizes_of_networks_over_the_space():
    space = {
        "train.loss": {"choice": ["hinge", "wasserstein"]},
        "model.width": {"int": [16, 32]},
        "model.depth": {"choice": [1, 3], "when": {"train.loss": ["hinge"]}},
    }
    asked = sweep(search={"trials": 2, "space": space})
    ranges = parameter_ranges(asked)
    for player in ("generator", "discriminator"):
        counts = [
            parameters(sweep(model={**asked.model.model_dump(), "width": width, "depth": depth}))[player]
            for width in (16, 32)
            for depth in (1, 3)
        ]
        assert ranges[player] == (min(counts), max(counts))
    assert parameter_ranges(sweep(search={"trials": 2, "space": {"train.loss": {"choice": ["hinge"]}}})) == {}


def ran(home: Home, asked: Sweep, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of 40 images in 20 seconds after its first report."""
    clock = [5.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    watch = Stopwatch()
    for images in (1_000, 10, 30):
        watch.report(images)
        clock[0] += 10
    (paths := home.sweep(name)).root.mkdir(parents=True)
    paths.spec.write_text(asked.to_yaml())
    remember(paths.pace, asked, watch)


def test_the_time_of_a_sweep_follows_from_one_like_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    home, asked = Home(tmp_path), sweep()
    assert like(asked, home) is None
    ran(home, asked, "first", monkeypatch)
    assert like(asked, home) == Earlier("first", 2.0)
    assert like(sweep(train={"images": 900, "batch_size": 10}, search={"trials": 3}), home) == Earlier("first", 2.0)
    assert like(sweep(model={"width": 77}), home) is None
    assert like(sweep(resources={"workers_per_trial": 2}), home) is None
    ran(home, asked, "second", monkeypatch)
    os.utime(home.sweep("first").pace, (0, 0))
    assert like(asked, home) == Earlier("second", 2.0)
    home.sweep("second").pace.write_text("{")
    assert like(asked, home) == Earlier("first", 2.0), "a cache that can't be read is not there"


def test_one_report_says_nothing_of_the_pace(tmp_path: Path):
    watch = Stopwatch()
    watch.report(100)
    remember(tmp_path / "pace.json", sweep(), watch)
    assert not (tmp_path / "pace.json").exists()
