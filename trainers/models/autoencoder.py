"""Encoder and decoder as one network, which is a generator too: called with latents it decodes them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from trainers.config import Config
from trainers.data.dataset import Space
from trainers.models import build_discriminator, build_generator
from trainers.randomness import key


class Code(NamedTuple):
    """Of examples, the mean (n, latent_dim) and the log of the variance of their codes; a plain autoencoder's code has
    no variance.
    """

    mean: Tensor
    log_variance: Tensor | None

    def drawn(self, noise: Tensor) -> Tensor:
        """``mean + std * noise`` with standard normal ``noise`` (Kingma and Welling 2014, section 2.4)."""
        return self.mean if self.log_variance is None else self.mean + (self.log_variance / 2).exp() * noise

    def divergence(self) -> Tensor:
        """Of each unit from the standard normal, in nats (n, latent_dim): Kingma and Welling 2014, appendix B; 0 where
        there is no variance.
        """
        if self.log_variance is None:
            return torch.zeros_like(self.mean)
        return (self.mean.square() + self.log_variance.exp() - self.log_variance - 1) / 2


class Autoencoder(nn.Module):
    """``encode`` and ``decode``. As a generator it is called with standard normal latents (n, latent_dim): codes of the
    prior. A plain autoencoder has none; its latents are stretched into the Gaussian that was fitted to its codes.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, encoder: nn.Module, decoder: nn.Module, latent_dim: int, variational: bool) -> None:
        super().__init__()
        self.encoder, self.decoder, self.variational = encoder, decoder, variational
        if not variational:
            self.register_buffer("mean", torch.zeros(latent_dim))
            self.register_buffer("spread", torch.eye(latent_dim))

    def encode(self, examples: Tensor) -> Code:
        """(n, *shape) -> their codes."""
        told = self.encoder(examples).float()
        return Code(*told.chunk(2, 1)) if self.variational else Code(told, None)

    def decode(self, codes: Tensor) -> Tensor:
        """(n, latent_dim) -> (n, *shape)."""
        made: Tensor = self.decoder(codes, None)
        return made

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """(n, latent_dim) -> (n, *shape)."""
        return self.decode(latents if self.variational else self.mean + latents @ self.spread)

    def reconstruct(self, examples: Tensor) -> Tensor:
        """(n, *shape) -> what their codes' means decode to."""
        return self.decode(self.encode(examples).mean)

    @torch.no_grad()
    def fit(self, codes: Tensor) -> None:
        """Takes mean and covariance of ``codes`` (n, latent_dim) for its latents'."""
        values, vectors = torch.linalg.eigh(codes.double().T.cov().reshape(codes.shape[1], -1))
        self.mean.copy_(codes.double().mean(0))
        self.spread.copy_(vectors * values.clamp(min=0).sqrt() @ vectors.T)


class Head(nn.Linear):
    """In the place of a discriminator's one logit."""

    def forward(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        """(n, in_features) -> (n, out_features)."""
        return super().forward(features)


def build_autoencoder(config: Config, space: Space, seed: int = 0) -> Autoencoder:
    """The decoder is ``model.generator``; the encoder is the discriminator of that name and size, its logit replaced by
    what a code needs. First weights are drawn from ``seed``.
    """
    model, variational = config.model, config.autoencode.method != "ae"
    mirror = {"discriminator": model.generator, "discriminator_norm": "none"}
    sizes: dict[str, None] = {"discriminator_width": None, "discriminator_depth": None}
    encoder = build_discriminator(model.model_copy(update=mirror | sizes), space, key(seed, "encoder"))
    logit = encoder.get_submodule("head.linear")
    assert isinstance(logit, nn.Linear)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(key(seed, "codes"))
        encoder.head = Head(logit.in_features, model.latent_dim * (2 if variational else 1))
    return Autoencoder(encoder, build_generator(model, space, seed), model.latent_dim, variational)


def features_and_logits(discriminator: nn.Module, examples: Tensor) -> tuple[Tensor, Tensor]:
    """What a discriminator's head sees of examples (n, features), and the logits (n, 1) that it makes of it."""
    seen: list[Tensor] = []
    handle = discriminator.get_submodule("head").register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    logits = discriminator(examples, None)
    handle.remove()
    return seen[0].flatten(1), logits
