"""The verdict: what it must see, what it must not call a collapse, and that it survives a resume."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import pytest

from tests.trainers.small import gan
from trainers import config
from trainers.health import HealthMonitor
from trainers.loop import Run
from trainers.report import Health
from trainers.world import World

FINE = {"generator": 0.9, "discriminator": 1.1}
Measures = dict[str, float]
BATCH, BUDGET = 50, 100_000
LEARNED = {"generator_update_ratio": 0.01}
"""Twenty of its own norms every 100,000 images in batches of 50."""


def monitor(**train: float) -> HealthMonitor:
    settings = {"images": BUDGET, "batch_size": BATCH, "ema_half_life": 0} | train
    return HealthMonitor(config.Health(), config.Train.model_validate(settings))


def judge(
    course: Sequence[Measures], mine: HealthMonitor | None = None, every: int = 10_000, signals: Measures = LEARNED
) -> list[Health]:
    mine = mine or monitor()
    return [mine.observe((i + 1) * every, FINE, signals, metrics) for i, metrics in enumerate(course)]


def words(answers: Sequence[Health]) -> list[str]:
    return [health.verdict for health in answers]


def of(modes: float, misfit: float, coverage: float = 0.0, **more: float) -> Measures:
    return {"mode_diversity": modes, "misfit": misfit, "coverage": coverage, **more}


GOOD, POOR, NOTHING = of(0.95, 0.05, 0.6), of(0.1, 1.4), of(0.1, 1.0)


def test_a_good_training_is_unjudged_then_slow_then_healthy():
    course = [NOTHING, of(0.15, 0.9), of(0.3, 0.7), of(0.45, 0.5), of(0.8, 0.2), GOOD]
    answers = judge(course)
    assert words(answers) == ["unjudged", "slow", "slow", "slow", "healthy", "healthy"]
    assert answers[0].reasons[-1] == "1 evaluation is too few to compare"
    assert (
        answers[2]
        .reasons[0]
        .endswith("still learning: the distance to the data 0.9 -> 0.7, the number of modes 0.15 -> 0.3")
    )


def test_good_samples_need_no_history():
    assert words(judge([GOOD])) == ["healthy"]


def test_before_anything_is_measured_nothing_is_healthy():
    health = judge([{}])[0]
    assert (health.verdict, health.reasons) == ("unjudged", ("nothing has been measured yet",))


@pytest.mark.parametrize("every", [1_000, 5_000, 20_000])
def test_one_that_never_learns_is_called_once_it_has_moved_enough_however_often_it_is_looked_at(every: int):
    answers = judge([NOTHING] * (BUDGET // every), every=every, signals={"generator_update_ratio": 0.02})
    called = next(i for i, health in enumerate(answers) if health.verdict in ("collapsed", "stuck"))
    assert (called + 1) * every <= max(0.4 * BUDGET, 3 * every)
    assert all(health.verdict in ("unjudged", "suspect") for health in answers[:called])


def test_the_slower_the_weights_the_longer_it_is_waited():
    flat = [of(0.1, 1.0 + 0.02 * i) for i in range(20)]
    fast = words(judge(flat, every=5_000, signals={"generator_update_ratio": 0.02}))
    slow = words(judge(flat, every=5_000, signals={"generator_update_ratio": 0.0025}))
    hardly = words(judge(flat, every=5_000, signals={"generator_update_ratio": 0.0005}))
    assert fast.index("suspect") < slow.index("suspect")
    assert slow.index("suspect") == 9, "half of the budget"
    assert set(hardly) == {"unjudged"}, "it has moved by no more than its norm at the end: nobody can say"


@pytest.mark.parametrize(("pace", "noise"), [(0.05, 0.0), (0.3, 0.0), (0.4, 0.04)])
def test_a_slow_learner_is_never_ended(pace: float, noise: float):
    """Its distance falls like a power of the images, from any start, without a mode for most of the way."""
    course = [of(0.1 if i < 35 else 0.6, 3.0 * (i + 1) ** -pace * (1 - noise) ** (i % 3)) for i in range(40)]
    said = set(words(judge(course, every=2_500, signals={"generator_update_ratio": 0.002})))
    assert not said & {"stuck", "collapsed"}


def test_a_late_collapse_is_suspected_then_called_and_ends_with_recovery():
    answers = judge([GOOD, GOOD, GOOD, of(0.1, 1.3), of(0.1, 1.3), GOOD, GOOD])
    assert words(answers) == ["healthy", "healthy", "healthy", "suspect", "collapsed", "suspect", "healthy"]
    assert answers[4].reasons == (
        "coverage fell from 0.6 to 0",
        "the number of modes fell from 0.95 to 0.1 of the real data's",
        "the distance to the data rose from 0.05 to 1.3 times that of a single average example",
    )
    assert answers[5].reasons == ("it was collapsed, and now no measure is bad",)


def test_what_is_said_of_one_evaluation_must_still_be_so_after_a_while():
    lost = of(0.1, 1.3)
    often = judge([GOOD] * 50 + [lost] * 6, every=1_000)
    assert words(often)[50:] == ["suspect"] * 5 + ["collapsed"], "8 % of the way"
    assert words(judge([GOOD, GOOD, lost, GOOD, lost]))[2:] == ["suspect", "healthy", "suspect"]


def test_before_half_of_the_budget_only_one_that_hardly_changes_is_called():
    changing, resting = ([of(0.1, rise**i) for i in range(20)] for rise in (1.1, 1.0))
    changes, rests = (words(judge(course, every=5_000)) for course in (changing, resting))
    assert set(changes[:9]) == {"unjudged"} and changes[10] == "collapsed"
    assert rests.index("stuck") < 9


def test_what_was_hardly_good_once_was_never_had():
    barely, worse = of(0.55, 0.4), of(0.3, 0.4)
    assert not {"stuck", "collapsed"} & set(words(judge([barely, barely, worse, worse, barely, worse, worse])))


def test_one_that_swings_wide_and_keeps_its_modes_has_lost_nothing():
    """Two arcs at a misfit of .96 with twice the data's diversity: a tenth of the budget later they lay on the data."""
    wide = of(0.7, 0.96, 0.2, diversity=2.0)
    assert not {"stuck", "collapsed"} & set(words(judge([GOOD, GOOD, wide, wide, wide, GOOD])))
    assert words(judge([of(0.7, 0.05), of(0.7, 0.05), *[of(0.7, 0.96, 0.2, diversity=0.3)] * 2]))[-1] == "collapsed"


def test_an_average_that_lags_is_no_collapse():
    lagging = [of(0.1, 1.2, raw_mode_diversity=0.9, raw_misfit=0.1)] * 8
    answers = judge(lagging, monitor(ema_half_life=100_000, ema_ramp=0))
    assert set(words(answers)) == {"slow"}
    assert answers[-1].reasons == (
        "the averaged generator lags behind the plain one, which keeps 0.9 of the modes: it still holds 57% of its "
        "first weights",
    )


def test_an_average_of_first_weights_is_no_evidence():
    poor = [of(0.1, 1.2, raw_mode_diversity=0.1, raw_misfit=1.2)] * 8
    answers = judge(poor, monitor(ema_half_life=100_000, ema_ramp=0))
    assert set(words(answers)) == {"unjudged"}
    assert answers[-1].reasons[-1] == "the average still holds 57% of its first weights"


def test_few_bins_are_filled_by_a_good_generator_of_pictures_that_vary_in_many_ways():
    assert set(words(judge([of(0.3, 0.06, 0.3)] * 8))) == {"healthy"}
    answers = judge([of(0.3, 0.06, 0.05)] * 9)
    assert words(answers)[-1] == "suspect", "covering so little, it may have lost them"
    assert answers[-1].reasons[-1] == "it lies too near to the data for a certain verdict"
    assert set(words(judge([GOOD, GOOD, *[of(0.3, 0.15, 0.4)] * 6]))) == {"healthy", "unjudged", "suspect"}


def test_contrast_that_is_too_strong_looks_far_off_and_is_never_ended():
    """All letters in all colours, misfit 1.2, a quarter of the bins: diversity is what tells it from one picture."""
    answers = judge([of(0.25, 1.2, diversity=1.0)] * 10)
    assert words(answers)[-1] == "suspect"
    assert answers[-1].reasons[-1] == "it varies too much for a certain verdict: 1 of the real data's diversity"
    assert words(judge([of(0.25, 1.2, diversity=0.1)] * 10))[-1] == "stuck"
    assert words(judge([of(0.25, 9.0, diversity=1.0)] * 10))[-1] == "stuck", "so far off, noise is diverse too"


def test_a_condition_that_gives_one_picture_is_called_however_well_all_others_do():
    """As AC-GAN's do: every measure of all conditions together stays as it was."""
    kept, lost = ({**GOOD, "condition_diversity": spread} for spread in (0.8, 0.05))
    answers = judge([kept, kept, lost, lost])
    assert words(answers) == ["healthy", "healthy", "suspect", "collapsed"]
    assert answers[-1].reasons == ("the spread within one condition fell from 0.8 to 0.05 of the real data's",)
    gaining = [{**lost, "misfit": 0.2 * 0.9**i} for i in range(10)]
    assert words(judge(gaining))[-1] == "collapsed", "never had, and what the others gain is no gain of this one"
    assert set(words(judge([{**lost, "raw_condition_diversity": 0.8, "raw_misfit": 0.1}] * 10))) == {"slow"}


def test_a_condition_that_learns_to_vary_slowly_is_waited_for():
    course = [{**GOOD, "condition_diversity": 0.02 * 1.2**i} for i in range(20)]
    said = words(judge(course, every=5_000))
    assert not {"stuck", "collapsed", "suspect"} & set(said) and said[-1] == "healthy"


def test_a_mode_more_by_chance_is_no_gain_far_from_the_data():
    course = [of(0.044 * 1.15**i, 1.3 + 0.02 * i, diversity=0.1 + 0.01 * i) for i in range(10)]
    assert "collapsed" in words(judge(course))
    assert "collapsed" not in words(judge([of(0.044 + 0.002 * i, 1.3 * 0.93**i) for i in range(10)])), "it comes nearer"


def test_what_never_learned_is_said_at_the_end_of_the_budget_without_a_second_evaluation():
    course = [of(0.1, 2.0 - 0.3 * i) for i in range(4)] + [of(0.1, 2.0)]
    answers = judge(course, every=20_000, signals={"generator_update_ratio": 0.005})
    assert words(answers) == ["unjudged", "slow", "slow", "slow", "collapsed"]
    assert words(judge([GOOD] * 4 + [POOR], every=20_000))[-1] == "suspect", "a loss may be one bad moment"


def test_noise_that_comes_no_nearer_than_one_average_picture_is_a_failure_though_it_is_diverse():
    course = [of(8.0, 900 / (i + 1)) for i in range(10)]
    assert "collapsed" in words(judge(course, signals={"generator_update_ratio": 0.05}))


@pytest.mark.parametrize(
    ("losses", "signals", "reason"),
    [
        ({"generator": math.nan, "discriminator": 1.0}, {}, "the generator loss is nan"),
        ({"generator": 1.0, "discriminator": math.inf}, {}, "the discriminator loss is inf"),
        (
            FINE,
            {"nonfinite": 3.0},
            "a loss, gradient or weight was NaN or infinite, in at least 3 of the steps that were looked at",
        ),
    ],
)
def test_divergence_needs_no_measures_and_is_final(losses: Measures, signals: Measures, reason: str):
    mine = monitor()
    health = mine.observe(1000, losses, signals, {})
    assert (health.verdict, health.reasons) == ("diverged", (reason,))
    assert judge([GOOD], mine)[0].verdict == "diverged"


def test_coverage_that_never_was_good_cannot_fall():
    assert set(words(judge([of(1.0, 0.1, 0.08), of(1.0, 0.1, 0.01), of(1.0, 0.1, 0.01)]))) == {"healthy"}


def test_a_training_where_nothing_gains_and_the_reason_shows_is_stuck():
    mine = monitor()
    strong = {"generator": 9.0, "discriminator": 0.001}
    answers = [mine.observe(i * 10_000, strong, {"generator_update_ratio": 0.02}, POOR) for i in range(1, 6)]
    assert words(answers)[-1] == "stuck"
    assert answers[-1].reasons[1:] == (
        "the discriminator's loss has been under 0.01 for 40000 images: it is too strong",
        "what it makes has not moved over the last half of the way",
    )
    health = mine.observe(60_000, FINE, {"generator_update_ratio": 0.3}, POOR)
    assert "the generator moves by 30.0% of its weights in one step: its learning rate is too high" in health.reasons


def test_symptoms_alone_accuse_nobody():
    mine = monitor()
    signs = {"generator_gradient_norm": 1e9, "discriminator_update_ratio": 0.5}
    health = [mine.observe(i * 20_000, {"discriminator": 0.0}, signs, GOOD) for i in range(1, 5)]
    assert {(h.verdict, h.reasons) for h in health} == {("healthy", ())}


def test_missing_measures_accuse_nobody_and_heal_nobody():
    mine = monitor()
    assert words(judge([GOOD, GOOD, POOR, POOR], mine))[-1] == "collapsed"
    for metrics in ({}, {"misfit": math.nan}, {"fid": 1.0}):
        health = mine.observe(80_000, FINE, {}, metrics)
        assert health.verdict == "collapsed" and health.reasons[0].startswith("coverage fell")
        assert not mine.measured(80_000), "nor is it a state to go back to"


@pytest.mark.parametrize("evaluations", [7, 500])
def test_a_resumed_training_is_judged_as_if_it_had_never_stopped(evaluations: int):
    course = [of(0.1 + 0.3 * math.sin(i) ** 2, 1.2 - 0.1 * math.cos(i)) for i in range(evaluations)]
    every = BUDGET // evaluations
    through, stopped = judge(course, every=every), monitor()
    answers = []
    for i, metrics in enumerate(course):
        state = json.loads(json.dumps(stopped.state_dict()))
        stopped = monitor()
        stopped.load_state_dict(state)
        answers.append(stopped.observe((i + 1) * every, FINE, LEARNED, metrics))
        assert len(stopped.state_dict()["course"]["points"]) <= 128
    assert answers == through


def test_a_checkpoint_of_the_verdict_before_is_gone_on_from():
    old = {"verdict": "suspect", "reasons": ["x"], "undone": 0, "judged_at": 9, "bad_in_a_row": 1, "stale": 0}
    old |= {"gained_at": None, "last": {}, "best": {"misfit": 0.1}, "certain_since": None, "norms": {}}
    mine = monitor()
    mine.load_state_dict(old)
    assert mine.observe(50_000, FINE, LEARNED, {}).verdict == "suspect"
    assert mine.observe(60_000, FINE, LEARNED, GOOD).verdict == "healthy"


def test_after_a_rewind_the_generator_is_as_young_as_it_was():
    mine = monitor()
    start = json.loads(json.dumps(mine.state_dict()))
    fast = {"generator_update_ratio": 0.05}
    first = words([mine.observe(i * 10_000, FINE, fast, POOR) for i in (1, 2, 3)])
    assert first == ["unjudged", "suspect", "stuck"]
    mine.go_back(start, 0, 30_000)
    assert words([mine.observe(30_000 + i * 10_000, FINE, fast, POOR) for i in (1, 2, 3)]) == first
    assert start == json.loads(json.dumps(monitor().state_dict())), "what it goes back to stays as it was"


def test_a_gradient_that_is_not_finite_is_noticed_within_fifty_steps():
    """Without an evaluation: a long way from the next report, and even where nothing stops the training."""
    settings = config.Config.model_validate(
        {
            "data": {"name": "ring"},
            "model": {"generator": "mlp", "discriminator": "mlp", "latent_dim": 2, "width": 8},
            "train": {"images": 16 * 200, "batch_size": 16},
            "evaluate": {"every_images": 16 * 200, "samples": 50},
            "health": {"stop": "never"},
        }
    )
    run = Run(settings, World.single())
    for _ in range(20):
        run.training.step()
    next(gan(run).players.generator.parameters()).register_hook(lambda g: g * math.nan)  # type: ignore[no-untyped-call]
    report = run.to_next_report()
    assert (report.health.verdict, report.metrics) == ("diverged", {})
    assert 20 < report.images / 16 <= 70
    assert run.to_next_report().images == 16 * 200
