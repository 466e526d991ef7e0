"""What follows from how data are drawn, where they are drawn by code and the rule is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainers.metrics.conditions import of_attributes
from trainers.metrics.features import FeatureError

if TYPE_CHECKING:
    from trainers.metrics.table import Comparison


def of_rules(c: Comparison) -> dict[str, float]:
    """``Dataset.known`` of the samples."""
    if c.real.known is None or c.pictures is None:
        raise FeatureError("the rules are known of flags only")
    return c.real.known(c.pictures)


def of_prevalence(c: Comparison) -> dict[str, float]:
    """By the rules where these are known, else by what a reader sees."""
    return of_rules(c) if c.real.known else of_attributes(c)
