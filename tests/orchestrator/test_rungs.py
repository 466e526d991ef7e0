"""Which leg comes next, on hand-made ledgers."""

from __future__ import annotations

import random
from dataclasses import replace

from orchestrator.search.rungs import Continue, Decision, Ladder, Rules
from orchestrator.search.trial import Trial
from orchestrator.settings.groups import Objective

RULES = Rules([10, 30, 90], 3, keep=1, objective=Objective(minimize="fid"))


def decide(trials: list[Trial], in_flight: frozenset[int], rules: Rules, most: int = 9) -> Decision:
    """Among ``trials``, of ``most`` in all."""
    return Ladder(rules, trials).decide(in_flight, len(trials) < most)


def trial(number: int, fid: float | None, state: str = "waiting", rung: int = 1, target: int = 10) -> Trial:
    reports = {} if fid is None else {10: {"fid": fid}}
    return Trial(number, {}, state, target, images=10, rung=rung, reports=reports)  # type: ignore[arg-type]


def test_asks_for_a_new_trial_while_nothing_is_promotable():
    assert decide([], frozenset(), RULES) == "ask"
    assert decide([trial(0, 5.0), trial(1, 4.0)], frozenset(), RULES) == "ask"


def test_promotes_the_best_of_three():
    three = [trial(0, 5.0), trial(1, 4.0), trial(2, 6.0)]
    assert decide(three, frozenset(), RULES) == Continue(three[1], 30)


def test_maximizing_turns_the_order_round():
    three = [trial(0, 5.0), trial(1, 4.0), trial(2, 6.0)]
    rules = replace(RULES, objective=Objective(maximize="fid"))
    assert decide(three, frozenset(), rules) == Continue(three[2], 30)


def test_a_promoted_trial_keeps_its_place_in_the_quota():
    promoted = trial(1, 4.0, "running", rung=1, target=30)
    ledger = [trial(0, 5.0), promoted, trial(2, 6.0)]
    assert decide(ledger, frozenset({1}), RULES) == "ask"


def test_a_better_latecomer_is_promoted_although_the_quota_was_used():
    """Asynchronous halving: membership in the best third counts, not how many went before."""
    ledger = [trial(0, 5.0), trial(1, 4.0, "running", target=30), trial(2, 6.0), trial(3, 3.0)]
    assert decide(ledger, frozenset({1}), RULES) == Continue(ledger[3], 30)


def test_bad_ends_count_among_those_who_came_and_are_never_promoted():
    ledger = [trial(0, 5.0), trial(1, 1.0, "collapsed"), trial(2, None, "diverged", rung=0)]
    assert decide(ledger, frozenset(), RULES) == Continue(ledger[0], 30)


def test_a_crash_raises_no_quota():
    """A machine that failed says nothing of the others."""
    for crashed in (trial(1, 9.0, "crashed"), trial(1, None, "crashed", rung=0)):
        assert decide([trial(0, 5.0), crashed, trial(2, 6.0)], frozenset(), RULES) == "ask"


def test_who_was_stuck_came_and_was_the_worst():
    ledger = [trial(0, 5.0), trial(1, 1.0, "stuck"), trial(2, 6.0)]
    assert decide(ledger, frozenset(), RULES) == Continue(ledger[0], 30)


def test_a_higher_rung_goes_first():
    high = [
        replace(trial(i, 5.0 + i, rung=2, target=30), reports={10: {"fid": 9.0}, 30: {"fid": 5.0 + i}})
        for i in range(3)
    ]
    low = [trial(i, 1.0 + i) for i in range(3, 6)]
    assert decide([*high, *low], frozenset(), RULES) == Continue(high[0], 90)


def test_an_interrupted_trial_comes_before_everything():
    ledger = [trial(0, 5.0), trial(1, 4.0), trial(2, 6.0), trial(3, None, "running", rung=0)]
    assert decide(ledger, frozenset(), RULES) == Continue(ledger[3], 10)


def test_waits_while_running_legs_can_free_more_work():
    ledger = [trial(i, 5.0 + i) for i in range(2)]
    running = trial(2, None, "running", rung=0)
    assert decide([*ledger, running], frozenset({2}), RULES, 3) == "wait"


def test_a_small_sweep_still_finishes_one():
    """Two trials never fill a quota of a third; the last call promotes the better one up to the end."""
    ledger = [trial(0, 5.0), trial(1, 4.0)]
    assert decide(ledger, frozenset(), RULES, 2) == Continue(ledger[1], 30)
    second = replace(ledger[1], rung=2, reports={10: {"fid": 4.0}, 30: {"fid": 3.0}})
    assert decide([ledger[0], second], frozenset(), RULES, 2) == Continue(second, 90)
    finished = replace(second, state="finished", rung=3)
    assert decide([ledger[0], finished], frozenset(), RULES, 2) == "done"


def test_the_last_call_goes_on_after_a_late_collapse():
    collapsed = trial(1, 4.0, "collapsed", rung=2, target=90)
    waiting = trial(0, 5.0)
    assert decide([waiting, collapsed], frozenset(), RULES, 2) == Continue(waiting, 30)


def test_without_rungs_every_trial_goes_to_the_end():
    rules = Rules([90], 2, keep=1, objective=RULES.objective)
    ended = replace(trial(0, 5.0), state="finished", rung=1)
    assert decide([ended], frozenset(), rules, 2) == "ask"
    assert decide([ended, replace(ended, id=1)], frozenset(), rules, 2) == "done"


def test_a_ladder_kept_up_is_the_one_made_anew():
    """Trials that come, wait, are promoted, end in any way and are reported again, in any order."""
    dice = random.Random(0)
    states = ["running", "waiting", "finished", "pruned", "stuck", "collapsed", "diverged", "crashed"]
    ladder, trials = Ladder(RULES), dict[int, Trial]()
    for _ in range(3_000):
        number, rung = dice.randrange(40), dice.randrange(4)
        reports = {images: {"fid": float(dice.randrange(5))} for images in (10, 30, 90)[:rung]}
        trials[number] = replace(
            trial(number, None, dice.choice(states), rung, dice.choice([10, 30, 90])), reports=reports
        )
        ladder.put(trials[number])
        running = [t.id for t in trials.values() if t.state == "running"]
        in_flight = frozenset(running if dice.random() < 0.8 else running[1:])
        may_ask = dice.random() < 0.5
        assert ladder.decide(in_flight, may_ask) == Ladder(RULES, trials.values()).decide(in_flight, may_ask)
