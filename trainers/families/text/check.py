"""Settings that are each fine and together can't learn to write. Needs no torch."""

from __future__ import annotations

from trainers.check import TEXT, Problems, of_other_methods, unknown_names, unused
from trainers.config import Config

NAMES = {
    "model.generator": ("lstm",),
    "model.discriminator": ("conv1d",),
    "train.loss": ("minimax", "non_saturating", "least_squares", "hinge", "wasserstein", "relativistic"),
}
NOT_HERE = ("gp_lambda", "packing", "n_dis", "augment", "ada_target", "compile", "balanced", "mismatched")
OF_A_GRAMMAR = ("tv", "valid", "hit")
"""Measures that need the probability of every string."""


def problems(config: Config, ranks: int, on_gpu: bool) -> Problems:
    """All that can be said from the settings alone."""
    data, model = config.data, config.model
    found = unknown_names(config, NAMES)
    if data.name not in TEXT and ":" not in data.name:
        found.append(("data.name", f"{data.name!r} is no text; use {' or '.join(TEXT)}"))
    if data.name == "lines":
        for measure in set(OF_A_GRAMMAR) & set(config.evaluate.metrics):
            message = f"{measure!r} needs a grammar, which knows how probable every string is; use ngram_tv"
            found.append(("evaluate.metrics", message))
    for player in ("generator", "discriminator"):
        if ":" in (name := getattr(model, player)):
            message = f"{name!r}: networks of your own can't write yet; use {NAMES[f'model.{player}'][0]!r}"
            found.append((f"model.{player}", message))
        if getattr(model, f"{player}_norm") != "none":
            found.append((f"model.{player}_norm", "the networks of text have no normalisation; use 'none'"))
    if model.conditional:
        found.append(("model.conditional", "text has no labels here; set it to false"))
    return [*found, *of_other_methods(config, "text", {"tau": ("gan",)}), *unused(config, NOT_HERE, "text")]
