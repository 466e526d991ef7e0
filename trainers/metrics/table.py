"""The names of all measures. Several names may share a function, which then runs once for all of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor, nn

from trainers.data import Examples, Space
from trainers.metrics.bins import k_means, missing_bins, nearest
from trainers.metrics.coding import Coded, of_divergence, of_errors, of_reconstructions, of_units
from trainers.metrics.conditions import by_condition, of_attributes, of_circle, within_conditions
from trainers.metrics.diversity import Diversity, duplicates
from trainers.metrics.extrapolated import frechet_distance_infinity
from trainers.metrics.features import FeatureError, one
from trainers.metrics.frechet import Gaussian, distance_to
from trainers.metrics.gain import BASE, BEST, MIXES, accuracy
from trainers.metrics.kernel import kernel_distance
from trainers.metrics.membership import of_membership
from trainers.metrics.memory import memorisation
from trainers.metrics.mind import sliced_distance
from trainers.metrics.modes import class_report, mode_report, relative_mode_diversity
from trainers.metrics.prdc import prdc, real_radii
from trainers.metrics.rules import of_prevalence, of_rules
from trainers.metrics.text import Written, of_language, of_ngrams, of_strings, relative_perplexity
from trainers.metrics.translation import Translated, content, sensitivity, spread
from trainers.metrics.video import Moved, of_law, of_motion


@dataclass(frozen=True, eq=False)
class Reals:
    """The real half of every comparison: features (n, d) of training data, (h, d) of held-out data.

    ``space`` knows the centres where the real distribution is a known mixture of Gaussians; ``classify`` gives classes
    (n,) of features where the extractor is a classifier of such data; ``complete`` says whether ``train`` is of all
    training data. ``labels`` are those of ``train``; ``read`` gives conditions (n, columns) of features, where the
    extractor is a reader of such data; ``examples`` are the training and the held-out data themselves, where they are
    in memory; ``known`` are measures of pictures that follow from how the data are drawn. What depends on nothing else
    is computed once.
    """

    train: Tensor
    held_out: Tensor
    space: Space
    classify: Callable[[Tensor], Tensor] | None
    fakes: int
    complete: bool = True
    labels: Tensor | None = None
    read: Callable[[Tensor], Tensor] | None = None
    examples: tuple[Examples, Examples] | None = None
    known: Callable[[Tensor], dict[str, float]] | None = None

    @property
    def sample(self) -> Tensor:
        """As many reals as fakes where there are enough: neighbourhoods compare only between sets of one size."""
        return self.train[: self.fakes]

    @cached_property
    def gaussian(self) -> Gaussian:
        """Fitted to all training data at hand."""
        return Gaussian.fit(one(self.train, "real"))

    @cached_property
    def radii(self) -> Tensor:
        """Of the balls to each fifth neighbour, for ``prdc``."""
        return real_radii(self.sample)

    @cached_property
    def diversity(self) -> Diversity:
        """The ruler for ``relative_diversity``."""
        return Diversity.of(self.sample)

    @cached_property
    def bins(self) -> Tensor:
        """Centres of k-means on the sample: what stands for modes where none are known."""
        return k_means(one(self.sample, "real", at_least=20))

    @cached_property
    def modes(self) -> Tensor:
        """``modes_of`` the sample."""
        return self.modes_of(self.sample)

    @cached_property
    def taught(self) -> float:
        """Accuracy on held-out data of a classifier that was taught with the training data and jitter."""
        assert self.examples is not None
        real, held_out = self.examples
        return float(accuracy(MIXES[BASE], real, real, held_out, seed=0).float().mean())

    @property
    def modes_known(self) -> bool:
        """Whether the data say what their modes are."""
        return bool(self.space.centers) or self.classify is not None

    def modes_of(self, features: Tensor) -> Tensor:
        """The nearest true centre of each row, or its class, or its bin."""
        if self.classify is not None:
            return self.classify(features)
        centers = torch.tensor(self.space.centers, dtype=torch.float64) if self.space.centers else self.bins
        return nearest(one(features, "fake"), centers)


class Comparison(NamedTuple):
    """What a measure may look at: the reals, features (m, d) of generated samples, in an autoencoder's family what
    becomes of real examples, in a translator's what samples were made from, what conditions they were asked for, and of
    text the strings themselves, of clips how they move; ``pictures`` (m, c, h, w) are the samples themselves, where a
    measure needs them; ``critic`` is a GAN's discriminator.
    """

    real: Reals
    fake: Tensor
    coded: Coded | None = None
    translated: Translated | None = None
    asked: Tensor | None = None
    pictures: Tensor | None = None
    written: Written | None = None
    critic: nn.Module | None = None
    moved: Moved | None = None


Measure = Callable[[Comparison], dict[str, float]]


def _fid(c: Comparison) -> dict[str, float]:
    """``misfit`` is the distance over that between the data and one average picture: 1 is bad, whatever the scale."""
    fid, spread = distance_to(c.real.gaussian, c.fake), float(c.real.gaussian.factor.square().sum())
    return {"fid": fid, "misfit": fid / spread if spread > 0 else math.nan}


def _kid(c: Comparison) -> dict[str, float]:
    return {"kid": kernel_distance(c.real.sample, c.fake)}


def _fid_infinity(c: Comparison) -> dict[str, float]:
    return {"fid_infinity": frechet_distance_infinity(c.real.train, c.fake)}


def _mind(c: Comparison) -> dict[str, float]:
    return {"mind": sliced_distance(c.real.sample, c.fake)}


def _prdc(c: Comparison) -> dict[str, float]:
    if c.written:
        raise FeatureError("balls around strings that repeat have no radius; ngram_precision and ngram_recall do")
    return prdc(c.real.sample, c.fake[: len(c.real.sample)], radii=c.real.radii)


def _diversity(c: Comparison) -> dict[str, float]:
    return {"diversity": c.real.diversity.relative(c.fake[: len(c.real.sample)])}


def _duplicates(c: Comparison) -> dict[str, float]:
    return {"duplicates": duplicates(c.real.sample, c.fake)}


def _bins(c: Comparison) -> dict[str, float]:
    return missing_bins(c.real.train, c.fake)


PERCENT = 100  # held-out examples: of fewer the nearest is no hundredth


def _memorised(c: Comparison) -> dict[str, float]:
    return {"memorised": _memory(c)["memorised"]}


def _copies(c: Comparison) -> dict[str, float]:
    if len(c.real.held_out) < PERCENT:
        raise FeatureError(f"{len(c.real.held_out)} examples are held out, {PERCENT} are needed to tell it from chance")
    return {"copies": _memory(c)["copies"]}


def _memory(c: Comparison) -> dict[str, float]:
    if not c.real.complete:
        raise FeatureError(f"{len(c.real.train):,} real examples are kept, and copies of others would not be seen")
    return memorisation(c.real.train, c.real.held_out, c.fake)


def _modes(c: Comparison) -> dict[str, float]:
    space = c.real.space
    if space.centers:
        return mode_report(c.fake, torch.tensor(space.centers), space.std)
    if not c.real.modes_known:
        raise FeatureError("modes are known only for data with centres (ring, grid) or digits under digits-cnn")
    return class_report(c.real.modes_of(c.fake), space.classes)


def _mode_diversity(c: Comparison) -> dict[str, float]:
    """A translation that heeds its input differs from picture to picture as the data do; where its content can be read,
    no more counts than is kept of it: a scrambled picture is no mode of the data. Neither is a clip that stands still
    or flickers.
    """
    if c.translated:
        kept = _content(c)["content"] if c.translated.labels is not None and c.real.classify else 1.0
        return {"mode_diversity": min(sensitivity(c.real.sample, c.fake), kept)}
    if c.written:
        return {"mode_diversity": relative_perplexity(c.written)}
    modes = relative_mode_diversity(c.real.modes, c.real.modes_of(c.fake))
    return {"mode_diversity": modes * c.moved.steadiness if c.moved else modes}


def _content(c: Comparison) -> dict[str, float]:
    if not c.translated or c.translated.labels is None or not c.real.classify:
        raise FeatureError("content is known of translations whose classes an extractor can read (painted-cnn)")
    return content(c.translated.labels, c.real.classify(c.fake))


def _spread(c: Comparison) -> dict[str, float]:
    if not c.translated:
        raise FeatureError("the spread of styles is measured of translations")
    return {"spread": spread(c.translated.real_styles, c.translated.styles)}


def _lessons(c: Comparison) -> dict[str, float]:
    """``cas``: accuracy on held-out data of a classifier that has seen samples only; ``gain``: what samples add to real
    data with jitter, in shares.
    """
    examples = c.real.examples
    if c.pictures is None or c.asked is None or c.asked.ndim > 1 or examples is None or examples[1].labels is None:
        raise FeatureError("a classifier learns from samples of known classes; real ones must be held in memory")
    real, held_out = examples
    samples = Examples(c.pictures, c.asked)
    cas, both = (float(accuracy(MIXES[m], real, samples, held_out, seed=0).float().mean()) for m in ("samples", BEST))
    return {"cas": cas, "gain": both - c.real.taught}


def _of_text(measure: Callable[[Written], dict[str, float]]) -> Measure:
    def taken(c: Comparison) -> dict[str, float]:
        if c.written is None:
            raise FeatureError("strings are compared of text only")
        return measure(c.written)

    return taken


_language, _strings, _ngrams = map(_of_text, (of_language, of_strings, of_ngrams))

METRICS: dict[str, Measure] = {
    "fid": _fid,
    "misfit": _fid,
    "kid": _kid,
    "fid_infinity": _fid_infinity,
    "mind": _mind,
    "precision": _prdc,
    "recall": _prdc,
    "density": _prdc,
    "coverage": _prdc,
    "diversity": _diversity,
    "duplicates": _duplicates,
    "ndb": _bins,
    "missing_bins": _bins,
    "memorised": _memorised,
    "copies": _copies,
    "modes": _modes,
    "strict_modes": _modes,
    "high_quality": _modes,
    "reverse_kl": _modes,
    "mode_diversity": _mode_diversity,
    "mse": of_errors,
    "mse_share": of_errors,
    "reconstruction_fid": of_reconstructions,
    "active_units": of_units,
    "active_share": of_units,
    "kl": of_divergence,
    "kl_per_unit": of_divergence,
    "code_modes": of_divergence,
    "content": _content,
    "spread": _spread,
    "w2": of_circle,
    "worst_w2": of_circle,
    "condition_fid": by_condition,
    "worst_condition_fid": by_condition,
    "condition_coverage": by_condition,
    "worst_condition_coverage": by_condition,
    "condition_diversity": within_conditions,
    "attribute_accuracy": of_attributes,
    "worst_attribute": of_attributes,
    "attribute_r2": of_attributes,
    "prevalence_tv": of_prevalence,
    "cas": _lessons,
    "gain": _lessons,
    **dict.fromkeys(("tv", "valid", "hit"), _language),
    **dict.fromkeys(("distinct", "entropy"), _strings),
    **dict.fromkeys(("ngram_tv", "ngram_floor", "ngram_misfit", "ngram_precision", "ngram_recall"), _ngrams),
    "motion_ratio": of_motion,
    "identity": of_law,
    "law_residual": of_law,
    "rule_kept": of_rules,
    "wrong_squares": of_rules,
    "forbidden": of_rules,
    **dict.fromkeys(("membership_auc", "membership_auc_low"), of_membership),
}

OF_PICTURES = (_lessons, of_rules, of_prevalence)
"""Measures that look at the samples themselves."""
