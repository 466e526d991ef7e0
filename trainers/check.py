"""Settings that are each fine and together cannot train, found before anything starts. Needs no torch."""

from __future__ import annotations

from trainers.config import Config

EXAMPLES = {"digits": (1_437, 8), "ring": (100_000, None), "grid": (100_000, None)}
POINTS = ("ring", "grid")
CONVOLUTIONAL = ("dcgan",)


def problems(config: Config, ranks: int = 1) -> list[tuple[str, str]]:
    """Every (dotted name, what is wrong and the way out); empty where the settings can train on so many ranks."""
    return [*_batch(config, ranks), *_resolution(config), *_networks(config, ranks)]


def _batch(config: Config, ranks: int) -> list[tuple[str, str]]:
    batch, images = config.train.batch_size, config.train.images
    found = []
    if batch % ranks:
        near = max(batch // ranks, 1) * ranks
        found.append(("train.batch_size", f"{batch} can't be shared by {ranks} ranks; {near} can"))
    if images < batch:
        found.append(("train.images", f"{images} is less than one batch of {batch}; train longer"))
    size, _ = EXAMPLES.get(config.data.name, (None, None))
    if size is not None and batch > size:
        found.append(("train.batch_size", f"{batch} is more than the {size} training examples of {config.data.name!r}"))
    return found


def _resolution(config: Config) -> list[tuple[str, str]]:
    _, native = EXAMPLES.get(config.data.name, (None, None))
    resolution = config.data.resolution
    if native is not None and resolution != native:
        return [("data.resolution", f"{config.data.name!r} is {native}x{native}, not {resolution}x{resolution}")]
    found = []
    for player in ("generator", "discriminator"):
        name = getattr(config.model, player)
        if name not in CONVOLUTIONAL:
            continue
        if config.data.name in POINTS:
            found.append((f"model.{player}", f"{name!r} makes images, and {config.data.name!r} is points; use 'mlp'"))
        elif resolution not in (8, 16, 32, 64, 128, 256):
            found.append(("data.resolution", f"{name!r} makes 8, 16, 32, 64, 128 or 256 pixels, not {resolution}"))
    return found


def _networks(config: Config, ranks: int) -> list[tuple[str, str]]:
    found = []
    for player in ("generator", "discriminator"):
        if ranks > 1 and getattr(config.model, f"{player}_norm") == "batch":
            way_out = "'none'" if player == "generator" else "'spectral' or 'none'"
            found.append((f"model.{player}_norm", f"batch norm differs between {ranks} ranks; use {way_out}"))
    return found
