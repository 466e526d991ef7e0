"""Settings that are each fine and together can't train a translation. Needs no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainers.check import BUILT_IN, Problems, of_other_methods, unknown_names, unused
from trainers.config import Config

if TYPE_CHECKING:
    from trainers.data import Dataset

NAMES = {
    "model.generator": ("resnet",),
    "model.discriminator": ("patch",),
    "train.loss": ("minimax", "non_saturating", "least_squares", "hinge", "wasserstein", "relativistic"),
}
OF_METHOD = {
    **dict.fromkeys(("lambda_cycle", "pool"), ("cycle",)),
    **dict.fromkeys(("lambda_nce", "temperature", "patches"), ("cut",)),
}
FEWEST_PATCHES = 3  # in a row, after the halvings
NOT_HERE = ("r2_gamma", "gp_lambda", "packing", "n_dis", "augment", "ada_target", "compile", "balanced", "mismatched")


def problems(config: Config, ranks: int, on_gpu: bool) -> Problems:
    """All that can be said from the settings alone."""
    return [
        *unknown_names(config, NAMES),
        *_domains(config),
        *_networks(config),
        *of_other_methods(config, "translate", OF_METHOD),
        *unused(config, NOT_HERE, "translations"),
    ]


def source_problems(config: Config, data: Dataset) -> Problems:
    """What shows only once both domains are read."""
    found: Problems = []
    if data.source is None:
        found.append(("data.source", f"{config.data.name!r} is one domain, and a translation needs two"))
    elif len(data.source) < (batch := config.train.batch_size):
        message = f"{batch} is more than the {len(data.source)} training examples of data.source; use at most that"
        found.append(("train.batch_size", message))
    if data.source and data.source.space.shape != data.space.shape:
        message = f"is of shape {data.source.space.shape}, and the target {data.space.shape}; they must be alike"
        found.append(("data.source", message))
    return found


def _domains(config: Config) -> Problems:
    data, known = config.data, BUILT_IN.get(config.data.name)
    if known and not known.translated:
        pairs = ", ".join(name for name, one in BUILT_IN.items() if one.translated)
        return [
            ("data.name", f"{data.name!r} is one domain, and a translation needs two; use {pairs}, images, parquet")
        ]
    if data.name in ("images", "parquet") and not data.source:
        return [("data.source", "a translation needs a second place: that of the pictures which are translated")]
    if not known and data.resolution % 4:
        return [("data.resolution", f"translators halve pictures and double them again: not {data.resolution} pixels")]
    return []


def _networks(config: Config) -> Problems:
    model, found = config.model, []
    for player in ("generator", "discriminator"):
        if getattr(model, f"{player}_norm") != "none":
            found.append((f"model.{player}_norm", "both networks have instance norm; use 'none'"))
    side = known.side if (known := BUILT_IN.get(config.data.name)) else config.data.resolution
    depth = model.discriminator_depth or model.depth
    if side >> depth < FEWEST_PATCHES:
        most = (side // FEWEST_PATCHES).bit_length() - 1
        message = f"{depth} halvings leave too little of {side} pixels to judge patches by; use at most {most}"
        found.append(("model.discriminator_depth", message))
    if model.conditional:
        found.append(("model.conditional", "a translation has pictures as its condition; set it to false"))
    return found
