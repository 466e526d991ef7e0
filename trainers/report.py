"""The one value that leaves a training."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Verdict = Literal["unjudged", "healthy", "slow", "suspect", "stuck", "collapsed", "diverged"]

UNDEFINED = "it came out as"
"""In the reason for a measure that was made and is no finite number, as of samples that are all the same."""


@dataclass(frozen=True)
class Health:
    """A judgement on the training so far, with reasons a person understands and the numbers behind them."""

    verdict: Verdict = "healthy"
    reasons: tuple[str, ...] = ()
    signals: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """What a training says of itself at an evaluation.

    ``images`` were shown to the discriminator so far; ``seconds`` is time spent training, over all resumes, without
    evaluation; ``losses`` are means since the report before; ``checkpoint`` and ``samples`` are local paths, or None
    where nothing was written; ``provenance`` says under which conditions ``metrics`` hold; ``rewind`` says in words how
    the training has just gone back to an earlier state, where it has.
    """

    images: int
    seconds: float
    losses: dict[str, float]
    metrics: dict[str, float]
    health: Health
    checkpoint: Path | None = None
    samples: Path | None = None
    provenance: dict[str, str | int | bool] = field(default_factory=dict)
    rewind: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The report line of ``gansweep train --json``."""
        return {
            "images": self.images,
            "seconds": round(self.seconds, 3),
            "losses": self.losses,
            "metrics": self.metrics,
            "health": {
                "verdict": self.health.verdict,
                "reasons": list(self.health.reasons),
                "signals": self.health.signals,
            },
            "checkpoint": str(self.checkpoint) if self.checkpoint else None,
            "provenance": self.provenance,
            "rewind": self.rewind,
        }


def line(report: dict[str, Any]) -> str:
    """``Report.as_dict`` as one line of JSON, where a number that is not finite stands as null."""
    return json.dumps(_finite(report))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
