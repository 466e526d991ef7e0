"""After a collapse a training goes back to its last healthy state, with calmer settings, as often as it may."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainers.small import config, gan
from trainers.config import Config
from trainers.health import HealthMonitor
from trainers.loop import Run, train
from trainers.report import Health, Report, Verdict
from trainers.rewind import calmer
from trainers.state import load
from trainers.world import World

TWICE = {"health": {"rewind": 2}, "train": {"images": 960}}


@pytest.fixture
def verdicts(monkeypatch: pytest.MonkeyPatch) -> list[Verdict]:
    """What the monitor says, report after report of 160 images, each measured; to be filled by the test."""
    said: list[Verdict] = []

    def observe(self: HealthMonitor, images: int, *_: Any) -> Health:
        self._memory.judged_at = images
        return Health(said[images // 160 - 1], ("because",))

    monkeypatch.setattr(HealthMonitor, "observe", observe)
    return said


def test_settings_become_calmer_with_every_rewind() -> None:
    settings = config(train={"r1_gamma": 1.0, "gp_lambda": 2.0})
    assert calmer(settings, 0) == settings.train
    twice = calmer(settings, 2)
    assert twice.generator_lr == settings.train.generator_lr / 4
    assert twice.discriminator_lr == settings.train.discriminator_lr / 4
    assert (twice.r1_gamma, twice.r2_gamma, twice.gp_lambda) == (4.0, 0.0, 8.0)
    assert calmer(config(), 1).r1_gamma > 0, "where there was no penalty, there is one now"
    assert calmer(config(model={"discriminator_norm": "batch"}), 1).r1_gamma == 0


def test_a_collapse_goes_back_and_says_so(verdicts: list[Verdict], tmp_path: Path) -> None:
    verdicts += ["healthy", "suspect", "collapsed", "healthy", "healthy", "healthy"]
    reports = list(train(config(**TWICE), World.single(), out=tmp_path))
    assert [r.health.verdict for r in reports] == ["healthy", "suspect", "suspect", *["healthy"] * 3]
    assert [r.health.signals["rewinds"] for r in reports] == [0, 0, 1, 1, 1, 1]
    assert [r.images for r in reports] == [160, 320, 480, 640, 800, 960], "the clock does not go back"
    said = "because; collapsed; back to the state after 160 images, learning rates x 0.5, penalties x 2 (rewind 1 of 2)"
    assert "; ".join(reports[2].health.reasons) == said
    assert reports[2].metrics == reports[0].metrics, "measured on the network that it saves"
    healthy, rewound = (load(reports[i].checkpoint).tensors for i in (0, 2))  # type: ignore[arg-type]
    assert torch.equal(healthy["generator"]["layers.0.weight"], rewound["generator"]["layers.0.weight"])


def test_a_state_that_was_not_measured_is_no_place_to_go_back_to(
    verdicts: list[Verdict], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HealthMonitor, "measured", lambda self, images: images > 320)
    verdicts += ["healthy", "collapsed", "healthy", "healthy", "collapsed", "healthy"]
    reports = list(train(config(**TWICE), World.single()))
    assert "back to the state after 0 images" in reports[1].health.reasons[-1]
    assert "back to the state after 640 images" in reports[4].health.reasons[-1]


def test_when_no_rewind_is_left_the_verdict_stands(verdicts: list[Verdict]) -> None:
    verdicts += ["collapsed", "diverged", "collapsed"]
    settings = config(health={"rewind": 2, "stop": "collapsed"}, train={"images": 960})
    reports = list(train(settings, World.single()))
    assert [r.health.verdict for r in reports] == ["suspect", "suspect", "collapsed"]
    assert "back to the state after 0 images" in reports[0].health.reasons[-1]


def test_a_resumed_training_goes_back_to_the_same_state(verdicts: list[Verdict], tmp_path: Path) -> None:
    verdicts += ["healthy", "suspect", "collapsed", "suspect", "collapsed", "healthy"]
    whole = list(train(config(**TWICE), World.single(), out=tmp_path / "whole"))
    parts = _in_parts(config(**TWICE), tmp_path / "parts")
    for one, other in zip(whole, parts, strict=True):
        assert _timeless(one) == _timeless(other)
        for name, group in load(one.checkpoint).tensors.items():  # type: ignore[arg-type]
            for key, value in load(other.checkpoint).tensors[name].items():  # type: ignore[arg-type]
                assert torch.equal(value, group[key]), (name, key)


def test_a_broken_training_is_whole_again_after_a_rewind() -> None:
    run = Run(config(**TWICE), World.single())
    run.to_next_report()
    hook = next(gan(run).players.generator.parameters()).register_hook(lambda g: g * torch.nan)  # type: ignore[no-untyped-call]
    broken = run.to_next_report()
    hook.remove()
    assert "diverged; back to the state after 0 images" in broken.health.reasons[-1]
    assert all(p.isfinite().all() for p in run.training.parameters())
    after = run.to_next_report()
    assert after.health.verdict == "unjudged" and after.health.signals["nonfinite"] == 0
    assert all(p.isfinite().all() for p in run.training.parameters())


def _in_parts(settings: Config, out: Path) -> Iterator[Report]:
    """Report by report, each from the checkpoint of the one before."""
    resume = None
    while True:
        report = next(train(settings, World.single(), resume, out), None)
        if report is None:
            return
        resume = report.checkpoint
        yield report


def _timeless(report: Report) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(json.dumps(replace(report, seconds=0).as_dict()))
    return {name: value for name, value in told.items() if name != "checkpoint"}
