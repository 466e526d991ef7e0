"""What a generator is worth as augmentation: the classifier, the gain over jitter, and the measures of a training."""

from __future__ import annotations

import math

import pytest
import torch

from tests.trainers.small import config
from trainers.data import Examples, load
from trainers.data.digits import split_digits
from trainers.errors import UnusableSettingError
from trainers.metrics import classifier
from trainers.metrics.classifier import jittered, right, taught
from trainers.metrics.evaluator import Evaluator
from trainers.metrics.gain import BASE, BEST, MIXES, Interval, accuracy, gain
from trainers.randomness import stream
from trainers.world import World

TRAIN, TEST = split_digits()


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier, "STEPS", 60)


def of(examples: Examples, count: int) -> Examples:
    return examples[torch.arange(count)]


def test_a_classifier_reads_digits_and_is_the_same_each_time() -> None:
    nets = [taught([TRAIN], 10, seed=3, jitter=True) for _ in range(2)]
    assert float(right(nets[0], TEST).float().mean()) > 0.7
    assert all(one.equal(other) for one, other in zip(*(net.parameters() for net in nets), strict=True))


def test_jitter_keeps_the_picture_nearly_in_place() -> None:
    pictures = TRAIN.values[:64]
    moved = jittered(pictures, stream("jitter"))
    assert moved.shape == pictures.shape and not moved.equal(pictures)
    assert float((moved - pictures).square().mean()) < float((pictures.roll(1, 0) - pictures).square().mean())


def test_samples_that_are_fresh_data_gain_and_wrongly_labelled_ones_cost() -> None:
    real, fresh = of(TRAIN, 30), TRAIN[torch.arange(200, 1200)]
    assert fresh.labels is not None
    found = gain(real, fresh, TEST, seeds=range(2))
    assert set(found.accuracies) == set(MIXES) and found.interval.low > 0
    assert found.interval.mean == pytest.approx(
        sum(found.accuracies[BEST]) / 2 - sum(found.accuracies[BASE]) / 2, abs=1e-9
    )
    assert found.worst_class < found.interval.mean
    wrong = Examples(fresh.values, (fresh.labels + 1) % 10)
    best, base = (accuracy(MIXES[mix], TRAIN, wrong, TEST, seed=0).float().mean() for mix in (BEST, BASE))
    assert best < base


def test_an_interval_promises_what_it_holds() -> None:
    # Student's t with 4 degrees of freedom: 2.776 standard errors.
    found = Interval.of([0.01, 0.02, 0.03, 0.04, 0.05])
    assert found.high - found.mean == pytest.approx(2.776 * 0.0158114 / math.sqrt(5), rel=1e-3)
    assert found.told.startswith("the samples gain")
    assert Interval.of([-0.01, 0.02]).told.startswith("no gain")
    assert Interval.of([-0.01, -0.011]).told.startswith("the samples do worse")


@pytest.mark.parametrize("metric", ["cas", "gain"])
def test_a_training_is_told_what_its_samples_teach(metric: str) -> None:
    settings = config(model={"conditional": True}, evaluate={"metrics": (metric,), "samples": 256})
    data = load(settings.data)
    assert TRAIN.labels is not None
    by_class = {k: data.train[torch.where(TRAIN.labels == k)[0]].floats() for k in range(10)}

    def perfect(latents: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return torch.stack([by_class[int(k)][i % 100] for i, k in enumerate(labels)])

    judge = Evaluator(settings, data, World.single())
    told = judge(perfect)
    assert not judge.failures
    assert told["cas"] > 0.7 and abs(told["gain"]) < 0.1
    deaf = judge(lambda latents, labels: perfect(latents, (labels + latents[:, 0].abs().mul(1e4).long()) % 10))
    assert deaf["cas"] < told["cas"] - 0.3


def test_without_classes_the_measure_is_missing_with_the_reason() -> None:
    settings = config(evaluate={"metrics": ("cas",)})
    judge = Evaluator(settings, load(settings.data), World.single())
    assert "cas" not in judge(lambda latents: torch.zeros(len(latents), 1, 8, 8))
    assert any("known classes" in failure for failure in judge.failures)


def test_few_examples_of_each_class_are_always_the_same() -> None:
    settings = config(data={"name": "digits", "per_class": 10}).data
    data = load(settings)
    assert isinstance(data.train, Examples) and data.train.label_counts is not None
    assert data.train.label_counts.tolist() == [10] * 10 and len(data.test) == len(TEST)
    assert data.fingerprint != load(config().data).fingerprint
    assert any("100 of 1,437" in note for note in data.notes)
    with pytest.raises(UnusableSettingError, match="per_class"):
        load(config(data={"name": "ring", "per_class": 10}).data)
