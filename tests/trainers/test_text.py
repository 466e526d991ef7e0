"""Text: grammars and files as data, the steps by hand, honest measures, and what a training keeps."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from tests.trainers.small import left_alone_and_killed, stepped
from trainers.check import problems
from trainers.config import BAD, Config, Data, Model
from trainers.data import Space, load
from trainers.data.grammar import ARITHMETIC, parse, strings
from trainers.data.lines import code_points, strings_of
from trainers.errors import DataError
from trainers.families.text.step import generator_step, likelihood_step
from trainers.families.text.training import TextTraining
from trainers.loop import train
from trainers.losses import LOSSES
from trainers.metrics.text import Written, of_language, of_ngrams, of_strings, relative_perplexity
from trainers.models.sequences import LstmGenerator
from trainers.report import Report
from trainers.sample import sample
from trainers.state import load_generator
from trainers.world import World

ALONE = World.single()


def config(**groups: Any) -> Config:
    """A few steps of narrow networks on arithmetic of one operator."""
    base: dict[str, dict[str, Any]] = {
        "data": {"name": "grammar", "length": 5},
        "model": {"generator": "lstm", "discriminator": "conv1d", "latent_dim": 4, "width": 8, "depth": 2},
        "train": {"images": 96, "batch_size": 16, "loss": "relativistic", "r1_gamma": 0.5, "r2_gamma": 0.5},
        "text": {},
        "evaluate": {"every_images": 48, "samples": 64, "metrics": ("tv", "valid", "ngram_tv", "distinct")},
        "health": {"stop": "never"},
    }
    return Config.model_validate({"family": "text"} | {name: {**base[name], **groups.get(name, {})} for name in base})


# -- data --------------------------------------------------------------------------------------------------------------


def test_every_string_of_the_protocol_has_its_probability() -> None:
    language = strings(parse(ARITHMETIC, ""), 13)
    assert len(language) == 1 + 4 + 2 * 4**2 + 5 * 4**3, "binary trees of up to three operators, four kinds of each"
    assert math.fsum(language.values()) == pytest.approx(1)
    assert -sum(chance * math.log(chance) for chance in language.values()) == pytest.approx(1.6166, abs=1e-4)
    assert language["(x*x)"] / language["x"] == pytest.approx(0.45 * 0.55 * 0.15)
    assert language["(x+(x/x))"] / language["x"] == pytest.approx((0.45 * 0.55) ** 2 * 0.55 * 0.05)
    data = load(Data(name="grammar"))
    assert (len(data), len(data.test), data.space.shape, data.space.alphabet) == (10_000, 2_000, (14,), "()*+-/x")
    drawn = strings_of(data.train[torch.arange(len(data))].values)
    assert np.mean(drawn == "(x-x)") == pytest.approx(language["(x-x)"], abs=0.006)


def test_rules_may_go_in_circles_derive_nothing_or_hold_bars() -> None:
    found = strings(parse("S -> [.5] | 'ab' [.25] | S S [.25]  \n# a comment\n", ""), 4)
    nothing = 2 - math.sqrt(2)  # e = 1/2 + e^2 / 4
    once = 0.25 / (1 - nothing / 2)
    assert found["abab"] / found["ab"] == pytest.approx(once**2 / 4 / (1 - nothing / 2) / once)
    assert strings(parse("S -> '|' [.5] | \"'\" [.5]", ""), 1) == {"'": 0.5, "|": 0.5}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("S -> 'a' S [1]", "derives nothing of 1 to 5 characters; give a rule that ends"),
        ("S -> 'abcdef' [.5] | 'b' [.5]", "derives only 'b' of 1 to 5 characters"),
        ("S -> T [1]\nT -> U 'a' [.5]", r"T come to 0.5, not 1(.|\n)*T needs U, which has no rule"),
        ("S => 'a'", "line 1: \"S => 'a'\" is no rule; write S ->"),
        ("S -> 'a' [1e] | 'b' [.5]\nS -> 'c' [1..5]", "line 1: .* is no rule(.|\n)*line 2: .* is no rule"),
        (f"S -> {'a' * 60}", r"line 1: .* is no rule; write S -> 'a' S \[.5\] \| 'b' \[.5\]$"),
        ("", "has no rule"),
        (
            "S -> C C C C [.5] | 'a' [.5]\nC -> " + " | ".join(f"'{c}' [.05]" for c in "abcdefghijklmnopqrst"),
            "more than",
        ),
    ],
)
def test_a_grammar_that_no_one_can_learn_is_refused_with_the_way_out(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "g.txt").write_text(text)
    with pytest.raises(DataError, match=says):
        load(Data(name="grammar", path=str(tmp_path / "g.txt"), length=5))


def test_an_ambiguous_grammar_is_written_down_or_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = parse("S -> S S [.5] | 'a' [.25] | 'b' [.25]", "")
    assert len(strings(rules, 13)) == 2**14 - 2
    monkeypatch.setattr(sys.modules[parse.__module__], "MOST_WORK", 1_000)
    with pytest.raises(DataError, match=r"takes more than 1,000 steps to derive its strings .*; lower data"):
        strings(rules, 13)


def test_the_lines_of_a_file_are_text_of_their_characters(tmp_path: Path) -> None:
    file = tmp_path / "names.txt"
    file.write_text("\ufeff" + "".join(f"  Zoë{'!' * (n % 7)}\r\n\n" for n in range(40)), "utf-8")
    data = load(Data(name="lines", path=str(file), length=8))
    assert data.space == Space((9,), alphabet="!Zoë")
    assert (len(data), len(data.test)) == (31, 4)
    assert data.notes == ("5 of 40 lines are longer than 8: left aside",)
    drawn = strings_of(data.train[torch.arange(31)].values)
    assert set(drawn) <= {"Zoë" + "!" * n for n in range(6)}
    assert torch.equal(code_points(drawn.tolist(), 9), data.train[torch.arange(31)].values)


@pytest.mark.parametrize(
    ("content", "length", "says"),
    [
        (b"", None, "has 0 different lines"),
        (b"a\na\n", None, "has 1 different lines"),
        (b"a" * 65 + b"\nb\n", None, "its longest line has 65 characters; set data.length"),
        (b"aaa\nbbb\n", 2, "has 0 different lines of 1 to 2 characters"),
        (b"\xff\xfe\x00a\n", None, "can't be read as UTF-8 text"),
    ],
)
def test_a_file_that_is_no_text_is_refused(content: bytes, length: int | None, says: str, tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_bytes(content)
    with pytest.raises(DataError, match=says):
        load(Data(name="lines", path=str(tmp_path / "x.txt"), length=length))


# -- steps, with a generator whose logits are its last bias ------------------------------------------------------------

BIAS = (0.3, -0.2, 0.9)  # of the end, of a, of b


def writer(length: int) -> LstmGenerator:
    model = Model(generator="lstm", latent_dim=2, width=3, depth=1)
    made = LstmGenerator(model, Space((length,), alphabet="ab"))
    for parameter in made.parameters():
        nn.init.zeros_(parameter)
    made.head.bias.data = torch.tensor(BIAS)
    return made


class Weighed(nn.Module):
    """A discriminator whose logit is a weight for each character."""

    def __init__(self, *weights: float) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.tensor(weights))

    def forward(self, one_hot: Tensor, labels: Tensor | None = None) -> Tensor:
        return (one_hot @ self.weights).sum(1, keepdim=True)


def test_the_generators_gradient_is_the_gumbel_softmaxes_by_hand() -> None:
    """Jang 2017, section 2.2: forward the drawn character, backward softmax((logits + noise) / tau)."""
    made, critic, tau = writer(1), Weighed(0.5, -1.0, 2.0), 0.7
    noise = torch.tensor([[[0.1, 1.9, -0.4]], [[0.0, 0.2, 0.6]]])
    value = generator_step(made, critic, torch.zeros(2, 2), noise, tau, torch.zeros(2, 1, 3), LOSSES["wasserstein"])
    assert value.item() == pytest.approx(-(-1.0 + 2.0) / 2), "an a and a b were drawn"
    soft = np.array([[(b + g) / tau for b, g in zip(BIAS, row[0], strict=True)] for row in noise.tolist()])
    soft = np.exp(soft) / np.exp(soft).sum(1, keepdims=True)
    weights = np.array([0.5, -1.0, 2.0])
    by_hand = -(soft * (weights - (soft * weights).sum(1, keepdims=True))).mean(0) / tau
    assert made.head.bias.grad is not None
    assert made.head.bias.grad.tolist() == pytest.approx(by_hand.tolist(), abs=1e-6)
    assert critic.weights.grad is None, "it does not learn from the generator's step"


def test_the_likelihood_counts_the_characters_and_one_end() -> None:
    made = writer(4)
    real = made.alphabet.one_hot(code_points(["ab", "bbb"], 4))
    value = likelihood_step(made, torch.zeros(2, 2), real)
    end, a, b = np.array(BIAS) - math.log(sum(map(math.exp, BIAS)))
    assert value.item() == pytest.approx(-((a + b + end) + (3 * b + end)) / 2, rel=1e-5)


def test_characters_are_drawn_from_their_softmax_and_none_follows_an_end() -> None:
    made = writer(3)
    texts = strings_of(made(torch.randn(4_000, 2)))
    chances = np.exp(BIAS) / np.exp(BIAS).sum()
    first = [np.mean([text[:1] == c for text in texts]) for c in ("", "a", "b")]
    assert first == pytest.approx(chances.tolist(), abs=0.03)
    latents, noise = torch.zeros(4_000, 2), -torch.empty(4_000, 3, 3).exponential_().log()
    one_hot = made.written(latents, noise, 1.0)
    ended = one_hot[:, :-1, 0].round().bool()
    assert bool(one_hot[:, 1:, 0][ended].round().bool().all())
    assert torch.equal(made.alphabet.one_hot(made.alphabet.decoded(one_hot)), one_hot.round())


# -- measures ----------------------------------------------------------------------------------------------------------

LANGUAGE = {"a": 0.5, "b": 0.3, "c": 0.2}


def test_total_variation_is_exact_and_wrong_strings_are_one_string() -> None:
    found = of_language(Written(["a"] * 6 + ["b"] * 2 + ["x", "y"], [], [], LANGUAGE))
    assert found == pytest.approx({"tv": (0.1 + 0.1 + 0.2 + 0.2) / 2, "valid": 0.8, "hit": 0.8})
    one = of_language(Written(["a"] * 10, [], [], LANGUAGE))
    assert one == pytest.approx({"tv": 0.5, "valid": 1.0, "hit": 0.5}), "all of it valid, half of it missing"


def test_n_grams_are_compared_in_both_directions() -> None:
    found = of_ngrams(Written(["ab", "ab"], ["ab", "cd"], ["ab", "cd"], None))
    whole = {"ngram_tv": 0.5, "ngram_floor": 0.0, "ngram_misfit": 0.5, "ngram_precision": 1.0, "ngram_recall": 0.5}
    assert found == pytest.approx(whole)
    assert of_ngrams(Written(["zz"], ["ab", "cd"], ["ab", "cd"], None))["ngram_misfit"] == pytest.approx(1)
    assert of_strings(Written(["a", "a", "b", "c"], [], [], None))["distinct"] == 0.75


def test_the_effective_number_of_strings_counts_no_nonsense() -> None:
    real = ["a", "b", "c", "d"]
    assert relative_perplexity(Written(["a", "b", "a", "b"], real, [], None)) == pytest.approx(0.5)
    assert relative_perplexity(Written(["w", "x", "y", "z"], real, [], None)) == 1
    assert relative_perplexity(Written(["w", "x", "y", "z"], real, [], LANGUAGE)) == pytest.approx(0.25)


# -- trainings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["gan", "mle"])
def test_two_ranks_do_what_one_does(method: str, on_ranks: Any) -> None:
    settings = config(text={"method": method}, train={"images": 160, "penalty_interval": 2})
    alone = _trained(ALONE, settings)
    for weights in on_ranks(2, _trained, settings):
        assert max(float((weights[name] - alone[name]).abs().max()) for name in alone) < 1e-6


def test_a_killed_training_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    whole, killed = left_alone_and_killed(config, 144, 1, tmp_path)
    assert killed == whole


def test_a_text_is_a_function_of_its_seed_and_shown_as_a_line(tmp_path: Path) -> None:
    report = list(train(config(), ALONE, out=tmp_path))[-1]
    assert report.checkpoint is not None
    kept, generator = load_generator(report.checkpoint)
    several = sample(generator, kept, np.arange(40))
    assert several.dtype.kind == "U"
    assert sample(generator, kept, np.array([7]))[0] == several[7]
    assert len(set(several)) > 1
    assert report.samples is not None
    with Image.open(report.samples) as picture:
        assert np.asarray(picture).min() < np.asarray(picture).max(), "there are letters on it"


def _last(images: int, method: str, stop: str, **train_settings: float) -> Report:
    settings = config(
        model={"width": 32, "depth": 1, "latent_dim": 16},
        train={"images": images, "batch_size": 32, "beta2": 0.99, "ema_half_life": 1_000, **train_settings},
        text={"method": method},
        evaluate={"every_images": images // 8, "samples": 1_000},
        health={"stop": stop},
    )
    return list(train(settings, ALONE))[-1]


def test_one_string_for_all_is_called_and_a_slow_one_is_not() -> None:
    """The first has no penalty and rates that are far too high, the second rates that are far too low."""
    wild = {"generator_lr": 0.05, "discriminator_lr": 0.05, "r1_gamma": 0.0, "r2_gamma": 0.0}
    lost = _last(32 * 240, "gan", "collapsed", **wild)
    assert lost.health.verdict in BAD, lost
    slow = _last(32 * 160, "gan", "collapsed", generator_lr=6e-4, discriminator_lr=6e-4)
    assert slow.health.verdict in ("slow", "unjudged"), slow


def test_likelihood_learns_the_grammar() -> None:
    last = _last(32 * 120, "mle", "never", generator_lr=1e-2)
    assert last.health.verdict == "healthy"
    assert last.metrics["tv"] < 0.1
    assert last.metrics["valid"] > 0.95
    assert set(last.losses) == {"nll"}


# -- settings ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("groups", "where", "says"),
    [
        ({"data": {"name": "digits"}}, "data.name", "no text; use grammar or lines"),
        ({"data": {"name": "lines"}}, "data.path", "needs a file of text"),
        ({"data": {"name": "lines", "path": "x"}, "evaluate": {"metrics": ("tv",)}}, "evaluate.metrics", "ngram_tv"),
        ({"model": {"generator": "mlp"}}, "model.generator", "known: lstm"),
        ({"model": {"discriminator": "nets:Mine"}}, "model.discriminator", "use 'conv1d'"),
        ({"model": {"discriminator_norm": "spectral"}}, "model.discriminator_norm", "use 'none'"),
        ({"model": {"conditional": True}}, "model.conditional", "set it to false"),
        ({"train": {"packing": 2}}, "train.packing", "leave it out"),
        ({"text": {"method": "mle", "tau": 0.5}}, "text.tau", "is for method: gan; leave it out"),
    ],
)
def test_what_can_not_be_written_is_refused(groups: Any, where: str, says: str) -> None:
    assert says in dict(problems(config(**groups)))[where]


def test_text_and_its_settings_are_refused_elsewhere() -> None:
    other = config(text={"tau": 0.5}).model_copy(update={"family": "gan"})
    found = dict(problems(other))
    assert "set family: text" in found["text"]
    assert "does not write; use 'text'" in found["data.name"]


def _trained(world: World, settings: Config) -> dict[str, Tensor]:
    return stepped(TextTraining(settings, load(settings.data), world), settings.train.images)
