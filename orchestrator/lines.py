"""Append-only files of lines, which a killed writer may leave with half a line at the end."""

from __future__ import annotations

import os
from pathlib import Path


def cut_torn_line(path: Path) -> None:
    """Cuts a tail without its line feed: the next append would glue to it and make both unreadable."""
    with path.open("rb+") as file:
        size = file.seek(0, os.SEEK_END)
        if size == 0:
            return
        file.seek(-1, os.SEEK_END)
        if file.read(1) != b"\n":
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)
