"""From a generator to numbers: the same on any number of ranks, under a name that says what was measured."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.queues import SimpleQueue
from socket import socket
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from trainers.config import Config
from trainers.data import load
from trainers.errors import TrainerError
from trainers.families import FAMILIES
from trainers.metrics import METRICS, Evaluator
from trainers.metrics.table import Comparison
from trainers.provenance import IncomparableError, require_comparable
from trainers.world import World

RING = Config.model_validate(
    {
        "data": {"name": "ring"},
        "model": {"latent_dim": 2},
        "evaluate": {"samples": 301, "metrics": ["fid", "kid", "modes"]},
    }
)

PATH = f"{__name__}:"


def circle(z: Tensor) -> Tensor:
    """A generator for a test: the unit circle."""
    return torch.nn.functional.normalize(z)


def one_after_the_other(rows: Tensor) -> Callable[[Tensor], Tensor]:
    """A generator for a test: the next rows, as many as there are latents."""
    left = iter(rows)
    return lambda z: torch.stack([next(left) for _ in z])


def evaluator(world: World) -> Evaluator:
    return Evaluator(RING, load(RING.data), world)


def test_every_name_is_delivered():
    config = RING.model_copy(update={"evaluate": RING.evaluate.model_copy(update={"metrics": tuple(METRICS)})})
    measure = Evaluator(config, load(RING.data), World.single())
    theirs = {name for family in FAMILIES.values() for name in family.measures}
    names = ("w2", "condition_fid", "condition_diversity", "attribute_accuracy", "cas", "rule_kept", "prevalence_tv")
    others = {METRICS[name] for name in names}
    theirs |= {name for name, function in METRICS.items() if function in others}
    assert set(METRICS) - set(measure(circle)) == {"memorised", "copies", *theirs}
    assert [failure.split(":")[0] for failure in measure.failures[:2]] == ["no memorised", "no copies"], "10 % are kept"
    assert all(theirs & set(failure[3:].split(":")[0].split(", ")) for failure in measure.failures[2:])


def test_the_provenance_says_what_was_measured():
    measure = evaluator(World.single())
    assert measure.extractor_id.startswith("raw@")
    assert measure.provenance == {
        "data": load(RING.data).fingerprint[:12],
        "extractor": measure.extractor_id,
        "n_real": 10_000,
        "n_fake": 301,
        "split": "train",
        "resize": "none",
        "ema": True,
    }


def test_the_number_of_ranks_changes_nothing():
    """301 samples do not divide by 2: the padding must be cut. Both ranks must hold what one rank alone finds."""
    alone = evaluator(World.single())(circle)
    context = multiprocessing.get_context("spawn")
    results = context.SimpleQueue()
    with socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ranks = [context.Process(target=_measure_on_rank, args=(rank, port, results)) for rank in range(2)]
    for process in ranks:
        process.start()
    for _ in range(2):
        assert results.get() == pytest.approx(alone, rel=1e-9)
    for process in ranks:
        process.join()


def test_a_generator_of_nan_costs_the_numbers_and_not_the_training():
    measure = evaluator(World.single())
    metrics = measure(lambda z: circle(z) * float("nan"))
    assert metrics["modes"] == 0
    assert "fid" not in metrics
    assert "no fid, misfit: 301 of 301 fake samples have features that are NaN or infinite" in measure.failures


def test_a_measure_of_ones_own_that_fails_is_reported():
    config = RING.model_copy(update={"evaluate": RING.evaluate.model_copy(update={"metrics": (PATH + "broken",)})})
    measure = Evaluator(config, load(RING.data), World.single())
    assert "coverage" in measure(circle)
    assert measure.failures == ["no broken: division by zero"]


@pytest.mark.parametrize("name", ["lonely", "scalars", "nothing"])
def test_a_measure_of_ones_own_may_answer_anything(name: str):
    config = RING.model_copy(update={"evaluate": RING.evaluate.model_copy(update={"metrics": (PATH + name,)})})
    measure = Evaluator(config, load(RING.data), World.single())
    found = measure(circle)
    assert "coverage" in found
    assert (found.get("a"), found.get("b")) == ((0.5, 2.0) if name == "scalars" else (None, None))
    assert len(measure.failures) == (name != "scalars")


@pytest.mark.parametrize(("samples", "seen"), [(64, 1000), (1500, 1500), (3000, 2000)])
def test_the_verdict_sees_as_many_samples_as_it_needs(samples: int, seen: int):
    evaluate = RING.evaluate.model_copy(update={"samples": samples, "metrics": (PATH + "count",)})
    config = RING.model_copy(update={"evaluate": evaluate})
    measure = Evaluator(config, load(RING.data), World.single())
    measure._watched = [*measure._watched, count]
    metrics = measure(circle)
    assert metrics["count"] == samples, "what was asked for is measured on what was asked for"
    assert measure.watched["count"] == seen
    assert {"coverage", "misfit", "mode_diversity"} <= set(measure.watched)


def test_no_more_samples_are_drawn_together_than_training_shows():
    drawn: list[int] = []

    def generator(latents: Tensor) -> Tensor:
        drawn.append(len(latents))
        return circle(latents)

    evaluator(World.single())(generator)
    assert max(drawn) == RING.train.batch_size


def test_of_the_plain_generator_only_the_verdict_hears():
    measure = evaluator(World.single())
    metrics = measure(circle, lambda z: torch.ones_like(z))
    assert not any(name.startswith("raw") for name in metrics)
    assert measure.watched["raw_mode_diversity"] == pytest.approx(1 / 8, rel=0.05)
    assert measure.watched["raw_misfit"] > 1 > measure.watched["misfit"]


def test_an_extractor_or_a_generator_that_fails_costs_the_numbers_only():
    measure = evaluator(World.single())
    assert measure(lambda z: z[0, 9]) == measure.watched == {}
    assert measure.failures[0].startswith("no measure: IndexError: index 9 is out of bounds")
    assert measure(circle) and measure.watched, "the next report is measured again"


def test_modes_of_data_that_nobody_knows_are_bins_of_it():
    """Half of eight modes is half, also where it was not said that there are eight."""
    data = load(RING.data)
    unknown = replace(data, space=replace(data.space, centers=(), std=0.0))
    half = data.train[torch.arange(len(data))].values
    half = half[half[:, 1] > half[:, 0] / 2]
    measure = Evaluator(RING, unknown, World.single())
    found = measure(one_after_the_other(half))
    assert found["mode_diversity"] == pytest.approx(0.5, abs=0.1)
    assert [f for f in measure.failures if "modes" in f] == [
        "no modes, strict_modes, high_quality, reverse_kl: modes are known only for data with centres (ring, grid) or "
        "digits under digits-cnn"
    ]


def test_a_conditional_generator_is_judged_on_the_classes_of_its_data():
    config = Config.model_validate(
        {
            "data": {"name": "digits"},
            "model": {"conditional": True},
            "evaluate": {"samples": 500, "metrics": ["fid"], "extractor": "raw"},
        }
    )
    data = load(config.data)
    labels = data.train[torch.arange(1437)].labels
    assert labels is not None
    odd = replace(data, train=data.train[(labels % 2).nonzero()[:, 0]])
    asked: list[Tensor] = []

    def generator(latents: Tensor, labels: Tensor) -> Tensor:
        asked.append(labels)
        return torch.zeros(len(latents), 1, 8, 8)

    Evaluator(config, odd, World.single())(generator)
    assert set(torch.cat(asked).tolist()) == {1, 3, 5, 7, 9}


def test_copies_are_only_looked_for_where_all_training_data_are_at_hand():
    few = Config.model_validate({"data": {"name": "digits"}, "evaluate": {"samples": 64, "metrics": ["copies"]}})
    data = load(few.data)
    evaluate = Evaluator(few, data, World.single())
    assert evaluate(lambda z: data.train[torch.arange(len(z))].floats())["copies"] == 1


def test_a_value_that_is_not_a_number_is_missing():
    config = RING.model_copy(update={"evaluate": RING.evaluate.model_copy(update={"metrics": (PATH + "undefined",)})})
    measure = Evaluator(config, load(RING.data), World.single())
    assert "undefined" not in measure(circle)
    assert measure.failures == ["no undefined: it came out as nan"]


def test_an_unknown_name_is_refused_at_once():
    config = RING.model_copy(update={"evaluate": RING.evaluate.model_copy(update={"metrics": ("fidd",)})})
    with pytest.raises(TrainerError, match=r"unknown name 'fidd'; did you mean 'fid'\?"):
        Evaluator(config, load(RING.data), World.single())


def test_values_that_differ_are_never_ranked_together():
    one: dict[str, str | int | bool] = {"extractor": "raw@1", "n_real": 100, "ema": True}
    require_comparable({"a": one, "b": dict(one)})
    message = r"extractor is raw@1 \(a, b\), raw@2 \(c\); n_real is 100 \(a, c\), unknown \(b\)"
    with pytest.raises(IncomparableError, match=message):
        require_comparable({"a": one, "b": {"extractor": "raw@1", "ema": True}, "c": {**one, "extractor": "raw@2"}})


def broken(comparison: Comparison) -> dict[str, float]:
    return {"broken": 1 / 0}


def count(comparison: Comparison) -> dict[str, float]:
    return {"count": float(len(comparison.fake))}


def lonely(comparison: Comparison) -> Any:
    return 0.5


def scalars(comparison: Comparison) -> Any:
    return {"a": np.float32(0.5), "b": torch.tensor(2)}


def nothing(comparison: Comparison) -> Any:
    return {"a": None}


def undefined(comparison: Comparison) -> dict[str, float]:
    return {"undefined": float("nan")}


def _measure_on_rank(rank: int, port: int, results: SimpleQueue[dict[str, float]]) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    torch.set_num_threads(1)
    results.put(evaluator(World(rank, 2, torch.device("cpu")))(circle))
    torch.distributed.destroy_process_group()


def test_more_fakes_than_reals_are_compared_in_equal_numbers():
    few = Config.model_validate({"data": {"name": "digits"}, "evaluate": {"samples": 2000, "metrics": ["diversity"]}})
    data = load(few.data)
    pool = data.train[torch.arange(1437)].floats()
    evaluate = Evaluator(few, data, World.single())
    found = evaluate(lambda z: pool[torch.arange(len(z)) % 10])
    assert found["diversity"] < 0.3, "ten different pictures, shown again and again"
    assert evaluate(one_after_the_other(torch.cat([pool, pool])))["diversity"] == pytest.approx(1)
