"""One step of each player: arguments in, gradients on the player's parameters, detached tensors out. No logging, no
settings.

Shapes: examples (n, *shape), codes and latents (n, latent_dim). Losses are means over this rank's n examples, and the
caller averages gradients over ranks.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from trainers.losses import Loss
from trainers.models.autoencoder import Autoencoder, features_and_logits
from trainers.world import World


class Weights(NamedTuple):
    """``beta`` of the code's divergence; ``gamma`` of the reconstruction in the decoder's loss, beside the
    discriminator's loss; ``noise`` is the standard deviation of what is reconstructed, None the most likely one.
    """

    beta: float
    noise: float | None = None
    gamma: float = 1.0


class Terms(NamedTuple):
    """What a step found, detached: ``reconstruction`` is -log p(x | z) in nats less a constant, ``divergence`` the KL
    divergence in nats, ``adversarial`` what the discriminator makes of it; all per example.
    """

    reconstruction: Tensor
    divergence: Tensor
    adversarial: Tensor | None = None

    def told(self) -> dict[str, Tensor]:
        """Under the names of losses."""
        adversarial = {} if self.adversarial is None else {"generator": self.adversarial}
        return {"reconstruction": self.reconstruction, "kl": self.divergence} | adversarial


def error(made: Tensor, wanted: Tensor, noise: float | None, world: World) -> Tensor:
    """-log N(wanted; made, noise^2) per example less its constant, in nats: ``|made - wanted|^2 / 2 noise^2``.

    Under ``noise`` None, that of the global batch at its most likely noise, whose square is the mean squared error:
    ``d / 2 log MSE`` (the optimal sigma-VAE of Rybkin 2021).
    """
    squares = (made - wanted).float().square().flatten(1)
    if noise is not None:
        return squares.sum(1).mean() / (2 * noise**2)
    mean = squares.mean()
    whole = world.mean(mean.detach().clone())
    # The gradient is that of d / 2 log of the whole batch's error, of which this rank has only its share at hand.
    return squares.shape[1] / 2 * (whole.log() + mean / whole - (mean / whole).detach())


def autoencoder_step(network: Autoencoder, real: Tensor, noise: Tensor, weights: Weights, world: World) -> Terms:
    """Accumulates the gradient of ``-E log p(x | z) + beta KL(q(z | x) || p(z))`` (Kingma and Welling 2014, eq. 3;
    beta: Higgins 2017), with standard normal ``noise`` (n, latent_dim) for one code per example.
    """
    code = network.encode(real)
    divergence = code.divergence().sum(1).mean()
    reconstruction = error(network.decode(code.drawn(noise)), real, weights.noise, world)
    torch.autograd.backward(reconstruction + weights.beta * divergence)
    return Terms(reconstruction.detach(), divergence.detach())


def adversarial_step(
    network: Autoencoder,
    discriminator: nn.Module,
    real: Tensor,
    noise: Tensor,
    latents: Tensor,
    loss: Loss,
    weights: Weights,
    features: bool,
    world: World,
) -> Terms:
    """Larsen 2016, algorithm 1: the encoder's gradient is that of ``reconstruction + beta KL``, the decoder's that of
    ``gamma reconstruction`` and the generator's loss against the discriminator, which is left without gradients.
    Pixels are compared, or the discriminator's last ``features``.
    """
    code = network.encode(real)
    divergence = code.divergence().sum(1).mean()
    reconstructed = network.decode(code.drawn(noise))
    made, fake_logits = features_and_logits(discriminator, torch.cat((reconstructed, network.decode(latents))))
    with torch.no_grad():
        wanted, real_logits = features_and_logits(discriminator, real)
    adversarial = loss.generator(torch.cat((real_logits, real_logits)).float(), fake_logits.float()).mean()
    pair = (made[: len(real)], wanted) if features else (reconstructed, real)
    reconstruction = error(*pair, weights.noise, world)
    encoder, decoder = list(network.encoder.parameters()), list(network.decoder.parameters())
    torch.autograd.backward(reconstruction + weights.beta * divergence, inputs=encoder, retain_graph=True)
    torch.autograd.backward(weights.gamma * reconstruction + adversarial, inputs=decoder)
    return Terms(reconstruction.detach(), divergence.detach(), adversarial.detach())
