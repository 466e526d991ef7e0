"""Settings that are each fine and together can't train a GAN. Needs no torch."""

from __future__ import annotations

from trainers.check import BUILT_IN, Problems, resolution_problems, unknown_names
from trainers.config import Config

WITHOUT = {"generator": ("r3gan",), "discriminator": ("maxout", "r3gan")}  # normalisation
SHIFTED = ("least_squares", "wasserstein", "relativistic")  # losses under which D = 0 means nothing
NAMES = {
    "model.generator": ("mlp", "dcgan", "resnet", "r3gan"),
    "model.discriminator": ("mlp", "maxout", "dcgan", "resnet", "r3gan"),
    "train.loss": ("minimax", "non_saturating", "least_squares", "hinge", "wasserstein", "relativistic"),
}


def problems(config: Config, ranks: int, on_gpu: bool) -> Problems:
    """All that can be said from the settings alone."""
    return [
        *unknown_names(config, NAMES),
        *resolution_problems(config),
        *_networks(config, ranks, on_gpu),
        *_views(config),
    ]


def _networks(config: Config, ranks: int, on_gpu: bool) -> Problems:
    model, train, found = config.model, config.train, []
    for player, way_out in (("generator", "'none'"), ("discriminator", "'spectral' or 'none'")):
        if ranks > 1 and not on_gpu and getattr(model, f"{player}_norm") == "batch":
            message = f"batch norm over {ranks} ranks is exact on GPUs only; use {way_out}, or one rank"
            found.append((f"model.{player}_norm", message))
    for player, norms in WITHOUT.items():
        network, norm = getattr(model, player), getattr(model, f"{player}_norm")
        if network in norms and norm != "none":
            found.append((f"model.{player}_norm", f"{network!r} has no normalisation; use 'none'"))
    for name in ("r1_gamma", "r2_gamma", "gp_lambda"):
        if getattr(train, name) > 0 and model.discriminator_norm == "batch":
            message = (
                "a gradient penalty per example means nothing where batch norm mixes them; use 'spectral' or 'none'"
            )
            found.append((f"train.{name}", message))
    return found


def _views(config: Config) -> Problems:
    model, train, found = config.model, config.train, []
    known = BUILT_IN.get(config.data.name)
    if not model.conditional:
        for name in ("embedding_dim", "frequencies", "label_drop"):
            if getattr(model, name):
                found.append((f"model.{name}", "is for conditional models; set model.conditional, or leave it out"))
        if train.mismatched:
            found.append(("train.mismatched", "is for conditional models; set model.conditional, or leave it out"))
        for name in ("cas", "gain"):
            if name in config.evaluate.metrics:
                message = "samples without a class teach a classifier nothing; set model.conditional, or leave it out"
                found.append((f"evaluate.metrics.{name}", message))
    if train.packing > 1 and {"membership_auc", "membership_auc_low"} & {*config.evaluate.metrics}:
        found.append(
            ("evaluate.metrics.membership_auc", "a pack is judged as one; use train.packing 1, or leave it out")
        )
    if model.conditional and train.packing > 1:
        found.append(("train.packing", "a pack holds several classes, and a conditional model judges by one; use 1"))
    if train.augment and known and not known.side:
        found.append(("train.augment", f"is for images, and {config.data.name!r} is points; leave it empty"))
    if len(set(train.augment)) < len(train.augment):
        found.append(("train.augment", "names a policy twice; name each once"))
    if train.compile and (
        train.augment
        or train.gp_lambda
        or train.mismatched
        or {model.generator_norm, model.discriminator_norm} != {"none"}
    ):
        message = "can't be combined with augmentation, WGAN-GP's penalty, mismatches or normalisation; set it to false"
        found.append(("train.compile", message))
    if train.ada_target is not None and not train.augment:
        found.append(("train.ada_target", "has nothing to control; name policies in train.augment"))
    if train.ada_target is not None and train.loss in SHIFTED:
        message = f"goes by the sign of D(real), which means nothing under {train.loss!r}; leave it out"
        found.append(("train.ada_target", message))
    return found
