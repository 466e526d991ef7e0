"""What a rank does at this moment, for whoever watches it from another thread, and what is asked of it from there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class Pulse:
    """``stepping`` while the next step is due soon: neither before the first after a pause, which may compile or wait
    for a slow start, nor while data are read, the generator is measured or a checkpoint is written.
    """

    def __init__(self) -> None:
        self.steps, self.images, self.stepping = 0, 0, False
        self.stop = False
        """Asked for from outside: the training is to end where it is, with a checkpoint, as soon as it can."""

    def step(self, images: int) -> None:
        """A step is made, and ``images`` shown in all."""
        self.steps, self.images, self.stepping = self.steps + 1, images, True

    def rest(self) -> None:
        """The next step is a while away."""
        self.stepping = False

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Within is done what may take as long as it likes."""
        before, self.stepping = self.stepping, False
        yield
        self.stepping = before
