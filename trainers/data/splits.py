"""Folders and files that are called ``train``, ``test`` or ``val`` are parts of a data set, and no classes of it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

TRAINING = ("train", "training")
HELD_OUT = ("test", "testing", "val", "valid", "validation", "dev", "eval")  # the first that is there counts
_FILE = re.compile(r"([a-z]+)(?:[-_.].*)?")


class Splits(NamedTuple):
    """Names of the parts: what to train on, what to hold out (or None), and what else there is."""

    train: str
    held_out: str | None
    others: list[str]

    def told(self, used: bool) -> str:
        """One sentence on what is done with them; ``used``: whether ``held_out`` could be taken."""
        aside = [*([] if used or not self.held_out else [self.held_out]), *self.others]
        held = f"held out is '{self.held_out}'" if used else "every tenth is held out"
        return f"trained on is '{self.train}', {held}" + (f", left aside is {', '.join(aside)}" if aside else "")


def chosen(names: Iterable[str]) -> Splits | None:
    """Which of some parts of a data set to use; None where their names say nothing."""
    known = {name.lower(): name for name in names}
    train = next((known[name] for name in TRAINING if name in known), None)
    if train is None or not known.keys() <= {*TRAINING, *HELD_OUT}:
        return None
    held_out = next((known[name] for name in HELD_OUT if name in known), None)
    return Splits(train, held_out, [name for name in known.values() if name not in (train, held_out)])


def split_of(path: str) -> str | None:
    """Of a file such as ``train-00000-of-00002.parquet`` or ``test/0000.parquet``, by its own name or its folder's."""
    for part in reversed(path.split("/")):
        found = _FILE.fullmatch(part.lower())
        if found and found[1] in (*TRAINING, *HELD_OUT):
            return found[1]
    return None
