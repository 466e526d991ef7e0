"""The table of families. This file and ``check.py`` in a family's room need no torch; ``room.py`` has the rest."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from trainers.config import Config
    from trainers.family import Family


class Entry(NamedTuple):
    """A family's room, and the groups of settings and the measures that no other family knows. ``translates``: what it
    keeps is given pictures of ``data.source``, not seeds. ``writes``: it learns from text. ``moves``: it
    learns from clips, and makes them of any number of frames. ``alone``: its methods without a discriminator.
    """

    room: str
    groups: tuple[str, ...] = ()
    measures: tuple[str, ...] = ()
    translates: bool = False
    writes: bool = False
    moves: bool = False
    alone: tuple[str, ...] = ()

    def open(self) -> Family:
        """What it brings."""
        found: Family = import_module(f"{self.room}.room").FAMILY
        return found

    def problems(self, config: Config, ranks: int, on_gpu: bool) -> list[tuple[str, str]]:
        """Settings that are each fine and together cannot train in this family: (dotted name, what is wrong)."""
        found: list[tuple[str, str]] = import_module(f"{self.room}.check").problems(config, ranks, on_gpu)
        return found


FAMILIES = {
    "gan": Entry("trainers.families.gan", measures=("membership_auc", "membership_auc_low")),
    "autoencode": Entry(
        "trainers.families.autoencode",
        groups=("autoencode",),
        measures=(
            "mse",
            "mse_share",
            "reconstruction_fid",
            "active_units",
            "active_share",
            "kl",
            "kl_per_unit",
            "code_modes",
        ),
        alone=("ae", "vae"),
    ),
    "translate": Entry(
        "trainers.families.translate", groups=("translate",), measures=("content", "spread"), translates=True
    ),
    "text": Entry(
        "trainers.families.text",
        groups=("text",),
        measures=(
            *("tv", "valid", "hit", "distinct", "entropy"),
            *("ngram_tv", "ngram_floor", "ngram_misfit", "ngram_precision", "ngram_recall"),
        ),
        writes=True,
        alone=("mle",),
    ),
    "video": Entry(
        "trainers.families.video", ("video",), measures=("identity", "law_residual", "motion_ratio"), moves=True
    ),
}


def foreign(config: Config) -> Iterator[tuple[str, str]]:
    """Groups of settings that say something, and measures that are asked for, and are another family's: the group, or
    ``evaluate.metrics.NAME``, and whose it is.
    """
    mine = FAMILIES[config.family]
    for name, entry in FAMILIES.items():
        for group in entry.groups:
            if group not in mine.groups and getattr(config, group) != type(config).model_fields[group].default:
                yield group, name
        for measure in entry.measures:
            if measure not in mine.measures and measure in config.evaluate.metrics:
                yield f"evaluate.metrics.{measure}", name
