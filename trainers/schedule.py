"""How a value changes over a training."""

from __future__ import annotations

import math
from typing import Literal


def share(schedule: Literal["constant", "linear", "cosine"], final: float, progress: float) -> float:
    """The factor at ``progress`` in [0, 1]: from 1 to ``final`` along a line or half a cosine; constant stays 1."""
    if schedule == "constant":
        return 1.0
    left = 1 - min(progress, 1.0)
    if schedule == "cosine":
        left = (1 - math.cos(math.pi * left)) / 2
    return final + (1 - final) * left
