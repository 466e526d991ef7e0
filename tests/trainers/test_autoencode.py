"""Autoencoder, VAE and VAE-GAN: steps against the papers' formulas by hand, priors, ranks, resume, verdict."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.trainers.small import config
from trainers.check import problems
from trainers.config import Config
from trainers.data import Space, load
from trainers.families.autoencode.judge import CodingEvaluator
from trainers.families.autoencode.room import FAMILY
from trainers.families.autoencode.step import Weights, adversarial_step, autoencoder_step, error
from trainers.families.autoencode.training import AutoencodeTraining
from trainers.loop import train
from trainers.losses import LOSSES
from trainers.models.autoencoder import Autoencoder, Head, build_autoencoder, features_and_logits
from trainers.players.critic import discriminator_step
from trainers.report import Report
from trainers.sample import sample
from trainers.state import load as load_checkpoint
from trainers.state import load_generator
from trainers.world import World

ALONE = World.single()
METHODS: dict[str, dict[str, Any]] = {
    "ae": {"method": "ae"},
    "vae": {"method": "vae", "warmup": 0.5},
    "vae-gan": {"method": "vae-gan"},
    "features": {"method": "vae-gan", "reconstruction": "feature"},
}
PENALTIES = {"loss": "relativistic", "r1_gamma": 0.1, "r2_gamma": 0.1, "penalty_interval": 2}


def asked(autoencode: dict[str, Any], **groups: Any) -> Config:
    """A tiny training of this family."""
    groups["train"] = {**PENALTIES, **groups.get("train", {})}
    whole = config(**groups).model_dump() | {"family": "autoencode", "autoencode": autoencode}
    return Config.model_validate(whole)


# -- steps, with one number in each place of a network -----------------------------------------------------------------

A, B, W = 0.7, -0.3, 1.2
"""Encoder: mean A x and log variance B x; decoder: W z."""
V, U = 0.9, -1.1
"""Discriminator: feature V x, logit U V x."""
BETA, GAMMA, SIGMA = 0.6, 0.25, 0.5
X, EPS, Z = 1.5, 0.8, -0.4


def one_number(*values: float) -> nn.Linear:
    linear = nn.Linear(1, len(values), bias=False)
    linear.weight.data = torch.tensor(values)[:, None]
    return linear


class Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = one_number(W)

    def forward(self, codes: Tensor, labels: None = None) -> Tensor:
        made: Tensor = self.layer(codes)
        return made


class Critic(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = one_number(V), Head(1, 1, bias=False)
        self.head.weight.data = torch.tensor([[U]])

    def forward(self, examples: Tensor, labels: None = None) -> Tensor:
        logits: Tensor = self.head(self.layer(examples), labels)
        return logits


def network() -> Autoencoder:
    return Autoencoder(one_number(A, B), Decoder(), 1, variational=True)


def gradient(network: nn.Module, name: str) -> list[float]:
    found = network.get_parameter(name).grad
    assert found is not None
    values: list[float] = found.flatten().tolist()
    return values


def rows(*values: float) -> Tensor:
    return torch.tensor(values)[:, None]


MEAN, STD = A * X, math.exp(B * X / 2)
CODE = MEAN + STD * EPS
MADE = W * CODE


def test_a_step_of_a_vae_is_the_papers_by_hand() -> None:
    made = network()
    terms = autoencoder_step(made, rows(X), rows(EPS), Weights(BETA, SIGMA), ALONE)
    assert terms.reconstruction.item() == pytest.approx((MADE - X) ** 2 / (2 * SIGMA**2))
    assert terms.divergence.item() == pytest.approx(-(1 + B * X - MEAN**2 - STD**2) / 2), "appendix B"
    pull = (MADE - X) / SIGMA**2  # d reconstruction / d made
    assert gradient(made, "decoder.layer.weight") == pytest.approx([pull * CODE])
    to_mean, to_log_variance = gradient(made, "encoder.weight")
    assert to_mean == pytest.approx((pull * W + BETA * MEAN) * X)
    assert to_log_variance == pytest.approx((pull * W * STD * EPS / 2 + BETA * (STD**2 - 1) / 2) * X)


def test_the_most_likely_noise_is_the_mean_squared_error() -> None:
    made, wanted = rows(1.0, 2.0).requires_grad_(), rows(0.0, 4.0)
    value = error(made, wanted, None, ALONE)
    assert value.item() == pytest.approx(math.log(2.5) / 2), "d / 2 log MSE"
    torch.autograd.backward(value)
    assert made.grad is not None
    assert made.grad.flatten().tolist() == pytest.approx([1 / 2 / 2.5, -2 / 2 / 2.5]), "as at that noise, held fixed"


@pytest.mark.parametrize("features", [False, True])
def test_a_step_of_a_vae_gan_is_larsens_by_hand(features: bool) -> None:
    made, critic, loss = network(), Critic(), LOSSES["non_saturating"]
    weights = Weights(BETA, SIGMA, GAMMA)
    terms = adversarial_step(made, critic, rows(X), rows(EPS), rows(Z), loss, weights, features, ALONE)
    seen = V**2 if features else 1.0
    logits = [U * V * MADE, U * V * W * Z]
    assert terms.reconstruction.item() == pytest.approx(seen * (MADE - X) ** 2 / (2 * SIGMA**2))
    assert terms.adversarial is not None
    assert terms.adversarial.item() == pytest.approx(sum(math.log1p(math.exp(-logit)) for logit in logits) / 2)
    pull = seen * (MADE - X) / SIGMA**2
    slopes = [-1 / (1 + math.exp(logit)) * U * V / 2 for logit in logits]  # d adversarial / d example
    by_hand = GAMMA * pull * CODE + slopes[0] * CODE + slopes[1] * Z
    assert gradient(made, "decoder.layer.weight") == pytest.approx([by_hand])
    assert gradient(made, "encoder.weight")[0] == pytest.approx((pull * W + BETA * MEAN) * X)
    assert all(parameter.grad is None for parameter in critic.parameters()), "it does not learn from either"


def test_a_step_of_the_discriminator_and_its_penalties_by_hand() -> None:
    critic = Critic()
    value, real, fake = discriminator_step(critic, rows(X), rows(MADE), LOSSES["relativistic"], 0.3, 0.2)
    assert (real.item(), fake.item()) == pytest.approx((U * V * X, U * V * MADE))
    apart = U * V * (MADE - X)
    assert value.item() == pytest.approx(math.log1p(math.exp(apart)))
    slope = 1 / (1 + math.exp(-apart))
    by_hand = slope * V * (MADE - X) + (0.3 + 0.2) * U * V**2
    assert gradient(critic, "head.weight") == pytest.approx([by_hand], rel=1e-5)
    assert features_and_logits(critic, rows(X))[0].item() == pytest.approx(V * X)


# -- trainings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["mlp", "dcgan", "resnet", "r3gan"])
def test_every_generator_has_an_encoder(kind: str) -> None:
    settings = asked(METHODS["vae"], model={"generator": kind, "discriminator": kind, "width": 4, "depth": 1})
    space = Space((3, 16, 16))
    made = build_autoencoder(settings, space)
    pictures = torch.rand(2, 3, 16, 16)
    code = made.encode(pictures)
    assert code.log_variance is not None
    assert code.mean.shape == code.log_variance.shape == (2, 8)
    assert made.reconstruct(pictures).shape == pictures.shape
    assert FAMILY.sizes(settings, space) == {"generator": sum(p.numel() for p in made.parameters())}


@pytest.mark.parametrize("method", METHODS)
def test_two_ranks_reach_the_same_parameters(method: str, on_ranks: Any) -> None:
    settings = asked(METHODS[method])
    alone = _trained(ALONE, settings)
    for parameters in on_ranks(2, _trained, settings):
        assert float((parameters - alone).norm() / alone.norm()) < 1e-6


def _trained(world: World, settings: Config) -> Tensor:
    training = AutoencodeTraining(settings, load(settings.data), world)
    for _ in range(20):
        training.step()
    training.sampler  # noqa: B018  # a plain autoencoder's prior belongs to its state
    return torch.cat([tensor.detach().flatten() for tensor in training.sampler.state_dict().values()])


@pytest.mark.parametrize("method", METHODS)
def test_a_resumed_training_ends_at_the_same_bits(method: str, tmp_path: Path) -> None:
    settings = asked(METHODS[method])
    *_, whole = train(settings, ALONE, out=tmp_path / "whole")
    early, resumed = tmp_path / "whole" / "checkpoints" / "160", tmp_path / "resumed"
    (last,) = train(settings, ALONE, resume=early, out=resumed)
    assert (last.metrics, last.losses) == (whole.metrics, whole.losses)
    ours, theirs = (load_checkpoint(folder / "checkpoints" / "320").tensors for folder in (resumed, tmp_path / "whole"))
    for group, tensors in theirs.items():
        assert all(torch.equal(ours[group][name], tensor) for name, tensor in tensors.items()), group


def test_the_prior_of_a_plain_autoencoder_is_its_codes_and_is_kept_with_the_weights(tmp_path: Path) -> None:
    settings = asked(METHODS["ae"])
    list(train(settings, ALONE, out=tmp_path))
    _, kept = load_generator(tmp_path / "checkpoints" / "320")
    assert isinstance(kept, Autoencoder)
    data = load(settings.data)
    codes = kept.encode(data.train[torch.arange(len(data))].floats()).mean
    assert torch.allclose(kept.mean, codes.mean(0), atol=1e-4)
    assert torch.allclose(kept.spread @ kept.spread.T, codes.T.cov(), atol=1e-4)
    drawn = sample(kept, settings, np.arange(32))
    assert drawn.shape == (32, 8, 8, 1)
    assert drawn.std(0).mean() > 0, "a sample per seed"


def test_the_divergence_warms_up_by_images() -> None:
    settings = asked({"method": "vae", "beta": 2.0, "warmup": 0.5, "noise": 1.0}, train={"images": 640})
    cold = asked({"method": "vae", "beta": 0.0, "noise": 1.0}, train={"images": 640})
    ramped, flat = (AutoencodeTraining(each, load(each.data), ALONE) for each in (settings, cold))
    weights = ramped._weights()
    assert (weights.beta, flat._weights().beta) == (0.0, 0.0)
    ramped.images = 80
    assert ramped._weights().beta == 0.5, "a quarter of the way up"
    ramped.images = 640
    assert ramped._weights().beta == 2


def test_losses_stand_under_their_names() -> None:
    training = AutoencodeTraining(asked(METHODS["features"]), load(config().data), ALONE)
    training.step()
    losses, signals = training.means()
    assert losses.keys() == {"reconstruction", "kl", "generator", "discriminator"}
    assert signals.keys() >= {"generator_update_ratio", "discriminator_update_ratio", "discriminator_gradient_norm"}


# -- measures and verdict ----------------------------------------------------------------------------------------------

CODED = ("fid", "mse", "mse_share", "reconstruction_fid", "active_units", "active_share", "kl", "kl_per_unit")


class Constant(Autoencoder):
    """Codes that say nothing, and one picture for all."""

    def __init__(self, picture: Tensor) -> None:
        super().__init__(nn.Identity(), nn.Identity(), 8, variational=True)
        self.picture = picture

    def encode(self, examples: Tensor) -> Any:
        code = super().encode(torch.zeros(len(examples), 16))
        return code

    def decode(self, codes: Tensor) -> Tensor:
        return self.picture.expand(len(codes), -1, -1, -1)


def test_one_average_picture_has_the_whole_error_no_unit_and_no_information() -> None:
    settings = asked(METHODS["vae"], evaluate={"metrics": CODED, "samples": 2_000})
    data = load(settings.data)
    average = data.train[torch.arange(len(data))].floats().mean(0)
    judge = CodingEvaluator(settings, data, ALONE)
    found = judge(Constant(average), Constant(average + 1))
    held_out = data.test[torch.arange(len(data.test))].floats()
    assert found["mse"] == pytest.approx(float((held_out - average).square().mean()), rel=1e-5)
    assert found["mse_share"] == pytest.approx(1)
    assert found["active_units"] == found["active_share"] == found["kl"] == found["kl_per_unit"] == 0
    assert judge.watched["misfit"] == pytest.approx(1, abs=0.01)
    assert judge.watched["raw_misfit"] > 4, "of the plain network its own reconstructions"
    assert found["code_modes"] == pytest.approx(0.01, abs=0.005), "one of about a hundred bins"


class Perfect(Autoencoder):
    """Codes are pictures."""

    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Unflatten(1, (1, 8, 8)), 64, variational=False)

    def decode(self, codes: Tensor) -> Tensor:
        return codes.view(-1, 1, 8, 8)


def test_perfect_reconstructions_have_no_error_and_every_unit() -> None:
    settings = asked(METHODS["ae"], model={"latent_dim": 64}, evaluate={"metrics": CODED, "samples": 2_000})
    data = load(settings.data)
    found = CodingEvaluator(settings, data, ALONE)(Perfect())
    assert (found["mse"], found["reconstruction_fid"]) == pytest.approx((0, 0), abs=1e-6)
    held_out = data.test[torch.arange(len(data.test))].values.flatten(1)
    assert found["active_units"] == 49 == (held_out.var(0) > 0.01).sum(), "some pixels are nearly always black"
    assert not found.keys() & {"kl", "kl_per_unit", "code_modes"}, "no variance, no divergence"


def last_report(autoencode: dict[str, Any], images: int, **train_settings: Any) -> Report:
    settings = asked(
        autoencode,
        model={"latent_dim": 16, "width": 64, "depth": 2, "growth": 1},
        train={"images": images, "batch_size": 64, "ema_half_life": 500, **train_settings},
        evaluate={"every_images": images // 10, "samples": 1_000, "metrics": ("fid", *CODED), "extractor": "auto"},
        health={"stop": "collapsed"},
    )
    *_, last = train(settings, ALONE)
    return last


FAST = {"generator_lr": 2e-3, "discriminator_lr": 2e-3}


def test_a_posterior_that_collapses_is_called_also_behind_good_samples() -> None:
    last = last_report({"method": "vae-gan", "beta": 300.0, "gamma": 0.001}, 80_000, **FAST)
    assert last.health.verdict == "collapsed", last
    assert last.metrics["active_units"] == 0
    assert last.metrics["mode_diversity"] > 0.5, "of samples; its codes have a tenth"
    assert last.metrics["misfit"] < 0.5
    assert "the number of modes is 0.099" in last.health.reasons[0]
    assert re.search(r"samples are 1\.\d+ times as far from the data as a single average", last.health.reasons[0])
    last = last_report({"method": "vae", "beta": 200.0}, 40_000, **FAST)
    assert last.health.verdict in ("collapsed", "stuck"), last


def test_a_healthy_and_a_slow_one_are_not() -> None:
    assert last_report({"method": "vae"}, 40_000, **FAST).health.verdict == "healthy"
    slow = last_report({"method": "vae"}, 40_000, generator_lr=5e-5)
    assert slow.health.verdict in ("slow", "unjudged", "suspect"), "far from done, and not called"


# -- settings ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("groups", "where", "says"),
    [
        ({"autoencode": {"method": "vae", "reconstruction": "feature"}}, "autoencode.reconstruction", "has none"),
        ({"model": {"generator": "maxout"}}, "model.generator", "use mlp, dcgan"),
        ({"model": {"generator": "nets:Mine"}}, "model.generator", "no encoder"),
        ({"model": {"generator_norm": "batch"}}, "model.generator_norm", "neighbours"),
        ({"model": {"conditional": True}}, "model.conditional", "set it to false"),
        ({"model": {"generator": "dcgan"}, "data": {"name": "ring"}}, "model.generator", "is points"),
        ({"train": {"n_dis": 2}}, "train.n_dis", "use 1"),
        ({"autoencode": {"method": "vae", "gamma": 0.2}}, "autoencode.gamma", "is for method: vae-gan; leave it out"),
        ({"autoencode": {"method": "ae", "beta": 2.0}}, "autoencode.beta", "is for method: vae or vae-gan"),
        ({"train": {"augment": ["flip"]}}, "train.augment", "no part of this family"),
        ({"train": {"loss": "hing"}, "autoencode": {"method": "vae-gan"}}, "train.loss", "did you mean 'hinge'"),
    ],
)
def test_what_cannot_train_is_named_with_a_way_out(groups: dict[str, Any], where: str, says: str) -> None:
    settings = asked(**{"autoencode": METHODS["vae"], **groups})
    assert any(name == where and says in message for name, message in problems(settings)), problems(settings)


def test_group_and_measures_of_this_family_are_refused_elsewhere() -> None:
    settings = asked(METHODS["vae"], evaluate={"metrics": ("fid", "mse")}).model_copy(update={"family": "gan"})
    assert [where for where, _ in problems(settings)] == ["autoencode", "evaluate.metrics.mse"] or problems(settings)
