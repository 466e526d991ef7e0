"""The verdict on a training: is it healthy, suspect, collapsed or diverged, and why, in words and numbers.

No setting per data set is needed: every signal is relative to the real data or to the run's own past.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from trainers import config
from trainers.report import Health, Verdict

WATCHED = ("coverage", "diversity")
"""The measures that every evaluation takes, whatever else it was asked for."""


@dataclass(frozen=True)
class Threshold:
    """Below ``low`` a measure speaks of collapse; it has recovered once it is above ``high`` again."""

    low: float
    high: float
    source: str


THRESHOLDS = {
    # Seven of eight modes lost gives .12 (coverage) and .14 (diversity); a constant generator gives less than .01 and
    # .2.
    "coverage": Threshold(0.10, 0.15, "own: ring with 1 of 8 modes left, 1,000 samples"),
    "diversity": Threshold(0.20, 0.30, "own: ring with 1 of 8 modes left, 1,000 samples"),
}
CONFIRM = 2
"""Evaluations in a row that must agree before a suspicion is called a collapse: the generator of one moment may
oscillate."""


@dataclass
class _Memory:
    """All that the verdict remembers; JSON-able."""

    verdict: Verdict = "healthy"
    low_in_a_row: int = 0


class HealthMonitor:
    """Fed at each report, answers the verdict. ``diverged`` is final; ``collapsed`` ends when the measures recover."""

    def __init__(self, settings: config.Health) -> None:
        self.settings = settings
        self._memory = _Memory()

    def observe(
        self, images: int, losses: Mapping[str, float], signals: Mapping[str, float], metrics: Mapping[str, float]
    ) -> Health:
        """The verdict after ``images``; ``signals["nonfinite"]`` counts losses and gradients that were NaN or
        infinite."""
        memory = self._memory
        broken = _broken(losses, signals)
        if broken or memory.verdict == "diverged":
            memory.verdict = "diverged"
            return Health("diverged", tuple(broken) or ("diverged earlier",), dict(signals))
        low = _low(metrics, already_low=memory.low_in_a_row > 0)
        memory.low_in_a_row = memory.low_in_a_row + 1 if low else 0
        memory.verdict = "collapsed" if memory.low_in_a_row >= CONFIRM else "suspect" if low else "healthy"
        return Health(memory.verdict, tuple(low), dict(signals))

    def state_dict(self) -> dict[str, Any]:
        """What a resumed training needs to judge on as if it had never stopped."""
        return asdict(self._memory)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from a ``state_dict``."""
        self._memory = _Memory(**state)


def _broken(losses: Mapping[str, float], signals: Mapping[str, float]) -> list[str]:
    reasons = [f"the {name} loss is {value}" for name, value in losses.items() if not math.isfinite(value)]
    if signals.get("nonfinite", 0) > 0:
        reasons.append(f"{signals['nonfinite']:.0f} losses or gradients were NaN or infinite")
    return reasons


def _low(metrics: Mapping[str, float], already_low: bool) -> list[str]:
    """A reason for each watched measure that speaks of collapse."""
    reasons = []
    for name, threshold in THRESHOLDS.items():
        limit = threshold.high if already_low else threshold.low
        if metrics.get(name, math.inf) < limit:
            reasons.append(f"{name} is {metrics[name]:.3g} of the real data's, below {limit:g}")
    return reasons
