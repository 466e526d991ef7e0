"""How networks are told conditions: as one vector, which stands beside an input or is projected on features.

A condition that is withheld (-1 of classes, NaN in columns) adds nothing to the vector.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from trainers.config import Model
from trainers.data.conditions import Column
from trainers.data.dataset import Space
from trainers.models.parts import spectral

BESIDE = 8
"""Values of a vector beside a discriminator's input; of images each is a whole channel."""


def embedding(settings: Model, space: Space, width: int) -> nn.Module | None:
    """From labels to vectors (n, width); None where a network is told nothing."""
    if not settings.conditional or not space.conditions:
        return None
    if space.columns:
        return Columns(space.columns, width, settings.frequencies)
    return Classes(space.classes, width, withheld=settings.label_drop > 0)


class Classes(nn.Embedding):
    """A vector per class (Mirza 2014)."""

    def __init__(self, classes: int, width: int, withheld: bool) -> None:
        super().__init__(classes, width)
        self.withheld = withheld

    def forward(self, labels: Tensor) -> Tensor:
        """(n,) -> (n, width)."""
        if not self.withheld:
            return super().forward(labels)
        return super().forward(labels.clamp(min=0)) * (labels >= 0)[:, None]


class Linear(nn.Module):
    """A matrix that starts as an embedding does, whatever a network does to its linear layers."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(inputs, width))

    def forward(self, values: Tensor) -> Tensor:
        """(n, inputs) -> (n, width)."""
        return values @ self.weight


class Columns(nn.Module):
    """A vector per column, summed: of classes one each, of a number a linear function of itself and of its waves."""

    def __init__(self, columns: Sequence[Column], width: int, frequencies: int) -> None:
        super().__init__()
        self.columns = tuple(columns)
        self.waves = [max(frequencies, 1 if column.period else 0) for column in columns]
        self.parts = nn.ModuleList(
            nn.Embedding(len(column.names), width)
            if column.names
            else Linear((1 if column.period else 2) + 2 * waves, width)
            for column, waves in zip(columns, self.waves, strict=True)
        )

    def forward(self, labels: Tensor) -> Tensor:
        """(n, columns) -> (n, width)."""
        told = []
        for column, part, waves, given in zip(self.columns, self.parts, self.waves, labels.unbind(1), strict=True):
            known = given.isfinite()
            values = torch.where(known, given, torch.full_like(given, column.low))
            told.append(part(values.long() if column.names else numbers(column, values, waves)) * known[:, None])
        whole: Tensor = torch.stack(told).sum(0)
        return whole


def numbers(column: Column, values: Tensor, waves: int) -> Tensor:
    """(n,) -> (n, 2 + 2 waves): one, the value scaled to [-1, 1], and sines and cosines of 1, 2, ... turns; from low to
    high is half a turn. Of a number that comes round, a turn is its period, and the value is left out.
    """
    half = (values - column.low) / max(column.high - column.low, 1e-12)
    turns = values / column.period if column.period else half / 2
    angles = 2 * math.pi * turns[:, None] * torch.arange(1, waves + 1, device=values.device)
    plain = [] if column.period else [2 * half[:, None] - 1]
    return torch.cat((torch.ones_like(turns)[:, None], *plain, angles.sin(), angles.cos()), 1)


class ConditionInput(nn.Module):
    """What a conditional generator starts from: the latent beside the vector of its conditions; an unconditional one
    passes the latent on.

    Where no labels are given, each latent chooses some by the hash of its bits, so that any user of a generator may
    leave them out.
    """

    def __init__(self, settings: Model, space: Space) -> None:
        super().__init__()
        width = settings.embedding_dim or settings.latent_dim
        self.conditions = space.conditions
        self.embedding = embedding(settings, space, width)
        self.width = settings.latent_dim + (width if self.embedding is not None else 0)
        self.in_columns = bool(space.columns)

    def forward(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        """(n, latent_dim), and (n,) or (n, columns) -> (n, self.width)."""
        if self.embedding is None:
            return latents
        return torch.cat((latents, self.embedding(self._chosen(latents) if labels is None else labels)), 1)

    def _chosen(self, latents: Tensor) -> Tensor:
        bits = latents.view(torch.int32).long().sum(1)
        if not self.in_columns:
            return bits.remainder(len(self.conditions[0].names))
        chosen = []
        for number, column in enumerate(self.conditions, start=1):
            mixed = (bits * (2 * number + 1) * 2654435761).remainder(2**31 - 1)
            share = mixed.double() / (2**31 - 1)
            span = len(column.names) if column.names else column.high - column.low
            chosen.append((share * span).floor() if column.names else column.low + share * span)
        return torch.stack(chosen, 1).float()


class Beside(nn.Module):
    """Examples with the vector of their conditions beside them, as more channels (Mirza 2014), where
    ``model.conditioning`` says so; else as they are.
    """

    def __init__(self, settings: Model, space: Space) -> None:
        super().__init__()
        width = settings.embedding_dim or BESIDE
        self.embedding = embedding(settings, space, width) if settings.conditioning == "concat" else None
        self.channels = space.shape[0] + (width if self.embedding is not None else 0)

    def forward(self, examples: Tensor, labels: Tensor | None) -> Tensor:
        """(n, C, ...) -> (n, self.channels, ...)."""
        if self.embedding is None or labels is None:
            return examples
        told = self.embedding(labels)
        spread = told.view(*told.shape, *[1] * (examples.ndim - 2)).expand(-1, -1, *examples.shape[2:])
        return torch.cat((examples, spread), 1)


class ProjectionHead(nn.Module):
    """Features to one logit: ``linear(h) + embedding(y) . h`` (Miyato and Koyama 2018, eq. 4), or the first term
    alone.
    """

    def __init__(self, features: int, settings: Model, space: Space) -> None:
        super().__init__()
        norm = settings.discriminator_norm
        self.linear = nn.Linear(features, 1)
        spectral(norm, self.linear)
        self.embedding = embedding(settings, space, features) if settings.conditioning == "projection" else None
        if self.embedding is None:
            return
        for part in self.embedding.parts if isinstance(self.embedding, Columns) else (self.embedding,):
            if norm == "spectral":
                spectral(norm, part)
            else:  # all conditions alike at first; a zero has no singular vector
                nn.init.zeros_(part.get_parameter("weight"))

    def forward(self, features: Tensor, labels: Tensor | None) -> Tensor:
        """(n, features), and (n,) or (n, columns) -> logits (n, 1)."""
        logits: Tensor = self.linear(features)
        if self.embedding is not None and labels is not None:
            logits = logits + (self.embedding(labels) * features).sum(1, keepdim=True)
        return logits
