"""Networks of text: an LSTM that writes character by character, and one-dimensional convolutions that judge.

Between the two, text is one-hot, float (n, length, 1 + characters); entry 0 is the end, and stands in all places after
it.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainers.config import Model
from trainers.data.dataset import Space
from trainers.randomness import stream


class Alphabet(nn.Module):
    """Code points (n, length) to one-hot (n, length, size) and back. ``size`` counts the end."""

    points: Tensor

    def __init__(self, space: Space) -> None:
        super().__init__()
        self.length, self.size = space.shape[0], 1 + len(space.alphabet)
        self.register_buffer("points", torch.tensor([0, *map(ord, space.alphabet)]), persistent=False)

    def one_hot(self, points: Tensor) -> Tensor:
        """Of characters of the alphabet."""
        return F.one_hot(torch.searchsorted(self.points, points), self.size).float()

    def decoded(self, one_hot: Tensor) -> Tensor:
        """int64 code points, 0 after the first end."""
        points = self.points[one_hot.argmax(2)]
        return points * (points != 0).cumprod(1)


class LstmGenerator(nn.Module):
    """``depth`` layers of LSTM cells of ``width``; the latents set the first state, and each character is fed back.

    A character is the argmax of logits plus Gumbel noise, which is a draw from their softmax (Gumbel 1954); the noise
    of an example is drawn for its latents where none is given.
    """

    def __init__(self, settings: Model, space: Space) -> None:
        super().__init__()
        self.alphabet = Alphabet(space)
        sizes = [self.alphabet.size, *[settings.width] * settings.depth]
        self.start = nn.Linear(settings.latent_dim, settings.width * settings.depth)
        self.cells = nn.ModuleList(nn.LSTMCell(i, o) for i, o in pairwise(sizes))
        self.head = nn.Linear(settings.width, self.alphabet.size)

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """(n, latent_dim) -> code points (n, length), each a function of its own latents."""
        noise = torch.stack([self.noise_of(row) for row in latents.cpu()]).to(latents.device)
        return self.alphabet.decoded(self.written(latents, noise, 1.0))

    def noise_of(self, latents: Tensor) -> Tensor:
        """Gumbel noise (length, size) that depends on the latents (latent_dim,) of one example."""
        drawn = stream("gumbel", latents.numpy().tobytes().hex())
        return gumbel((self.alphabet.length, self.alphabet.size), drawn)

    def written(self, latents: Tensor, noise: Tensor, tau: float) -> Tensor:
        """One-hot (n, length, size) with the gradient of ``softmax((logits + noise) / tau)`` (straight-through Gumbel
        softmax: Jang 2017, section 2.2). After an end come ends only.
        """
        states, character = self._first(latents), latents.new_zeros(len(latents), self.alphabet.size)
        going, written = latents.new_ones(len(latents), 1), []
        end = F.one_hot(torch.zeros((), dtype=torch.int64, device=latents.device), self.alphabet.size).float()
        for place in range(self.alphabet.length):
            logits, states = self._next(character, states)
            soft = ((logits.float() + noise[:, place]) / tau).softmax(1)
            hard = F.one_hot(soft.argmax(1), self.alphabet.size).float()
            character = going * (hard + soft - soft.detach()) + (1 - going) * end
            going = going * (1 - hard[:, :1])
            written.append(character)
        return torch.stack(written, 1)

    def likelihood(self, latents: Tensor, real: Tensor) -> Tensor:
        """log p (n,) of one-hot texts (n, length, size), in nats, up to and with the first end."""
        states, character, total = self._first(latents), torch.zeros_like(real[:, 0]), latents.new_zeros(len(real))
        going = torch.ones_like(total)
        for place in range(self.alphabet.length):
            logits, states = self._next(character, states)
            character = real[:, place]
            total = total + going * (logits.float().log_softmax(1) * character).sum(1)
            going = going * (1 - character[:, 0])
        return total

    def _first(self, latents: Tensor) -> list[tuple[Tensor, Tensor]]:
        return [(h.tanh(), torch.zeros_like(h)) for h in self.start(latents).chunk(len(self.cells), 1)]

    def _next(
        self, character: Tensor, states: list[tuple[Tensor, Tensor]]
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        below, after = character, []
        for cell, state in zip(self.cells, states, strict=True):
            after.append(cell(below, state))
            below = after[-1][0]
        return self.head(below), after


class Conv1dDiscriminator(nn.Module):
    """``depth`` convolutions of ``width`` channels over 5 characters, and a linear layer over all places."""

    def __init__(self, settings: Model, space: Space) -> None:
        super().__init__()
        width, depth = settings.discriminator_width or settings.width, settings.discriminator_depth or settings.depth
        length, size = space.shape[0], 1 + len(space.alphabet)
        layers: list[nn.Module] = []
        for channels in (size, *[width] * (depth - 1)):
            layers += [nn.Conv1d(channels, width, 5, padding=2), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(width * length, 1))

    def forward(self, one_hot: Tensor, labels: Tensor | None = None) -> Tensor:
        """(n, length, size) -> logits (n, 1)."""
        logits: Tensor = self.layers(one_hot.transpose(1, 2))
        return logits


def gumbel(shape: tuple[int, ...], drawn: torch.Generator) -> Tensor:
    """Standard Gumbel noise: the negative logarithm of standard exponential numbers."""
    return -torch.empty(shape).exponential_(generator=drawn).clamp(min=torch.finfo(torch.float32).tiny).log()
