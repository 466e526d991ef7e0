"""Whether a generator makes what it is asked for: by condition, by attribute, and where the truth is known, against it.

A mean over conditions hides the one that collapsed, and accuracy alone is highest where every condition has one example
(the fault of AC-GAN; Han 2020, TAC-GAN): so the worst is reported, and the diversity within conditions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from trainers.data.circle import centers
from trainers.data.conditions import Column, kinds
from trainers.metrics.features import FeatureError, pair
from trainers.metrics.frechet import Gaussian, distance_to
from trainers.metrics.prdc import prdc

if TYPE_CHECKING:
    from trainers.metrics.table import Comparison

FEWEST = 20
"""Examples of a condition, real and generated, that say something about it."""
Group = tuple[Tensor, Tensor]
"""Which real examples (n,) are of one condition, and which generated ones (m,)."""


def of_circle(c: Comparison) -> dict[str, float]:
    """``angle_report`` of a comparison."""
    if [column.name for column in c.real.space.columns] != ["angle"]:
        raise FeatureError("the true distribution at a condition is known for circular-gaussians only")
    return angle_report(c.fake, _asked(c)[:, 0], c.real.space.std)


def by_condition(c: Comparison) -> dict[str, float]:
    """``condition_report`` of a comparison."""
    return condition_report(c.real.train, c.fake, _groups(c))


def within_conditions(c: Comparison) -> dict[str, float]:
    """``condition_diversity`` of a comparison, by the name that it goes by."""
    return {"condition_diversity": condition_diversity(c.real.train, c.fake, _groups(c))}


def of_attributes(c: Comparison) -> dict[str, float]:
    """``attribute_report`` of a comparison."""
    conditions = c.real.space.conditions
    read = c.real.read or c.real.classify
    if read is None:
        raise FeatureError("nothing here reads conditions off an example; set evaluate.extractor to 'reader'")
    asked, seen = _asked(c).float(), read(c.fake).float()
    return attribute_report(asked.view(len(asked), -1), seen.view(len(seen), -1), conditions)


def _groups(c: Comparison) -> list[Group]:
    if c.real.labels is None:
        raise FeatureError("labels of streamed data are not at hand: there are no groups to compare")
    return groups(c.real.labels, _asked(c), c.real.space.conditions)


def _asked(c: Comparison) -> Tensor:
    if c.asked is None:
        raise FeatureError("the generator is asked for no condition; set model.conditional")
    return c.asked


def angle_report(points: Tensor, angles: Tensor, std: float) -> dict[str, float]:
    """``w2``: the squared 2-Wasserstein distance between Gaussians, that of the points at an angle and the true one
    (Ding 2021, CcGAN, section 5.1), mean over angles; and the worst.

    ``points`` (n, 2) were asked for at ``angles`` (n,) in degrees, several at each.
    """
    found = []
    for angle in torch.unique(angles):
        here = points[angles == angle].double()
        if len(here) < 2:
            raise FeatureError(f"{len(here)} point at an angle: evaluate.samples must be at least twice the angles")
        mean, covariance = here.mean(0), torch.cov(here.T)
        away = (mean - centers(angle.view(1).double())[0]).square().sum()
        # For a true covariance std^2 I: tr(C + std^2 I - 2 std C^(1/2)).
        spread = (torch.linalg.eigvalsh(covariance).clamp(min=0).sqrt() - std).square().sum()
        found.append(away + spread)
    distances = torch.stack(found)
    return {"w2": float(distances.mean()), "worst_w2": float(distances.max())}


def groups(real: Tensor, asked: Tensor, conditions: Sequence[Column]) -> list[Group]:
    """Which real examples and which generated ones are of one condition, by their labels (n,) and (m,), or (n, columns)
    and (m, columns): for each combination of classes, or where one of these has too few examples to be judged by, for
    each class of each column. Raises FeatureError where there are no classes, or where these have too few too.
    """
    both = torch.cat((real, asked))
    combined = kinds(both, conditions)
    if combined is None:
        raise FeatureError("conditions are no classes: there are no groups to compare")
    columns = both.view(len(both), -1)[:, [i for i, column in enumerate(conditions) if column.names]]
    fewest = [0, 0]
    for each in (combined[:, None], columns):
        mine, theirs = each[: len(real)], each[len(real) :]
        found = [(mine[:, i] == k, theirs[:, i] == k) for i in range(each.shape[1]) for k in torch.unique(mine[:, i])]
        fewest = [min(int(part.sum()) for part in parts) for parts in zip(*found, strict=True)]
        if min(fewest) >= FEWEST:
            return found
    message = f"a condition has {fewest[0]} real and {fewest[1]} generated examples, {FEWEST} are needed"
    raise FeatureError(f"{message}; raise evaluate.samples and real_samples")


def comparable(real: Tensor | None, asked: Tensor, conditions: Sequence[Column]) -> bool:
    """Whether there are ``groups``."""
    try:
        return real is not None and bool(groups(real, asked, conditions))
    except FeatureError:
        return False


def condition_report(real: Tensor, fake: Tensor, conditions: Sequence[Group]) -> dict[str, float]:
    """Fréchet distance and coverage of each condition, in features (n, d) and (m, d): mean and worst."""
    real, fake = pair(real, fake)
    distances, coverages = [], []
    for mine, theirs in ((real[rows], fake[others]) for rows, others in conditions):
        least = min(len(mine), len(theirs))
        distances.append(distance_to(Gaussian.fit(mine), theirs))
        coverages.append(prdc(mine[:least], theirs[:least])["coverage"])
    return {
        "condition_fid": sum(distances) / len(distances),
        "worst_condition_fid": max(distances),
        "condition_coverage": sum(coverages) / len(coverages),
        "worst_condition_coverage": min(coverages),
    }


def condition_diversity(real: Tensor, fake: Tensor, conditions: Sequence[Group]) -> float:
    """The least share of a condition's real spread (standard deviation, all directions) that its generated examples
    have, in features (n, d) and (m, d).
    """
    real, fake = pair(real, fake)
    spreads = (fake[others].var(0).sum() / real[rows].var(0).sum().clamp(min=1e-12) for rows, others in conditions)
    return float(torch.stack(list(spreads)).min().sqrt())


def attribute_report(asked: Tensor, seen: Tensor, conditions: Sequence[Column]) -> dict[str, float]:
    """What a reader sees (n, columns) against what was asked for (n, columns): the share of classes that are right,
    mean over columns and the worst; of numbers the share of their variance that is explained (R^2), the least; and
    the total variation between how often combinations of classes were asked for and seen.
    """
    right = [float((asked[:, i] == seen[:, i]).double().mean()) for i, column in enumerate(conditions) if column.names]
    explained = [_explained(asked[:, i], seen[:, i]) for i, column in enumerate(conditions) if not column.names]
    found = {"attribute_r2": min(explained)} if explained else {}
    if not right:
        return found
    combined = kinds(torch.cat((asked, seen)), conditions)
    assert combined is not None
    often = [torch.bincount(half, minlength=int(combined.max()) + 1) / len(half) for half in combined.chunk(2)]
    found |= {"attribute_accuracy": sum(right) / len(right), "worst_attribute": min(right)}
    return found | {"prevalence_tv": float((often[0] - often[1]).abs().sum() / 2)}


def _explained(asked: Tensor, seen: Tensor) -> float:
    return float(1 - (asked - seen).double().square().mean() / asked.double().var(correction=0).clamp(min=1e-12))
