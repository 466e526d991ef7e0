"""Modes of a known mixture, by the protocol of PacGAN (Lin et al., arXiv 1712.04086, section 4.1; "protocol P")."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from trainers.metrics.features import FeatureError, Features, distances, one


def mode_report(samples: Features, centers: Features, std: float) -> dict[str, float]:
    """What samples (n, d) find of a mixture of equal round Gaussians with ``centers`` (K, d) and one ``std``.

    A sample is of high quality if it lies within 3 std of its nearest centre. ``modes``: centres with at least one such
    sample. ``strict_modes``: centres with at least half of their fair share n / K, since noise alone "finds" most modes
    by the first rule. ``high_quality``: their share; an ideal sampler in 2-D reaches 0.989, and more means samples that
    are too narrow. ``reverse_kl``: ln K minus the entropy of the centres among them, in nats; 0 is uniform, ln K is one
    mode or none. Samples that are not finite count as of low quality.
    """
    c = one(centers, "centre", at_least=1)
    x = torch.as_tensor(samples).detach().to(torch.float64)
    if x.ndim != 2 or x.shape[1] != c.shape[1] or not len(x):
        raise FeatureError(f"samples have shape {tuple(x.shape)}: expected (n, {c.shape[1]}) like the centres")
    nearest = distances(x[x.isfinite().all(1)], c).min(dim=1)
    counts = torch.bincount(nearest.indices[nearest.values < 3 * std], minlength=len(c))
    return {**_spread(counts, len(x)), "high_quality": float(counts.sum() / len(x))}


def class_report(classes: Tensor, count: int) -> dict[str, float]:
    """The same for samples in ``count`` classes, int64 (n,); without quality, as a classifier knows none."""
    return _spread(torch.bincount(classes, minlength=count), len(classes))


def relative_mode_diversity(real: Tensor, fake: Tensor) -> float:
    """Effective number of modes among fakes over that among reals; modes as numbers, int64 (m,) and (n,).

    The effective number is 1 over the probability that two different samples share a mode (Simpson 1949; Hill number of
    order 2), which needs far fewer samples than modes: 1,000 of 1,000 tell a half from a whole.
    """
    return effective_modes(fake) / effective_modes(real)


def effective_modes(modes: Tensor) -> float:
    """How many modes, int64 (n,), there are, each counted as often as it comes up."""
    counts = torch.bincount(modes).double()
    return len(modes) * (len(modes) - 1) / max(float((counts * (counts - 1)).sum()), 1.0)


def _spread(counts: Tensor, samples: int) -> dict[str, float]:
    share = counts.double() / counts.sum().clamp(min=1)
    return {
        "modes": float((counts > 0).sum()),
        "strict_modes": float((counts >= samples / len(counts) / 2).sum()),
        "reverse_kl": math.log(len(counts)) - float(torch.special.entr(share).sum()),
    }
