"""The estimate against what the rungs really decide."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.estimate import Estimate, estimate, stages
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
