"""Events on their way to MLflow: appended by the driver, sent by the recorder, never lost in between.

An event is one JSON line with a fixed timestamp, so that sending it twice writes the same points; one with an ``id``
that was appended before (a report trained again after a death) is dropped. How far the recorder came is kept beside, in
``<spool>.sent``.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from orchestrator.lines import cut_torn_line

Event = dict[str, Any]


class Spool:
    """An append-only file of events, with one reader."""

    def __init__(self, path: Path) -> None:
        self._path, self._mark = path, path.with_name(path.name + ".sent")
        self._lock = threading.Lock()
        path.touch()
        cut_torn_line(path)
        with path.open(encoding="utf-8") as file:
            self._ids = {event["id"] for event in map(json.loads, file) if "id" in event}
        self.sent = int(self._mark.read_text() or 0) if self._mark.exists() else 0

    def append(self, event: Event) -> None:
        line = json.dumps(event, separators=(",", ":")) + "\n"
        with self._lock:
            if event.get("id") in self._ids:
                return
            cut_torn_line(self._path)  # of an append that met a full disk
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line)
            self._ids |= {event["id"]} if "id" in event else set()

    def knows(self, identity: str) -> bool:
        """Whether an event with this ``id`` was appended."""
        return identity in self._ids

    def pending(self) -> Iterator[tuple[Event, int]]:
        """Events not yet sent, each with the position behind it, which ``mark`` takes once it is sent."""
        position = self.sent
        with self._path.open("rb") as file:
            file.seek(position)
            for line in file:
                if not line.endswith(b"\n"):
                    return  # still being written
                position += len(line)
                yield json.loads(line), position

    def mark(self, position: int) -> None:
        """Everything before ``position`` is sent."""
        if position == self.sent:
            return
        beside = self._mark.with_name(self._mark.name + ".new")
        beside.write_text(str(position))
        beside.replace(self._mark)
        self.sent = position

    @property
    def aside(self) -> Path:
        """What MLflow refused, a JSON line each with the reason; there where something is."""
        return self._path.with_name(self._path.name + ".refused")

    def set_aside(self, record: Event) -> None:
        """Keep a refused record, once however often it is sent."""
        line = json.dumps(record, separators=(",", ":")) + "\n"
        self.aside.touch()
        cut_torn_line(self.aside)
        if line not in self.aside.read_text(encoding="utf-8").splitlines(keepends=True):
            with self.aside.open("a", encoding="utf-8") as file:
                file.write(line)

    @property
    def end(self) -> int:
        """The position behind all that was appended."""
        return self._path.stat().st_size

    def backlog(self) -> int:
        """Bytes not yet sent."""
        return max(self.end - self.sent, 0)

    @property
    def empty(self) -> bool:
        return self.backlog() == 0
