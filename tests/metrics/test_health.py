"""The verdict: what it must see, what it must not call a collapse, and that it survives a resume."""

from __future__ import annotations

import json
import math

import pytest

from trainers import config
from trainers.health import HealthMonitor
from trainers.loop import Run
from trainers.report import Health
from trainers.world import World

FINE = {"generator": 0.9, "discriminator": 1.1}


def judge(
    *diversity_and_coverage: tuple[float, float], monitor: HealthMonitor | None = None, resume: bool = False
) -> list[Health]:
    monitor = monitor or HealthMonitor(config.Health())
    answers = []
    for i, (diversity, coverage) in enumerate(diversity_and_coverage):
        if resume:
            state = json.loads(json.dumps(monitor.state_dict()))
            monitor = HealthMonitor(config.Health())
            monitor.load_state_dict(state)
        answers.append(monitor.observe((i + 1) * 10_000, FINE, {}, {"diversity": diversity, "coverage": coverage}))
    return answers


# Measured on the first reports of trainings that went well, every 10,000 images.
DIGITS = [(0.15, 0.00), (0.40, 0.02), (0.84, 0.07), (1.12, 0.09), (1.23, 0.09), (1.27, 0.11)]
RING = [(0.24, 0.00), (0.65, 0.01), (1.03, 0.01), (1.10, 0.04), (1.09, 0.14), (1.07, 0.27)]


@pytest.mark.parametrize("course", [DIGITS, RING, [(0.02, 0), (0.05, 0), (0.1, 0), (0.19, 0), (0.3, 0), (0.6, 0.1)]])
def test_the_early_phase_of_a_good_training_is_healthy(course: list[tuple[float, float]]):
    assert {health.verdict for health in judge(*course)} == {"healthy"}


@pytest.mark.parametrize("resume", [False, True])
def test_a_late_collapse_is_suspected_then_called_and_ends_with_recovery(resume: bool):
    course = [(0.9, 0.5), (1.0, 0.6), (0.9, 0.05), (0.9, 0.05), (0.95, 0.55), (0.95, 0.55)]
    answers = judge(*course, resume=resume)
    verdicts = ["healthy", "healthy", "suspect", "collapsed", "suspect", "healthy"]
    assert [health.verdict for health in answers] == verdicts
    assert answers[3].reasons == ("coverage fell from 0.6 to 0.05",)
    assert answers[4].reasons == ("it had collapsed, and now no measure is bad",)


def test_a_generator_that_never_learns_to_vary():
    answers = judge((0.02, 0), (0.13, 0), (0.13, 0), (0.13, 0))
    assert [health.verdict for health in answers] == ["healthy", "healthy", "suspect", "collapsed"]
    assert answers[3].reasons == ("diversity is 0.13 of the real data's and does not grow (0.13 before)",)


def test_a_generator_is_given_time_to_leave_its_starting_point():
    monitor = HealthMonitor(config.Health())
    still = {"diversity": 0.01, "misfit": 3.0}
    assert {monitor.observe(i * 1000, FINE, {}, still).verdict for i in range(1, 30)} == {"healthy"}


def test_noise_that_comes_no_nearer_is_a_failure_though_it_is_diverse():
    monitor = HealthMonitor(config.Health())
    misfits = [900.0, 500.0, 400.0, 395.0, 390.0]
    answers = [
        monitor.observe((i + 1) * 20_000, FINE, {}, {"diversity": 8.0, "misfit": m}) for i, m in enumerate(misfits)
    ]
    assert [health.verdict for health in answers] == ["healthy", "healthy", "healthy", "suspect", "collapsed"]
    assert answers[4].reasons == (
        "it is 3.9e+02 times as far from the data as one average picture (4e+02 times before)",
    )


def test_a_run_that_flies_apart_after_a_good_phase():
    monitor = HealthMonitor(config.Health())
    answers = [
        monitor.observe((i + 1) * 20_000, FINE, {}, {"misfit": m}) for i, m in enumerate([0.2, 0.001, 0.1, 0.4, 0.5])
    ]
    assert [health.verdict for health in answers] == ["healthy", "healthy", "healthy", "suspect", "collapsed"]
    assert answers[4].reasons == ("the distance to the data rose from 0.001 to 0.5 of what one average picture has",)


def test_a_run_that_stays_far_from_the_data_has_stalled():
    monitor = HealthMonitor(config.Health())
    course = [0.6, 0.45, 0.44, 0.46, 0.45, 0.45, 0.44, 0.2, 0.2]
    answers = [
        monitor.observe((i + 4) * 10_000, FINE, {}, {"misfit": m, "diversity": 1.2}) for i, m in enumerate(course)
    ]
    assert [health.verdict for health in answers] == ["healthy"] * 5 + ["suspect", "collapsed", "suspect", "healthy"]
    assert answers[6].reasons == (
        "the distance to the data is 0.44 of what one average picture has, no gain in 5 evaluations",
    )


def test_one_bad_evaluation_is_not_a_collapse():
    answers = judge((1.0, 0.6), (1.0, 0.6), (0.9, 0.1), (1.0, 0.5), (0.9, 0.1))
    assert [health.verdict for health in answers] == ["healthy", "healthy", "suspect", "healthy", "suspect"]


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
def test_divergence_needs_no_measures_and_is_final(losses: dict[str, float], signals: dict[str, float], reason: str):
    monitor = HealthMonitor(config.Health())
    health = monitor.observe(1000, losses, signals, {})
    assert (health.verdict, health.reasons) == ("diverged", (reason,))
    assert judge((1.0, 0.9), monitor=monitor, resume=True)[0].verdict == "diverged"


def test_coverage_that_never_was_good_cannot_fall():
    assert {health.verdict for health in judge((1.0, 0.08), (1.0, 0.01), (1.0, 0.01))} == {"healthy"}


def test_a_suspicion_is_explained_by_losses_gradients_and_steps():
    monitor = HealthMonitor(config.Health())
    usual = {"generator_gradient_norm": 1.0, "generator_update_ratio": 0.002}
    strong = {"generator": 9.0, "discriminator": 0.001}
    monitor.observe(20_000, FINE, usual, {"diversity": 0.9})
    monitor.observe(40_000, FINE, usual, {"diversity": 0.9})
    monitor.observe(60_000, strong, usual, {"diversity": 0.9})
    state = json.loads(json.dumps(monitor.state_dict()))
    monitor = HealthMonitor(config.Health())
    monitor.load_state_dict(state)
    health = monitor.observe(80_000, strong, {"generator_gradient_norm": 0.001}, {"diversity": 0.1})
    assert health.verdict == "suspect"
    assert health.reasons[1:] == (
        "the discriminator's loss has been under 0.01 for 20000 images: it is too strong",
        "the generator's gradient norm is 0.001, where 1 is usual",
    )
    health = monitor.observe(100_000, FINE, {"generator_update_ratio": 0.3}, {"diversity": 0.1})
    assert health.reasons[1:] == (
        "the generator moves by 30.0% of its weights in one step: its learning rate is too high",
    )


def test_after_a_rewind_the_generator_is_as_young_as_it_was():
    monitor = HealthMonitor(config.Health())
    start = monitor.state_dict()
    poor = {"diversity": 0.1}
    assert [monitor.observe(i * 20_000, FINE, {}, poor).verdict for i in (1, 2, 3)] == [
        "healthy",
        "suspect",
        "collapsed",
    ]
    monitor.go_back(start, 0, 60_000)
    again = [monitor.observe(60_000 + i * 20_000, FINE, {}, poor).verdict for i in (1, 2, 3)]
    assert again == ["healthy", "suspect", "collapsed"]
    assert start == HealthMonitor(config.Health()).state_dict(), "what it goes back to stays as it was"
    monitor.go_back(start, 0, 120_000)
    for images in (140_000, 150_000):
        monitor.observe(images, FINE, {}, {"diversity": 0.9})
        assert monitor.knows(images) == (images == 150_000)
    at_150 = monitor.state_dict()
    monitor.go_back(at_150, 150_000, 200_000)
    monitor.observe(205_000, FINE, {}, {"diversity": 0.9})
    assert monitor.knows(205_000), "its 30,000 images are not lost"


def test_symptoms_alone_accuse_nobody():
    monitor = HealthMonitor(config.Health())
    signs = {"generator_gradient_norm": 1e9, "discriminator_update_ratio": 0.5}
    health = [monitor.observe(i * 50_000, {"discriminator": 0.0}, signs, {"diversity": 0.9}) for i in range(4)]
    assert {(h.verdict, h.reasons) for h in health} == {("healthy", ())}


def test_missing_measures_accuse_nobody_and_heal_nobody():
    monitor = HealthMonitor(config.Health())
    assert [monitor.observe(i, FINE, {}, {}).verdict for i in range(3)] == ["healthy"] * 3
    assert judge((0.9, 0.6), (0.9, 0.6), (0.1, 0.01), (0.1, 0.01), monitor=monitor)[-1].verdict == "collapsed"
    for metrics in ({}, {"diversity": math.nan}, {"fid": 1.0}):
        health = monitor.observe(80_000, FINE, {}, metrics)
        assert health.verdict == "collapsed" and health.reasons[0].startswith("coverage fell")
        assert not monitor.knows(80_000), "nor is it a state to go back to"


def test_how_often_a_training_is_looked_at_does_not_decide_the_verdict():
    """A slow start that is healthy at every 10,000 images; at every 1,000, no step is growth enough."""
    monitor = HealthMonitor(config.Health())
    verdicts = {
        monitor.observe(images, FINE, {}, {"diversity": 0.03 * 1.4 ** (images / 10_000)}).verdict
        for images in range(1_000, 90_000, 1_000)
    }
    assert verdicts == {"healthy"}


def test_a_measure_that_was_not_a_number_once_is_no_record():
    answers = judge((1.0, 0.6), (1.0, math.nan), (1.0, 0.02), (1.0, 0.02))
    assert answers[-1].verdict == "collapsed"


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
    next(run.training.players.generator.parameters()).register_hook(lambda g: g * math.nan)  # type: ignore[no-untyped-call]
    report = run.to_next_report()
    assert (report.health.verdict, report.metrics) == ("diverged", {})
    assert 20 < report.images / 16 <= 70
    assert run.to_next_report().images == 16 * 200
