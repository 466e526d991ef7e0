"""Extractors: the same weights everywhere, and features that tell good pictures from bad ones."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import boto3
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from tests.conftest import S3
from trainers.config import Data, Evaluate
from trainers.data import Dataset, Examples, Space, load
from trainers.data.digits import split_digits
from trainers.errors import UnusableSettingError
from trainers.metrics import digits_cnn
from trainers.metrics.digits_cnn import DigitsCNN, load_digits_cnn, train_digits_cnn
from trainers.metrics.extractors import EXTRACTORS, Extractor, RandomConv, build
from trainers.metrics.frechet import frechet_distance
from trainers.randomness import normal
from trainers.world import World

CPU = torch.device("cpu")


def test_the_help_of_the_setting_names_every_extractor() -> None:
    meaning = Evaluate.model_fields["extractor"].description or ""
    assert f"auto (chosen by the data set), {', '.join(EXTRACTORS)}, or torchscript:FILE" in meaning


class Digits(NamedTuple):
    train: Examples
    test: Examples


@pytest.fixture(scope="module")
def digits() -> Digits:
    return Digits(*split_digits())


@pytest.fixture(scope="module")
def trained(digits: Digits) -> DigitsCNN:
    assert digits.train.labels is not None
    return train_digits_cnn(digits.train.values, digits.train.labels)


def test_the_digits_network_reads_digits_it_has_not_seen(digits: Digits, trained: DigitsCNN):
    assert digits.test.labels is not None
    right = trained.classify(trained(digits.test.values)) == digits.test.labels
    assert float(right.double().mean()) > 0.97


def test_stacked_digits_are_read_channel_by_channel(digits: Digits, trained: DigitsCNN):
    stacked = digits.test.values[:300].reshape(100, 3, 8, 8)
    features = trained(stacked)
    assert features.shape == (100, 3 * 64)
    singly = trained.classify(trained(digits.test.values[:300])).reshape(100, 3)
    assert torch.equal(trained.classify(features), singly @ torch.tensor([100, 10, 1]))


def test_training_is_deterministic_and_leaves_the_random_state_alone(digits: Digits, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(digits_cnn, "EPOCHS", 1)
    labels, before, threads = digits.train.labels, torch.get_rng_state(), torch.get_num_threads()
    assert labels is not None
    first = Extractor("cnn", train_digits_cnn(digits.train.values, labels), CPU)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    torch.rand(1)  # whatever was drawn before must not matter
    assert Extractor("cnn", train_digits_cnn(digits.train.values, labels), CPU).id == first.id


def test_the_cache_is_read_and_only_the_first_writes_it(
    digits: Digits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("GANSWEEP_CACHE", str(tmp_path))
    monkeypatch.setattr(digits_cnn, "EPOCHS", 1)
    labels = digits.train.labels
    assert labels is not None

    def others_find_it() -> None:
        assert len(list(tmp_path.iterdir())) == 1

    load_digits_cnn(digits.train.values, labels, first=True, wait=others_find_it)
    monkeypatch.setattr(digits_cnn, "train_digits_cnn", lambda *_: pytest.fail("trained although it is cached"))
    load_digits_cnn(digits.train.values, labels, first=False, wait=lambda: None)


def test_other_digits_are_another_network(digits: Digits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GANSWEEP_CACHE", str(tmp_path))
    monkeypatch.setattr(digits_cnn, "EPOCHS", 1)
    labels = digits.train.labels
    assert labels is not None
    some = digits.train.values[:100]
    load_digits_cnn(some, labels[:100], first=True, wait=lambda: None)
    load_digits_cnn(some.flip(-1), labels[:100], first=True, wait=lambda: None)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("size", [8, 17, 32, 100])
def test_random_convolutions_take_images_of_any_size(size: int):
    extractor = Extractor("random-conv", RandomConv(3), CPU)
    features = extractor(normal((4, 3, size, size), "pictures"))
    assert features.shape[0] == 4
    assert bool(features.isfinite().all())
    assert extractor.id == Extractor("random-conv", RandomConv(3), CPU).id != Extractor("x", RandomConv(1), CPU).id


@pytest.mark.parametrize(
    "worse",
    [
        lambda x, step: x + 0.15 * step * normal(tuple(x.shape), "noise"),
        lambda x, step: F.avg_pool2d(x, 3 + 2 * step, 1, 1 + step, count_include_pad=False),
        lambda x, step: x[:: 4**step].repeat_interleave(4**step, 0)[: len(x)],  # ever fewer different pictures
    ],
    ids=["noise", "blur", "few"],
)
def test_random_convolutions_order_what_gets_worse(digits: Digits, worse: Callable[[Tensor, int], Tensor]):
    pictures = F.interpolate(digits.train.values[:500], (16, 16), mode="bilinear")
    real, kept = pictures[:250], pictures[250:]
    extractor = Extractor("random-conv", RandomConv(1), CPU)
    course = [frechet_distance(extractor(real), extractor(worse(kept, step))) for step in (1, 2, 3)]
    assert frechet_distance(extractor(real), extractor(kept)) < course[0] < course[1] < course[2]


def test_auto_looks_at_the_data():
    nothing = Examples(torch.zeros(2, 3, 16, 16))
    pictures = Dataset("images", Space((3, 16, 16)), nothing, nothing)
    assert build(Evaluate(), load(Data(name="ring")), World.single()).id.startswith("raw@")
    assert build(Evaluate(), pictures, World.single()).id.startswith("random-conv@")


DIGITS = load(Data(name="digits"))


class Means(torch.nn.Module):
    def forward(self, images: Tensor, return_features: bool = False) -> Tensor:
        assert images.dtype == torch.uint8
        return images.float().mean((2, 3)) if return_features else images.float()


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "means.pt"
    torch.jit.script(Means()).save(path)  # type: ignore[no-untyped-call]
    return path


def test_a_torchscript_file_gives_features_under_its_own_hash(script: Path, digits: Digits):
    digest = hashlib.sha256(script.read_bytes()).hexdigest()
    settings = Evaluate(extractor=f"torchscript:{script}", extractor_sha256=digest, resize=16)
    extractor = build(settings, load(Data(name="digits")), World.single())
    assert extractor.id == f"means.pt@{digest[:12]}"
    pictures = [Image.fromarray(digit[0].numpy()) for digit in ((digits.test.values + 1) * 127.5).round().byte()]
    resized = [np.asarray(picture.resize((16, 16), Image.Resampling.BICUBIC)).mean() for picture in pictures]
    assert np.allclose(extractor(digits.test.values)[:, 1], resized, atol=0.1)


def test_a_torchscript_file_that_was_not_promised_is_not_loaded(script: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.jit, "load", lambda *_, **__: pytest.fail("its code has run"))
    settings = Evaluate(extractor=f"torchscript:{script}", extractor_sha256="0" * 64)
    with pytest.raises(UnusableSettingError, match=r"means\.pt has [0-9a-f]{64}, the settings say 0000"):
        build(settings, load(Data(name="digits")), World.single())


@pytest.mark.s3
def test_a_torchscript_file_may_lie_in_object_storage(script: Path, s3: S3, digits: Digits):
    boto3.Session().client("s3").upload_file(str(script), s3.bucket, "nets/means.pt")
    digest = hashlib.sha256(script.read_bytes()).hexdigest()
    here, there = (
        build(Evaluate(extractor=f"torchscript:{place}", extractor_sha256=digest), DIGITS, World.single())
        for place in (script, f"{s3.url}/nets/means.pt")
    )
    assert here.id == there.id
    assert torch.equal(here(digits.test.values), there(digits.test.values))


@pytest.mark.parametrize("place", ["nowhere/means.pt", "s3://no-such-bucket/means.pt"])
def test_a_file_that_cannot_be_read_is_named(place: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    settings = Evaluate(extractor=f"torchscript:{place}", extractor_sha256="0" * 64)
    with pytest.raises(UnusableSettingError, match=f"{place} cannot be read"):
        build(settings, DIGITS, World.single())


def test_a_file_that_is_no_torchscript_is_refused(tmp_path: Path):
    path = tmp_path / "text.pt"
    path.write_text("no network")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(UnusableSettingError, match=r"text\.pt is no TorchScript file"):
        build(Evaluate(extractor=f"torchscript:{path}", extractor_sha256=digest), DIGITS, World.single())


def test_a_torchscript_file_of_another_shape_is_refused(tmp_path: Path):
    path = tmp_path / "same.pt"
    torch.jit.script(torch.nn.Identity()).save(path)  # type: ignore[no-untyped-call]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    settings = Evaluate(extractor=f"torchscript:{path}", extractor_sha256=digest)
    with pytest.raises(
        UnusableSettingError, match=r"same\.pt gave \(2, 3, 8, 8\) for 2 images; expected \(2, features\)"
    ):
        build(settings, load(Data(name="digits")), World.single())


class Pair(torch.nn.Module):
    """Two answers where one is asked for."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


def test_a_torchscript_file_that_answers_oddly_is_refused(tmp_path: Path):
    path = tmp_path / "pair.pt"
    torch.jit.script(Pair()).save(path)  # type: ignore[no-untyped-call]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(UnusableSettingError, match=r"pair\.pt is no TorchScript file, or refuses 2 images"):
        build(Evaluate(extractor=f"torchscript:{path}", extractor_sha256=digest), DIGITS, World.single())


def one() -> torch.nn.Module:
    class Mine(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1)

    return Mine()


def other() -> torch.nn.Module:
    class Mine(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 100 * x.flatten(1)

    return Mine()


def test_an_extractor_of_ones_own_is_named_by_its_code_too():
    cpu = torch.device("cpu")
    assert repr(one()) == repr(other())
    assert Extractor("mine", one(), cpu).id == Extractor("mine", one(), cpu).id != Extractor("mine", other(), cpu).id
