"""Sweeps on one cluster share its places by their weights.

Each driver tells the others, in the key-value store of the cluster's head, what it has and how much it could use. From
that all work out the same shares; who has more than its share closes gangs when their legs end.
"""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from time import monotonic

from ray.exceptions import RpcError

from orchestrator.execution import gcs
from orchestrator.execution.order import GangSpec

EVERY = 1.0
"""Seconds between two words with the others."""
SILENCE = 20.0
"""Seconds without a new word after which a sweep counts as gone."""
TURN = 60.0
"""Seconds for which a share stands before it may fall: the start of a gang for another is to be a small part of it."""


@dataclass(frozen=True)
class Claim:
    """What a sweep tells the others: its ``weight``, how many of its gangs the whole cluster could hold and how many it
    has work for, and the seconds of the whole cluster that it has ``used``. ``count`` tells one word from the next.
    """

    weight: float
    places: int
    wanted: int
    used: float = 0.0
    count: int = 0
    bundle: dict[str, float] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    asked: int = 0
    """Of the autoscaler: so many of its ``bundle``, on nodes with its ``labels``."""


def shares(claims: Mapping[str, Claim]) -> dict[str, int]:
    """How many gangs each sweep may have: place by place to who has the smallest part of the cluster for its weight,
    among equals to who has used least of it. So all is used that anybody can use; each has a place where there are
    enough, and else a turn.
    """
    given, room = dict.fromkeys(claims, 0), 1.0
    while takers := [name for name, claim in claims.items() if given[name] < claim.wanted and _fits(claim, room)]:
        name = min(takers, key=lambda taker: _before(claims[taker], given[taker], taker))
        given[name] += 1
        room -= 1 / claims[name].places
    return given


def _fits(claim: Claim, room: float) -> bool:
    return claim.places > 0 and 1 / claim.places <= room + 1e-9


def _before(claim: Claim, given: int, name: str) -> tuple[float, float, str]:
    return given / claim.places / claim.weight, claim.used / claim.weight, name


class Share:
    """One sweep's, of places for gangs like ``gang``, at most ``most``, by its ``weight``."""

    def __init__(self, gang: GangSpec, most: int, weight: float) -> None:
        self._room = f"shares/{gang.accelerator or ('GPU' if gang.gpus else 'CPU')}/"  # others use other places
        self._name, self._most, self._weight = f"{self._room}{uuid.uuid4().hex}", most, weight
        self._bundle, self._labels, self.asked = gang.bundle, dict(gang.labels), 0
        self._heard: dict[str, tuple[Claim, float]] = {}
        self._used: float | None = None
        self._share, self._count = 0, 0
        self._told = self._since = -math.inf

    def of(self, places: int, running: int, placed: int, more: bool) -> int:
        """Of so many ``places`` for a sweep that has ``running`` legs, of which ``placed`` have their gangs, and as far
        as it knows ``more`` of them.
        """
        now = monotonic()
        if now - self._told >= EVERY:
            with suppress(RpcError):  # the head is silent for now: the last share stands
                others = {name: claim for name, claim in self._listen(now).items() if name.startswith(self._room)}
                mine = self._claim(now, places, placed, self._most if more else running, others)
                gcs.put(self._name, json.dumps(asdict(mine)).encode())
                self._take(shares({self._name: mine, **others})[self._name], now)
        return self._share

    def all_asked(self) -> list[Claim]:
        """This sweep's and the others', for an autoscaler that knows only the last who asked."""
        mine = Claim(0, 0, 0, bundle=self._bundle, labels=self._labels, asked=self.asked)
        return [mine, *(claim for claim, _ in self._heard.values())]

    def leave(self) -> None:
        """The sweep has ended."""
        with suppress(Exception):  # the cluster may be gone
            gcs.forget(self._name)

    def _listen(self, now: float) -> dict[str, Claim]:
        """What the others claim who live."""
        told = {key: Claim(**json.loads(text)) for key, text in gcs.read("shares/").items() if key != self._name}
        before = self._heard
        self._heard = {
            name: before[name] if name in before and before[name][0] == claim else (claim, now)
            for name, claim in told.items()
        }
        for name in [name for name, (_, at) in self._heard.items() if now - at > SILENCE]:
            gcs.forget(name)
            del told[name]
        return told

    def _claim(self, now: float, places: int, placed: int, wanted: int, others: Mapping[str, Claim]) -> Claim:
        if self._used is None:  # who comes later has no time to make up for
            self._used = self._weight * min((other.used / other.weight for other in others.values()), default=0.0)
        elif places:
            self._used += (now - self._told) * placed / places
        self._told, self._count = now, self._count + 1
        own = (self._bundle, self._labels, self.asked)
        return Claim(self._weight, places, wanted, self._used, self._count, *own)

    def _take(self, share: int, now: float) -> None:
        if share > self._share or (share < self._share and now - self._since >= TURN):
            self._share, self._since = share, now
