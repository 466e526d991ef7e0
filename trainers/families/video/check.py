"""Settings that are each fine and together can't make clips. Needs no torch."""

from __future__ import annotations

from trainers.check import CLIPS, Problems, resolution_problems, unknown_names, unused
from trainers.config import Config

NAMES = {
    "model.generator": ("mlp", "dcgan", "resnet", "r3gan"),
    "model.discriminator": ("mlp", "maxout", "dcgan", "resnet", "r3gan"),
    "train.loss": ("minimax", "non_saturating", "least_squares", "hinge", "wasserstein", "relativistic"),
}
NOT_HERE = ("gp_lambda", "packing", "n_dis", "augment", "ada_target", "compile", "balanced", "mismatched")
OF_A_LAW = ("identity", "law_residual")
"""Measures that need clips which are drawn by code."""


def problems(config: Config, ranks: int, on_gpu: bool) -> Problems:
    """All that can be said from the settings alone."""
    return [*unknown_names(config, NAMES), *resolution_problems(config), *_clips(config), *_networks(config)]


def _clips(config: Config) -> Problems:
    data, video, found = config.data, config.video, []
    if data.name not in CLIPS and ":" not in data.name:
        found.append(("data.name", f"{data.name!r} is no clips; use {' or '.join(CLIPS)}"))
    if video.seen > data.frames:
        message = f"{video.seen} frames can't be seen at once of clips of {data.frames}; use at most {data.frames}"
        found.append(("video.seen", message))
    for measure in OF_A_LAW if data.name == "clips" else ():
        if measure in config.evaluate.metrics:
            message = f"{measure!r} needs clips that are drawn by code; use motion_ratio and fid"
            found.append(("evaluate.metrics", message))
    return found


def _networks(config: Config) -> Problems:
    model, found = config.model, []
    if config.video.motion_dim >= model.latent_dim:
        message = f"{config.video.motion_dim} of {model.latent_dim} latents leave none to the content; use fewer"
        found.append(("video.motion_dim", message))
    for player in ("generator", "discriminator"):
        if ":" in (name := getattr(model, player)):
            message = f"{name!r}: networks of your own can't make clips yet; use {NAMES[f'model.{player}'][1]!r}"
            found.append((f"model.{player}", message))
        if getattr(model, f"{player}_norm") == "batch":
            message = "batch norm would mix the frames of clips; use 'none'"
            found.append((f"model.{player}_norm", message))
    if model.conditional:
        found.append(("model.conditional", "clips are made without labels here; set it to false"))
    return [*found, *unused(config, NOT_HERE, "clips")]
