"""A small network that reads conditions off pictures; its last hidden layer serves as features.

Trained once per data set and machine: on fresh examples where the data are drawn by code, else on the training
examples. What it reads right of the held-out examples is the ceiling of what a generator can be found to do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainers.data.conditions import Column
from trainers.data.dataset import Dataset, Examples, Rows
from trainers.errors import UnusableSettingError
from trainers.metrics.kept import alone, fitted, kept
from trainers.world import World

FRESH, STEPS, BATCH, PEAK_LR, FEATURES = 8_000, 1_500, 64, 3e-3, 64


class Reader(nn.Module):
    """Features (n, 64) of images (n, c, h, w) in [-1, 1], with mean 0 and variance 1 over those it was trained on."""

    def __init__(self, channels: int, conditions: Sequence[Column]) -> None:
        super().__init__()
        self.conditions = tuple(conditions)
        layers: list[nn.Module] = []
        for inputs, outputs in ((channels, 16), (16, 32), (32, 64), (64, 64)):
            layers += [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.GELU()]
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(1024, FEATURES), nn.GELU())
        self.heads = nn.ModuleList(nn.Linear(FEATURES, len(column.names) or 1) for column in conditions)
        self.center: Tensor
        self.scale: Tensor
        self.register_buffer("center", torch.zeros(FEATURES))
        self.register_buffer("scale", torch.ones(FEATURES))

    def forward(self, images: Tensor) -> Tensor:
        """(n, c, h, w) -> (n, 64)."""
        features: Tensor = (self.body(images) - self.center) / self.scale
        return features

    def read(self, features: Tensor) -> Tensor:
        """(n, 64) -> conditions (n, columns): numbers of classes, and numbers, on the CPU."""
        hidden = features.to(self.scale.device).float() * self.scale + self.center
        seen = []
        for column, head in zip(self.conditions, self.heads, strict=True):
            answer = head(hidden)
            span = column.high - column.low
            seen.append(answer.argmax(1).float() if column.names else column.low + answer[:, 0] * span)
        return torch.stack(seen, 1).cpu()

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """Cross entropy of classes and squared error of numbers, these in shares of their span, summed."""
        hidden, total = self.body(images), torch.zeros(())
        for number, (column, head) in enumerate(zip(self.conditions, self.heads, strict=True)):
            told, answer = labels[:, number], head(hidden)
            share = (told - column.low) / max(column.high - column.low, 1e-12)
            of = F.cross_entropy(answer, told.long()) if column.names else F.mse_loss(answer[:, 0], share)
            total = total + of
        return total


def load_reader(dataset: Dataset, world: World) -> Reader:
    """The reader of a data set. Raises UnusableSettingError where it has no pictures or no conditions."""
    space, train = dataset.space, dataset.train
    if not space.is_image or not (space.classes or space.columns):
        message = "needs pictures with conditions; choose another"
        raise UnusableSettingError(f"evaluate.extractor: 'reader' {message}")
    digest = hashlib.sha256(Path(__file__).read_bytes() + torch.__version__.split("+")[0].encode())
    name = f"reader-{hashlib.sha256(digest.digest() + dataset.fingerprint.encode()).hexdigest()[:16]}"

    def empty() -> Reader:
        return Reader(space.shape[0], space.conditions)

    def trained() -> Reader:
        if dataset.fresh:
            return _fit(empty(), dataset.fresh(FRESH))
        return _fit(empty(), train if isinstance(train, Examples) else train[_some(train)])

    return kept(name, empty, lambda: alone(trained), first=world.rank == 0, wait=lambda: world.agree(None))


def _some(rows: Rows) -> Tensor:
    """All rows in memory; of those that are read as they are needed, ``FRESH`` at most, evenly over all."""
    most = len(rows) if isinstance(rows, Examples) else min(len(rows), FRESH)
    return torch.linspace(0, len(rows) - 1, most, dtype=torch.float64).round().long()


def accuracy(reader: Reader, held_out: Rows) -> str:
    """What it reads right of examples that it was not trained on, in words; never many of them in memory at once."""
    answers, truth = [], []
    for rows in torch.split(_some(held_out), 512):
        part = held_out[rows]
        with torch.no_grad():
            answers.append(reader.read(reader(part.floats())))
        truth.append(table(part))
    seen, labels = torch.cat(answers), torch.cat(truth)
    told = []
    for number, column in enumerate(reader.conditions):
        mine, true = seen[:, number], labels[:, number]
        error = float((mine - true).square().mean() / true.var(correction=0).clamp(min=1e-12))
        told.append(
            f"{column.name} {float((mine == true).float().mean()):.1%}"
            if column.names
            else f"{column.name} R2 {1 - error:.3f}"
        )
    return f"{', '.join(told)} of {len(seen):,} held-out examples"


def table(examples: Examples) -> Tensor:
    """Labels as columns (n, columns)."""
    assert examples.labels is not None
    return examples.labels.float().view(len(examples), -1)


def _fit(reader: Reader, examples: Examples) -> Reader:
    labels = table(examples)
    drawn = (torch.randint(len(examples), (BATCH,)) for _ in range(STEPS))
    fitted(reader, (reader.loss(examples[rows].floats(), labels[rows]) for rows in drawn), STEPS, PEAK_LR)
    with torch.no_grad():
        hidden = torch.cat(
            [reader.body(examples[rows].floats()) for rows in torch.split(torch.arange(len(examples)), 512)]
        )
        reader.center.copy_(hidden.mean(0))
        reader.scale.copy_(hidden.std(0).clamp(min=1e-3))
    return reader.eval()
