"""Whether what moves stays what it is, and moves as it should.

Distances between single frames say nothing of that: frozen and shuffled clips have real frames, and FVD hardly sees a
wrong order either (Ge, CVPR 2024). So clips are described with their changes, the amount of motion is measured, and
where clips are drawn by code, so are identity and the law of motion.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from trainers.data.dataset import Law
from trainers.metrics.features import FeatureError

if TYPE_CHECKING:
    from trainers.metrics.table import Comparison


class Moved(NamedTuple):
    """Of generated clips how much changes from frame to frame (m,), and of real ones on average; where the law is
    known, the ``classes`` that are read in each frame (m, frames) and the ``paths`` (m, frames, 2).
    """

    motion: Tensor
    real_motion: float
    law: Law | None = None
    classes: Tensor | None = None
    paths: Tensor | None = None

    @property
    def ratio(self) -> float:
        """Of mean amounts of motion, generated to real: 0 where clips are frozen, well above 1 where they flicker."""
        return float(self.motion.double().mean()) / self.real_motion

    @property
    def steadiness(self) -> float:
        """1 where clips move as much as real ones, near 0 where they hardly do or far more."""
        return min(self.ratio, 1 / self.ratio) if self.ratio > 0 else 0.0


def motion(clips: Tensor) -> Tensor:
    """Mean absolute change from frame to frame (n,) of clips (n, frames, C, H, W)."""
    return clips.float().diff(dim=1).abs().flatten(1).mean(1)


def of_motion(c: Comparison) -> dict[str, float]:
    """``motion_ratio``: how much changes from frame to frame, over that in real clips. Raises FeatureError."""
    if c.moved is None:
        raise FeatureError("motion is measured of clips only")
    return {"motion_ratio": c.moved.ratio}


def of_law(c: Comparison) -> dict[str, float]:
    """``identity``: share of clips in which one class is read in every frame; ``law_residual``: distance of paths from
    the nearest that obey the law, in pixels, the mean over clips. Raises FeatureError.
    """
    if c.moved is None or c.moved.law is None or c.moved.classes is None or c.moved.paths is None:
        raise FeatureError("identity and the law of motion are known of moving-digits only")
    same = torch.eq(c.moved.classes, c.moved.classes[:, :1]).all(1)
    return {
        "identity": float(same.double().mean()),
        "law_residual": float(c.moved.law.residuals(c.moved.paths).mean()),
    }
