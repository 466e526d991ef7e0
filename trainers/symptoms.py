"""What losses, gradients and steps say about why a training fails. It explains a suspicion and is never the ground for
one: healthy trainings pass through each of these for a while.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median

CERTAIN = 0.01
"""Loss of a discriminator that has nothing left to learn."""
FAINT, VIOLENT = 0.01, 100.0
"""Gradient norm over the run's median: vanishing (Arjovsky 2017, section 2.1), or exploding."""
HASTY = 0.05
"""Of its weights in one step: .001 is usual, healthy runs of the development group keep under .035."""
USUAL = 64
"""Reports whose median gradient norm is the usual one."""


@dataclass
class Symptoms:
    """Since when the discriminator is certain, and each player's last gradient norms; JSON-able."""

    certain_since: int | None = None
    norms: dict[str, list[float]] = field(default_factory=dict)

    def of(self, images: int, losses: Mapping[str, float], signals: Mapping[str, float]) -> list[str]:
        """In words, at a report after ``images``; each report is to be given once."""
        found = []
        if abs(losses.get("discriminator", math.inf)) >= CERTAIN:
            self.certain_since = None
        elif self.certain_since is None:
            self.certain_since = images
        elif images > self.certain_since:
            since = images - self.certain_since
            found = [f"the discriminator's loss has been under {CERTAIN} for {since} images: it is too strong"]
        for player in ("generator", "discriminator"):
            found += self._of_step(player, signals)
        return found

    def _of_step(self, player: str, signals: Mapping[str, float]) -> list[str]:
        found = []
        if math.isfinite(norm := signals.get(f"{player}_gradient_norm", math.nan)):
            norms = self.norms.setdefault(player, [])
            norms[:] = [*norms, norm][-USUAL:]
            usual = median(norms)
            if not FAINT * usual <= norm <= VIOLENT * usual:
                found.append(f"the {player}'s gradient norm is {norm:.2g}, where {usual:.2g} is usual")
        if (moved := signals.get(f"{player}_update_ratio", 0.0)) > HASTY:
            found.append(f"the {player} moves by {moved:.1%} of its weights in one step: its learning rate is too high")
        return found
