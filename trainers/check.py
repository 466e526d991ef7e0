"""Settings that are each fine and together cannot train, found before anything starts. Needs no torch.

Each problem is (dotted name, what is wrong and the way out).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from trainers.config import Config, Settings
from trainers.families import FAMILIES, foreign
from trainers.schedule import first_weights

Problems = list[tuple[str, str]]
NAMED = 8  # things that a message names


class BuiltIn(NamedTuple):
    """What is known of a data set without reading it; side 0 is points. ``translated``: it is two domains."""

    examples: int
    side: int
    labelled: bool
    translated: bool = False


BUILT_IN = {
    "digits": BuiltIn(1_437, 8, True),
    "stacked-digits": BuiltIn(128_000, 8, True),
    "painted-digits": BuiltIn(718, 16, True, translated=True),
    "inked-digits": BuiltIn(718, 16, True, translated=True),
    "mixed-digits": BuiltIn(718, 16, True, translated=True),
    "ring": BuiltIn(100_000, 0, False),
    "grid": BuiltIn(100_000, 0, False),
    "circular-gaussians": BuiltIn(1_200, 0, True),
    "weather-scenes": BuiltIn(6_000, 64, True),
    "faces": BuiltIn(6_000, 64, True),
    "flags": BuiltIn(2_000, 32, True),
}
TEXT = ("grammar", "lines")
CLIPS = ("moving-digits", "clips")
NAMES = {
    "data.name": (*BUILT_IN, "images", "parquet", *TEXT, *CLIPS),
    "evaluate.metrics": (
        *("fid", "misfit", "kid", "fid_infinity", "mind", "precision", "recall", "density", "coverage", "diversity"),
        *("duplicates", "ndb", "missing_bins", "memorised", "copies"),
        *("modes", "strict_modes", "high_quality", "reverse_kl", "mode_diversity", "w2", "worst_w2"),
        *("condition_fid", "worst_condition_fid", "condition_coverage", "worst_condition_coverage"),
        *("condition_diversity", "attribute_accuracy", "worst_attribute", "attribute_r2", "prevalence_tv"),
        *("cas", "gain", "rule_kept", "wrong_squares", "forbidden"),
        *(measure for family in FAMILIES.values() for measure in family.measures),
    ),
}


def problems(config: Config, ranks: int = 1, on_gpu: bool = False) -> Problems:
    """All that can be said from the settings alone; empty where they can train on so many ranks."""
    return [
        *_foreign(config),
        *unknown_names(config, NAMES),
        *sharing_problems(config, ranks),
        *_budget(config),
        *_data(config),
        *FAMILIES[config.family].problems(config, ranks, on_gpu),
    ]


def unused(config: Config, names: Sequence[str], family: str) -> Problems:
    """Settings of ``train`` that say something although trainings of ``family`` (in words) have no use for them."""
    return [(f"train.{name}", f"is not for {family}; leave it out") for name in given(config.train, names)]


def given(group: Settings, names: Sequence[str]) -> list[str]:
    """Settings of these names that say something: other than their defaults."""
    return [name for name in names if getattr(group, name) != type(group).model_fields[name].default]


def of_other_methods(config: Config, group: str, methods: Mapping[str, Sequence[str]]) -> Problems:
    """Settings of a family's ``group`` that say something although only other ``methods`` listen to them."""
    settings: Settings = getattr(config, group)
    mine: str = settings.method  # type: ignore[attr-defined]
    idle = given(settings, [name for name, those in methods.items() if mine not in those])
    return [(f"{group}.{name}", f"is for method: {' or '.join(methods[name])}; leave it out") for name in idle]


OF_A_DISCRIMINATOR = (
    *("train.discriminator_lr", "train.loss", "train.r1_gamma", "train.r2_gamma", "train.penalty_interval"),
    *("model.discriminator", "model.discriminator_width", "model.discriminator_depth", "model.discriminator_norm"),
)
"""Settings that a training without one reads over, so that one file serves all methods; nothing to search."""


def method_alone(config: Config) -> str | None:
    """The family's method, where it has no discriminator."""
    family = FAMILIES[config.family]
    method = getattr(getattr(config, family.groups[0]), "method", None) if family.groups else None
    return method if method in family.alone else None


CONVOLUTIONAL = ("dcgan", "resnet", "r3gan")
RESOLUTIONS = (8, 16, 32, 64, 128, 256)
"""Of convolutional networks."""


FEWEST_EVALUATIONS = 3
"""Before trials are compared or a collapse is called; as many as a score is the median of."""
LAGGING = 0.1
"""Share of its first weights from which an averaged generator is not the one that was trained."""


def warnings(config: Config) -> Problems:
    """What can be trained and is hardly meant: comparisons that mean little."""
    train, evaluate, found = config.train, config.evaluate, []
    evaluations = -(-train.images // evaluate.every_images)
    if evaluations < FEWEST_EVALUATIONS:
        message = (
            f"{evaluations} in {train.images:,} images: too few to call a collapse before the end, and a score is a "
            f"median of the last three; evaluate every {max(1, train.images // FEWEST_EVALUATIONS):,} images"
        )
        found.append(("evaluate.every_images", message))
    if (left := first_weights(train.images, train.ema_half_life, train.ema_ramp)) >= LAGGING:
        message = (
            f"after the whole budget of {train.images:,} images the average still holds {left:.0%} of its first "
            "weights; choose a shorter half-life, or train.ema_ramp (0.05)"
        )
        found.append(("train.ema_half_life", message))
    if config.data.intensity and "color" in train.augment:
        message = "'color' changes brightness and contrast, and values in units mean something; leave it out"
        found.append(("train.augment", message))
    features = _features(config)
    if "fid" in evaluate.metrics and evaluate.samples < features:
        message = (
            f"{evaluate.samples:,} samples in {features:,} features: such a FID is biased upwards, and ranks only "
            f"trials of this very sweep; take {features:,} or more, or kid"
        )
        found.append(("evaluate.samples", message))
    return found


def _features(config: Config) -> int:
    """How many features an extractor gives; 0 where only running it would tell."""
    known, side = BUILT_IN.get(config.data.name), min(config.data.resolution, 64)
    name = config.evaluate.extractor
    if name == "random-conv" or (name == "auto" and not known):
        levels = (side // 4).bit_length() + 1  # halved until under 4 pixels
        return 4 * sum((32, 64, 128, 128, 128)[:levels])
    return 0


def data_problems(
    config: Config, examples: int, classes: int, unlabelled: str = "", unmet: Sequence[str] = ()
) -> Problems:
    """What shows only once the data is read: so many training examples, in so many classes (0: no labels, and why), of
    which some are ``unmet``.
    """
    found = []
    batch = config.train.batch_size
    if examples < batch:
        message = f"{batch} is more than the {examples} training examples; use at most {examples}, or bring more data"
        found.append(("train.batch_size", message))
    if config.model.conditional and not classes:
        why = f" ({unlabelled})" if unlabelled else ""
        message = (
            f"a conditional model needs labels, and {config.data.name!r} has none{why}; "
            "label the data or set it to false"
        )
        found.append(("model.conditional", message))
    if config.model.conditional and unmet:
        message = (
            f"no training example has {', '.join(unmet[:NAMED])}{', …' if len(unmet) > NAMED else ''}: nothing can be "
            "learned of it; bring examples, or leave it out of the data's names"
        )
        found.append(("model.conditional", message))
    return found


def _foreign(config: Config) -> Problems:
    return [
        (group, f"is for {family!r}, and this family is {config.family!r}; leave it out, or set family: {family}")
        for group, family in foreign(config)
    ]


def unknown_names(config: Config, names: Mapping[str, tuple[str, ...]]) -> Problems:
    """Settings by dotted name that name a part which is neither known nor code from outside."""
    found = []
    for where, known in names.items():
        group, key = where.split(".")
        value: str | tuple[str, ...] = getattr(getattr(config, group), key)
        for name in (value,) if isinstance(value, str) else value:
            if name in known or ":" in name:
                continue
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            found.append(
                (
                    where,
                    f"unknown name {name!r}{hint} (known: {', '.join(known)}, package.module:Name or ./file.py:Name)",
                )
            )
    return found


def sharing_problems(config: Config, ranks: int) -> Problems:
    """Whether the ranks can share a batch."""
    batch, packing = config.train.batch_size, config.train.packing
    unit = ranks * packing
    if batch % unit == 0:
        return []
    shares = f"{ranks} ranks" if packing == 1 else f"{ranks} ranks in packs of {packing}"
    return [("train.batch_size", f"{batch} can't be shared by {shares}; {-(-batch // unit) * unit} can")]


def resolution_problems(config: Config, players: Sequence[str] = ("generator", "discriminator")) -> Problems:
    """Whether the built-in networks that play make and judge examples of such a size."""
    known, resolution = BUILT_IN.get(config.data.name), config.data.resolution
    found = []
    for player in players:
        name = getattr(config.model, player)
        if name in CONVOLUTIONAL and known and not known.side:
            found.append((f"model.{player}", f"{name!r} makes images, and {config.data.name!r} is points; use 'mlp'"))
        elif name in CONVOLUTIONAL and not known and resolution not in RESOLUTIONS:
            message = f"{name!r} makes {', '.join(map(str, RESOLUTIONS))} pixels, not {resolution}; 'mlp' makes any"
            found.append(("data.resolution", message))
    return found


def _budget(config: Config) -> Problems:
    batch, images = config.train.batch_size, config.train.images
    if images >= batch:
        return []
    return [("train.images", f"{images} is less than one batch of {batch}; train longer or use smaller batches")]


def _intensity(config: Config) -> Problems:
    data, found = config.data, []
    if data.name != "images":
        found.append(("data.intensity", f"is for image folders, and this is {data.name!r}; leave it out"))
    if data.channels != 1:
        found.append(("data.channels", "data.intensity is for grey values; set it to 1"))
    if data.source:
        found.append(("data.intensity", "a translator takes pictures of 8 bits; leave it out"))
    return found


def _data(config: Config) -> Problems:
    data, known, found = config.data, BUILT_IN.get(config.data.name), []
    if known and known.side and data.resolution != known.side:
        message = f"{data.name!r} is {known.side}x{known.side}, not {data.resolution}x{data.resolution}"
        found.append(("data.resolution", message))
    if data.name in ("images", "parquet") and not data.path:
        found.append(("data.path", f"{data.name!r} needs the place of the images"))
    if data.name == "lines" and not data.path:
        found.append(("data.path", "'lines' needs a file of text, a sequence per line"))
    if data.name in TEXT and not FAMILIES[config.family].writes:
        found.append(("data.name", f"{data.name!r} is text, and family {config.family!r} does not write; use 'text'"))
    if data.name == "clips" and not data.path:
        found.append(("data.path", "'clips' needs a folder of clips: animated GIF or WebP files, or folders of frames"))
    if data.name in CLIPS and not FAMILIES[config.family].moves:
        found.append(("data.name", f"{data.name!r} is clips, and family {config.family!r} makes none; use 'video'"))
    if data.intensity:
        found += _intensity(config)
    if data.source and not FAMILIES[config.family].translates:
        found.append(("data.source", "is for a family that translates; leave it out, or set family: translate"))
    return found + (data_problems(config, known.examples, int(known.labelled)) if known else [])
