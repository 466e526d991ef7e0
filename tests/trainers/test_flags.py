"""Flags keep their rule exactly, and the measures see who breaks it, copies, or gives the training data away."""

from dataclasses import replace
from itertools import cycle

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from tests.trainers.small import config
from trainers.check import problems
from trainers.config import Config, Data
from trainers.data import load
from trainers.data.dataset import Examples
from trainers.data.flags import BRIGHT, NAMES, drawn, patterns, rules
from trainers.loop import train
from trainers.metrics import Evaluator
from trainers.metrics.membership import auc
from trainers.pictures import draw
from trainers.sample import to_arrays
from trainers.state import load_space
from trainers.world import World

FLAGS = Data(name="flags", resolution=32, per_class=10)


def test_every_flag_has_80_bright_squares_and_24_that_are_bright_in_none():
    bright = patterns()
    assert (bright.sum(1) == BRIGHT).all() and int((~bright.any(0)).sum()) == 24
    assert len({tuple(one.tolist()) for one in bright}) == len(NAMES)
    data = load(Data(name="flags", resolution=32))
    assert isinstance(data.train, Examples) and isinstance(data.test, Examples)
    for examples in (data.train, data.test):
        found = rules(examples.values)
        assert found == {"rule_kept": 1, "wrong_squares": 0, "forbidden": 0, "prevalence_tv": 0}
    levels = (data.train.values + 1) / 2 * 4095
    assert (levels - levels.round()).abs().max() < 1e-3, "12 bits"
    assert not torch.equal(data.train.values[:100], data.test.values[:100])


def test_what_breaks_the_rule_is_counted():
    flags = drawn("any", 80).values
    wrong = flags.clone()
    wrong[:20, :, 0:2, 0:2] = 1  # a corner is never bright
    found = rules(wrong)
    assert (found["rule_kept"], found["wrong_squares"]) == (0.75, 0.25)
    assert found["forbidden"] == pytest.approx(20 / 80 / 24)
    assert rules(flags[:1].repeat(10, 1, 1, 1))["prevalence_tv"] == pytest.approx(7 / 8)


def test_auc_is_the_share_of_pairs_in_order():
    high, low = torch.randn(50), torch.randn(70).round()
    high[:10] = 1.0  # ties
    pairs = (high[:, None] > low).double() + (high[:, None] == low).double() / 2
    assert auc(high, low) == pytest.approx(float(pairs.mean()))


class Known(nn.Module):
    """Knows some examples by heart; ``noise`` would show whether it was put to rest."""

    def __init__(self, examples: Tensor) -> None:
        super().__init__()
        self.examples, self.noise = nn.Parameter(examples.flatten(1)), nn.Dropout(0.5)

    def forward(self, examples: Tensor, labels: Tensor | None) -> Tensor:
        found: Tensor = self.noise(-torch.cdist(examples.flatten(1), self.examples).amin(1, keepdim=True))
        return found


def test_copies_of_the_training_set_lose_the_rules_nothing_and_are_found_out():
    settings = Config.model_validate(
        {
            "data": FLAGS,
            "evaluate": {
                "samples": 80,
                "extractor": "raw",
                "metrics": ["rule_kept", "prevalence_tv", "membership_auc", "copies"],
            },
        }
    )
    data = load(settings.data)
    assert isinstance(data.train, Examples)
    train, evaluate = data.train.values, Evaluator(settings, data, World.single())
    critic, turn = Known(train).train(), cycle(range(80))
    found = evaluate(lambda latents: train[[next(turn) for _ in latents]], critic=critic)
    assert (found["rule_kept"], found["prevalence_tv"]) == (1, 0), "the rules alone would crown the copy"
    assert (found["membership_auc"], found["copies"]) == (1, 1) and found["membership_auc_low"] > 0.9
    assert critic.noise.training, "it goes on learning"
    fresh = evaluate(lambda latents: drawn("fresh", len(latents)).values, critic=Known(drawn("other", 80).values))
    assert abs(fresh["membership_auc"] - 0.5) < 0.15 and fresh["copies"] < 0.1
    evaluate(lambda latents: train[: len(latents)])
    assert evaluate.failures == [
        "no membership_auc, membership_auc_low: needs a discriminator, and training and held-out data in memory"
    ]


def test_copies_are_not_told_of_few_held_out_examples():
    told = {"data": FLAGS, "evaluate": {"samples": 80, "extractor": "raw", "metrics": ["memorised", "copies"]}}
    settings = Config.model_validate(told)
    whole = load(settings.data)
    few = replace(whole, test=whole.test[torch.arange(50)])
    evaluate = Evaluator(settings, few, World.single())
    found = evaluate(lambda latents: drawn("fresh", len(latents)).values)
    assert "memorised" in found and "copies" not in found
    assert evaluate.failures == ["no copies: 50 examples are held out, 100 are needed to tell it from chance"]


def test_a_checkpoint_knows_the_window_and_samples_come_in_units(tmp_path):
    settings = config(
        data={"name": "flags", "resolution": 32, "per_class": 10},
        model={"generator": "mlp", "discriminator": "mlp", "width": 8},
        train={"images": 64, "batch_size": 32, "augment": ("translation",), "ada_target": 0.6},
        evaluate={"every_images": 64, "samples": 80, "metrics": ("rule_kept", "membership_auc")},
    )
    (report,) = train(settings, World.single(), out=tmp_path)
    assert {"rule_kept", "membership_auc"} <= report.metrics.keys()
    assert report.checkpoint and load_space(report.checkpoint).window == (0, 4095)


def test_units_go_through_arrays_and_pictures_of_16_bits(tmp_path):
    window = (-160.0, 240.0)
    units = np.linspace(*window, 64, dtype=np.float32).reshape(1, 8, 8, 1)
    made = torch.from_numpy((units - window[0]) / 200 - 1).permute(0, 3, 1, 2)
    assert np.abs(to_arrays(made, window) - units).max() < 1e-4
    assert to_arrays(torch.tensor([[[[-3.0, 3.0]]]]), window).ravel().tolist() == list(window), (
        "no wilder than the data"
    )
    draw(units, window=window).save(tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.mode == "I;16"
        levels = np.asarray(picture).astype(np.float64)
    inner = np.unique(levels)
    back = inner / 65_535 * (window[1] - window[0]) + window[0]
    assert all(np.abs(back - value).min() < 0.004 for value in units.ravel()), "400 units over 16 bits"


def test_settings_that_mean_nothing_together_are_named():
    def told(**groups: object) -> list[str]:
        return [name for name, _ in problems(Config.model_validate(groups))]

    intensity = {"window": [0, 1]}
    assert told(data={"name": "digits", "intensity": intensity}) == ["data.intensity", "data.channels"]
    assert told(data={"name": "images", "path": "x", "intensity": intensity}) == ["data.channels"]
    wanted = {"metrics": ["membership_auc"]}
    assert told(train={"packing": 2}, evaluate=wanted) == ["evaluate.metrics.membership_auc"]
    assert told(family="autoencode", data={"name": "ring"}, evaluate=wanted)[0] == "evaluate.metrics.membership_auc"
