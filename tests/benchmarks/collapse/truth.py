"""What a generator really makes: many samples, true centres, nearest real pictures in pixel space.

Nothing here is known to the detector: it sees 1,000 samples through features, this sees 10,000 to 25,000 without.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from trainers.data import Dataset
from trainers.data.digits import split_digits
from trainers.metrics.modes import mode_report

Generator = Callable[[Tensor], Tensor]


@torch.no_grad()
def truth(generator: Generator, data: Dataset, latent_dim: int) -> dict[str, float]:
    """``kept``: share of the modes or classes that get at least a quarter of what is due to them, from samples that
    belong to one at all; ``finite``: 1 where every sample is. Further measures by the kind of data.
    """
    count = 10_000 if data.space.is_image else 25_000
    latents = torch.randn(count, latent_dim, generator=torch.Generator().manual_seed(12345))
    samples = torch.cat([generator(z) for z in torch.split(latents, 1000)])
    finite = float(samples.isfinite().all())
    samples = samples.nan_to_num(0, 0, 0)
    values = _digits(samples) if data.space.is_image else _points(samples, data)
    return {"finite": finite, **values}


def _points(samples: Tensor, data: Dataset) -> dict[str, float]:
    """A sample belongs to a centre within 0.4 of the distance between neighbouring centres: blur is no collapse."""
    centers = torch.tensor(data.space.centers)
    spacing = float(torch.cdist(centers, centers).fill_diagonal_(torch.inf).min())
    nearest = torch.cdist(samples, centers).min(1)
    counts = torch.bincount(nearest.indices[nearest.values < 0.4 * spacing], minlength=len(centers))
    kept = float((counts >= len(samples) / len(centers) / 4).float().mean())
    return {"kept": kept, **mode_report(samples, centers, data.space.std)}


def _digits(samples: Tensor) -> dict[str, float]:
    """Each channel belongs to the class of the nearest of all real digits, unless it is farther than digits are
    apart."""
    train, test = split_digits()
    reals, labels = train.values.flatten(1), train.labels
    assert labels is not None
    limit = 1.25 * float(torch.cdist(test.values.flatten(1), reals).amin(1).quantile(0.95))
    nearest = torch.cdist(samples.flatten(0, 1).flatten(1), reals).min(1)
    channels = samples.shape[1]
    belongs = (nearest.values < limit).reshape(-1, channels).all(1)
    digits = labels[nearest.indices].reshape(-1, channels)[belongs]
    classes = (digits * 10 ** torch.arange(channels)).sum(1)
    counts = torch.bincount(classes, minlength=10**channels)
    kept = float((counts >= len(samples) / 10**channels / 4).float().mean())
    pictures = torch.bincount(nearest.indices, minlength=len(reals)).double()
    share = pictures / pictures.sum()
    return {
        "kept": kept,
        "belong": float(belongs.float().mean()),
        "distinct": float(torch.special.entr(share).sum().exp()) / len(reals),
    }
