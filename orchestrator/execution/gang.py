"""The ranks of one slot: placed once, joined in one process group for the slot's life, then fed leg after leg.

Rank 0 trains in the process of Tune's trainable, the other ranks in child actors pinned to their bundles of the same
placement group. A gang is not repaired: when one rank dies, the others fail in their next collective, the trainable
fails with them, and Ray frees the slot for a new gang.

No torch at the top of this module: rank 0's process starts the others before it imports what they all need, so that
all of them import at once.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray.util.placement_group import PlacementGroup
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from orchestrator.execution.failure import RankError, of_actor
from orchestrator.execution.order import GangSpec, Stopped

if TYPE_CHECKING:
    from trainers.config import Config
    from trainers.report import Report

ANSWER = 30.0
"""Seconds in which ranks say why they ended, once one has; so long the cluster may take to miss a node."""


class Gang:
    """Rank 0 and its children. ``begin`` a leg, ``advance`` it report by report, again and again."""

    def __init__(self, spec: GangSpec, group: PlacementGroup, heart: str, leg: str) -> None:
        """For ``leg`` at first. Where the ranks don't meet, the driver ends it."""
        self._others = [_child(spec, rank, group, heart) for rank in range(1, spec.ranks)]
        from orchestrator.execution.rank import Rank

        self._rank0 = Rank(spec, 0, heart)
        self._rank0.heart.leg = leg
        host, port = self._rank0.listen()
        joining = self._ask("join", host, port)
        self._rank0.join(host, port)
        ray.get(joining)

    @property
    def system(self) -> dict[str, float]:
        """What its ranks measure of themselves, beside the machine's usage."""
        seconds = self._rank0.collective_seconds
        return {"collective_seconds": seconds} if seconds else {}

    @property
    def scratch(self) -> Path:
        return self._rank0.scratch

    def begin(self, leg: str, prefix: str, config: Config, checkpoints: list[str]) -> None:
        """Set up a training on every rank, from the first of ``checkpoints`` (store keys, newest first) that is
        undamaged, or afresh. ``leg`` is how the driver knows it; what it prints is kept under ``prefix``.
        """
        self._rank0.heart.leg = leg
        what = (leg, prefix, config.model_dump(mode="json"), checkpoints)
        beginning = self._ask("begin", *what)
        self._rank0.begin(*what)
        for other in beginning:
            _answer(other)

    def advance(self) -> Report | Stopped:
        """Train to the next report, or until a node of the gang is to go. Raises, as a RankError, what a rank raised by
        itself where others only lost it.
        """
        advancing = self._ask("advance")
        try:
            report = self._rank0.advance()
        except RankError as error:
            raise _root_cause(error, advancing) from None
        for other in advancing:
            _answer(other)
        assert report is not None, "a leg asks for no report past the end of its training"
        return report

    def close(self) -> None:
        """The ranks tidy up, as far as they live and answer, and end."""
        with contextlib.suppress(Exception):
            ray.get(self._ask("close"), timeout=3)
        for other in self._others:
            ray.kill(other)
        self._rank0.close()

    def _ask(self, what: str, *given: Any) -> list[Any]:
        return [other.do.remote(what, *given) for other in self._others]


class RankProcess:
    """The process of a rank other than 0, which imports the rank for itself."""

    def __init__(self, spec: GangSpec, rank: int, heart: str) -> None:
        from orchestrator.execution.rank import Rank

        self._rank = Rank(spec, rank, heart)

    def do(self, what: str, *given: Any) -> Any:
        return getattr(self._rank, what)(*given)


def _child(spec: GangSpec, rank: int, group: PlacementGroup, heart: str) -> Any:
    place = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=rank)
    takes = {"num_cpus": spec.cpus, "num_gpus": spec.gpus, "memory": spec.memory or None}
    return ray.remote(RankProcess).options(**takes, scheduling_strategy=place).remote(spec, rank, heart)


def _root_cause(error: RankError, advancing: list[Any]) -> RankError:
    """What the failure of rank 0 goes back to: of all that the ranks say, what is no lost connection to another, and
    rather what a rank says than that it died.
    """
    told = [error]
    answered, _ = ray.wait(advancing, num_returns=len(advancing), timeout=ANSWER) if advancing else ([], [])
    for reference in answered:
        try:
            _answer(reference)
        except RankError as other:
            told.append(other)
    return min(told, key=lambda one: ("lost", "peer").index(one.fault) + 1 if one.fault in ("lost", "peer") else 0)


def _answer(reference: Any) -> None:
    """Wait for another rank. Raises its RankError or StoreError; RankError where it died."""
    try:
        ray.get(reference)
    except ray.exceptions.RayActorError as death:
        raise of_actor(death) from None
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
