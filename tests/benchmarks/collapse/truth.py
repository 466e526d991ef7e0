"""What a generator really makes: many samples, true centres, nearest real pictures in pixel space.

Nothing here is known to the detector: it sees 1,000 samples through features, this sees 2,000 to 25,000 without.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from trainers.config import Config
from trainers.data import Dataset, Examples
from trainers.data.digits import split_digits
from trainers.metrics.frechet import frechet_distance
from trainers.metrics.modes import mode_report

POINTS, SMALL, LARGE = 25_000, 10_000, 2_000
"""Samples: of points, of 8x8 pictures, of larger ones."""
DIRECTIONS = 64


@torch.no_grad()
def truth(generator: Any, data: Dataset, config: Config) -> dict[str, float]:
    """``kept``: share of the modes or classes that get at least a quarter of what is due to them, from samples that
    belong to one at all; ``distance``: Frechet distance to the data without features, over the data's own spread;
    ``finite``: 1 where every sample is. Further measures by the kind of data.
    """
    samples = drawn(generator, data, config)
    finite = float(samples.isfinite().all())
    samples = samples.nan_to_num(0, 0, 0)
    if not data.space.is_image:
        values = _points(samples, data)
    elif data.name == "stacked-digits":
        values = _pictures(samples.flatten(0, 1)[:, None], samples.shape[1], _reals(split_digits, 1))
    else:
        values = _pictures(samples, 1, _reals(lambda: (_all(data.train), _all(data.test)), data.fingerprint))
    return {"finite": finite, "distance": _distance(samples, data), **values}


def drawn(generator: Any, data: Dataset, config: Config) -> Tensor:
    """Samples of a generator in evaluation mode, of classes as frequent as in the training data."""
    count = POINTS if not data.space.is_image else SMALL if data.space.shape[-1] <= 8 else LARGE
    source = torch.Generator().manual_seed(12345)
    latents = torch.randn(count, config.model.latent_dim, generator=source)
    labels = None
    if config.model.conditional:
        counts = data.train.label_counts
        assert counts is not None
        labels = torch.multinomial(counts.double(), count, replacement=True, generator=source)
    parts = range(0, count, 1_000)
    return torch.cat(
        [generator(latents[i : i + 1_000], None if labels is None else labels[i : i + 1_000]) for i in parts]
    )


def _points(samples: Tensor, data: Dataset) -> dict[str, float]:
    """A sample belongs to a centre within 0.4 of the distance between neighbouring centres: blur is no collapse. Due to
    a centre is its share of the training data.
    """
    centers = torch.tensor(data.space.centers)
    spacing = float(torch.cdist(centers, centers).fill_diagonal_(torch.inf).min())
    nearest = torch.cdist(samples, centers).min(1)
    counts = torch.bincount(nearest.indices[nearest.values < 0.4 * spacing], minlength=len(centers))
    reals = data.train[torch.arange(len(data.train))].values
    due = torch.bincount(torch.cdist(reals, centers).argmin(1), minlength=len(centers)) / len(reals) * len(samples)
    kept = float((counts >= due / 4).float().mean())
    return {"kept": kept, **mode_report(samples, centers, data.space.std)}


class Reals(NamedTuple):
    """Real pictures (n, d) with their classes, and how far a picture may be from the nearest to belong to its class."""

    pictures: Tensor
    labels: Tensor
    limit: float


def _all(rows: Any) -> Examples:
    examples: Examples = rows[torch.arange(min(len(rows), LARGE))]
    return Examples(examples.floats(), examples.labels)


_known: dict[object, Reals] = {}


def _reals(split: Callable[[], tuple[Examples, Examples]], key: object) -> Reals:
    """Made once per data set. 8x8 digits may be a quarter farther off than 95 % of held-out ones; larger pictures,
    where blur alone puts a sample farther off, a quarter farther than a real one is from the nearest of another class.
    """
    if key not in _known:
        train, test = split()
        assert train.labels is not None and test.labels is not None
        pictures = train.values.flatten(1)
        apart = torch.cdist(test.values.flatten(1), pictures)
        if train.values.shape[-1] <= 8:
            limit = apart.amin(1).quantile(0.95)
        else:
            limit = apart.masked_fill(test.labels[:, None] == train.labels, torch.inf).amin(1).median()
        _known[key] = Reals(pictures, train.labels, 1.25 * float(limit))
    return _known[key]


def _pictures(samples: Tensor, channels: int, reals: Reals) -> dict[str, float]:
    """Each picture, or each of the ``channels`` of one, belongs to the class of the nearest real one, unless that is
    farther than real ones are apart.
    """
    nearest = torch.cdist(samples.flatten(1), reals.pictures).min(1)
    belongs = (nearest.values < reals.limit).reshape(-1, channels).all(1)
    count = int(reals.labels.max()) + 1
    single = reals.labels[nearest.indices].reshape(-1, channels)[belongs]
    counts = torch.bincount((single * count ** torch.arange(channels)).sum(1), minlength=count**channels)
    due = torch.full((len(counts),), len(belongs) / len(counts))
    if channels == 1:
        due = torch.bincount(reals.labels) / len(reals.labels) * len(belongs)
    used = torch.bincount(nearest.indices, minlength=len(reals.pictures)).double()
    return {
        "kept": float((counts >= due / 4).float().mean()),
        "belong": float(belongs.float().mean()),
        "distinct": float(torch.special.entr(used / used.sum()).sum().exp()) / len(reals.pictures),
    }


def _distance(samples: Tensor, data: Dataset) -> float:
    """In pixels, seen along a fixed choice of directions where there are many."""
    reals = data.train[torch.arange(min(len(data.train), 5_000))].floats().flatten(1)
    fakes = samples.flatten(1)
    if fakes.shape[1] > DIRECTIONS:
        directions = torch.randn(fakes.shape[1], DIRECTIONS, generator=torch.Generator().manual_seed(1))
        reals, fakes = reals @ directions, fakes @ directions
    return frechet_distance(reals, fakes) / float(reals.var(0).sum())
