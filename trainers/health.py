"""The verdict on a training: is it healthy, suspect, collapsed or diverged, and why, in words and numbers.

No setting per data set is needed: every signal is relative to the real data or to the run's own past.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from trainers import config
from trainers.report import Health, Verdict

WATCHED = ("coverage", "diversity")
"""The measures that every evaluation takes, whatever else it was asked for."""


THRESHOLDS = {
    "diversity floor": 0.20,  # ring: one mode of eight gives 0.14, two give 0.27 (tests/metrics/test_diversity.py)
    "growth": 1.2,  # a generator under its floor that gains a fifth per report is still learning
    "diversity fall": 0.4,  # share of the run's best
    "coverage fall": 0.25,  # share of the run's best; swings by half are ordinary between evaluations
    "learned": 0.3,  # only what was once this good can fall: coverage stays near 0 until pictures are sharp
}
"""Every number the verdict depends on: shares of the real data's value or of the run's own best."""

CONFIRM = 2
"""Evaluations in a row that must agree before a suspicion is called a collapse: a single one may be an oscillation."""


@dataclass
class _Memory:
    """All that the verdict remembers; JSON-able."""

    diverged: bool = False
    bad_in_a_row: int = 0
    last: dict[str, float] = field(default_factory=dict)
    best: dict[str, float] = field(default_factory=dict)


class HealthMonitor:
    """Fed at each report, answers the verdict. ``diverged`` is final; ``collapsed`` ends when the measures recover."""

    def __init__(self, settings: config.Health) -> None:
        self.settings = settings
        self._memory = _Memory()

    def observe(
        self, images: int, losses: Mapping[str, float], signals: Mapping[str, float], metrics: Mapping[str, float]
    ) -> Health:
        """The verdict after ``images``; ``signals["nonfinite"]`` counts losses and gradients that were not finite."""
        memory = self._memory
        broken = _broken(losses, signals)
        if broken or memory.diverged:
            memory.diverged = True
            return Health("diverged", tuple(broken) or ("it diverged earlier",), dict(signals))
        reasons = _never_diverse(metrics, memory.last) + _fallen(metrics, memory.best)
        memory.bad_in_a_row = memory.bad_in_a_row + 1 if reasons else 0
        for name in WATCHED:
            if name in metrics:
                memory.last[name] = metrics[name]
                memory.best[name] = max(metrics[name], memory.best.get(name, 0.0))
        verdict: Verdict = "collapsed" if memory.bad_in_a_row >= CONFIRM else "suspect" if reasons else "healthy"
        return Health(verdict, tuple(reasons), dict(signals))

    @property
    def diverged(self) -> bool:
        """Whether that was the verdict once."""
        return self._memory.diverged

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


def _never_diverse(metrics: Mapping[str, float], last: Mapping[str, float]) -> list[str]:
    """A generator that makes few different things, and does not learn to make more."""
    if "diversity" not in metrics or "diversity" not in last:
        return []
    now, before = metrics["diversity"], last["diversity"]
    if now < THRESHOLDS["diversity floor"] and now < THRESHOLDS["growth"] * before:
        return [f"diversity is {now:.2g} of the real data's and does not grow ({before:.2g} at the report before)"]
    return []


def _fallen(metrics: Mapping[str, float], best: Mapping[str, float]) -> list[str]:
    """Measures that were good once and are far from it now."""
    return [
        f"{name} fell from {best[name]:.2g} to {metrics[name]:.2g}"
        for name in WATCHED
        if name in metrics
        and best.get(name, 0.0) >= THRESHOLDS["learned"]
        and metrics[name] < THRESHOLDS[f"{name} fall"] * best[name]
    ]
