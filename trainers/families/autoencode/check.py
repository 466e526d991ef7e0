"""Settings that are each fine and together can't train an autoencoder. Needs no torch."""

from __future__ import annotations

from trainers.check import Problems, of_other_methods, resolution_problems, unknown_names
from trainers.config import Config

GENERATORS = ("mlp", "dcgan", "resnet", "r3gan")
DISCRIMINATORS = ("mlp", "maxout", "dcgan", "resnet", "r3gan")
LOSSES = ("minimax", "non_saturating", "least_squares", "hinge", "wasserstein", "relativistic")
OF_METHOD = {**dict.fromkeys(("beta", "warmup"), ("vae", "vae-gan")), "gamma": ("vae-gan",)}
UNUSED = ("gp_lambda", "augment", "ada_target", "compile", "mismatched")


def problems(config: Config, ranks: int, on_gpu: bool) -> Problems:
    """All that can be said from the settings alone."""
    adversarial = config.autoencode.method == "vae-gan"
    names = {"train.loss": LOSSES, "model.discriminator": DISCRIMINATORS} if adversarial else {}
    players = ("generator", "discriminator") if adversarial else ("generator",)
    return [
        *unknown_names(config, names),
        *resolution_problems(config, players),
        *_networks(config, players),
        *_moves(config, adversarial),
        *of_other_methods(config, "autoencode", OF_METHOD),
    ]


def _networks(config: Config, players: tuple[str, ...]) -> Problems:
    model, found = config.model, []
    known = {"generator": GENERATORS, "discriminator": DISCRIMINATORS}
    for player in players:
        if ":" in getattr(model, player) or (player == "generator" and model.generator not in GENERATORS):
            message = (
                f"{getattr(model, player)!r} has no encoder or features that are known; use {', '.join(known[player])}"
            )
            found.append((f"model.{player}", message))
        if getattr(model, f"{player}_norm") == "batch":
            message = "with batch norm the code of a picture would depend on its neighbours; use 'none'"
            found.append((f"model.{player}_norm", message))
    if model.conditional:
        found.append(("model.conditional", "autoencoders here are not told classes; set it to false"))
    return found


def _moves(config: Config, adversarial: bool) -> Problems:
    train, found = config.train, []
    for name in UNUSED:
        if getattr(train, name) not in (0, (), None, False):
            found.append((f"train.{name}", "is no part of this family; leave it out"))
    for name in ("n_dis", "packing"):
        if getattr(train, name) != 1:
            found.append((f"train.{name}", "encoder, decoder and discriminator each see every picture once; use 1"))
    if config.autoencode.reconstruction == "feature" and not adversarial:
        message = (
            f"features are a discriminator's, and {config.autoencode.method!r} has none; use 'pixel', or method vae-gan"
        )
        found.append(("autoencode.reconstruction", message))
    return found
