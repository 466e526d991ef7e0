"""What a rank does at this moment, for whoever watches it from another thread, and what is asked of it from there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

Doing = Literal["idle", "stepping", "working"]


class Pulse:
    """``doing``: ``stepping`` while the next step is due soon; ``working`` while a batch is read or the generator is
    measured, which may take minutes; ``idle`` otherwise: between two reports, and before the first step after one,
    which may compile or wait for a slow start.
    """

    def __init__(self) -> None:
        self.moves, self.images = 0, 0
        """Steps made, batches and measures taken, of which a rank that hangs makes no more; images shown in all."""
        self.doing: Doing = "idle"
        self.collective = 0.0
        """Seconds that the all-reduces of a step took when last measured; 0 for a rank alone."""
        self.stop = False
        """Asked for from outside: the training is to end where it is, with a checkpoint, as soon as it can."""

    def step(self, images: int) -> None:
        """A step is made, and ``images`` shown in all."""
        self.moves, self.images, self.doing = self.moves + 1, images, "stepping"

    def measured(self) -> None:
        """A batch of what the generator makes is taken, or a measure begun."""
        self.moves += 1

    @contextmanager
    def working(self) -> Iterator[None]:
        """Within is done what may take minutes."""
        before, self.doing = self.doing, "working"
        yield
        self.doing = before

    def rest(self) -> None:
        """The next step is a while away."""
        self.doing = "idle"
