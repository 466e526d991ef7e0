"""How many gangs the cluster can hold: counted anew as nodes come and go, so that a leg is decided when there is a
place for it. For more, an autoscaler is asked.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Any

import ray
from ray.autoscaler.sdk import request_resources
from ray.exceptions import RayError, RpcError

from orchestrator.errors import GansweepError, UserError
from orchestrator.execution import gcs
from orchestrator.execution.order import GangSpec
from orchestrator.execution.probe import faults, full_disk, no_gpu, probe
from orchestrator.execution.shares import Share

LOOK = 1.0
"""Seconds for which a count is believed."""
ASK = 5.0
"""Seconds between two words with the autoscaler."""
CROWDED = 30.0
"""Seconds after which a trial that waits for its gang is told of."""
PATIENCE = 600.0
"""Seconds for which a sweep without any place waits for a node."""


class Slots:
    """For gangs like ``gang``, at most ``most`` at once. ``note`` is told what is waited for.

    ``comes``: whether nodes may come later, as they do on a cluster. ``settings``: the sweep's, whose own code each
    node must be able to import. ``weight``: among the sweeps that use the cluster.
    """

    def __init__(
        self,
        gang: GangSpec,
        most: int,
        note: Callable[[str], None] = lambda _: None,
        comes: bool = True,
        settings: Mapping[str, Any] | None = None,
        weight: float = 1,
    ) -> None:
        self._gang, self._most, self._note, self._comes = gang, most, note, comes
        self._settings = settings or {"code": {}}
        self._share = Share(gang, most, weight)
        self._looked = -math.inf
        self._there = self._fit = 0
        self._since: float | None = None
        self._admitted: dict[str, str | None] = {}
        self._asked_at = -math.inf
        self._crowded: float | None = None
        self._late: threading.Thread | None = None

    @property
    def fit(self) -> int:
        """Places when they were last counted."""
        return self._fit

    def count(self) -> int:
        """Places there are now, taken or free. Raises UserError where there is none, and none will come."""
        now = time.monotonic()
        if now - self._looked >= LOOK:
            self._looked = now
            with suppress(RpcError):  # the head is silent for now: the last count stands
                self._count(now)
        return self._fit

    def allowed(self, running: int, placed: int, more: bool) -> int:
        """Places that are for this sweep now; the other arguments are as ``Share.of`` has them."""
        places = self.count()
        self._tell_of_a_crowd(running - placed)
        return min(places, self._share.of(self._there, running, placed, more)) if self._comes else places

    def _count(self, now: float) -> None:
        self._there = self._places()
        before, self._fit = self._fit, min(self._most, self._there)
        if self._fit and before and self._fit != before:
            self._note(f"the cluster has changed: {self._fit} trial{'s' if self._fit > 1 else ''} at once")
        self._wait(now)

    def _tell_of_a_crowd(self, waiting: int) -> None:
        """``_places`` counts what nodes have, whoever uses it: work that is none of ours may hold it for long."""
        now = time.monotonic()
        self._crowded = (self._crowded or now) if waiting else None
        if self._crowded and now - self._crowded >= CROWDED:
            if not seeks_room():  # its ranks start, on a busy machine for as long
                self._crowded = now - CROWDED + ASK
                return
            self._crowded = math.inf  # once
            self._note(
                f"{waiting} trial{'s' if waiting > 1 else ''} waiting for {needs(self._gang)}: other work holds it"
            )

    def ask(self, running: int, is_more: Callable[[], bool]) -> None:
        """Tell the autoscaler, where there is one, how many gangs are wanted: what runs, and where work waits for a
        place, twice as many, as far as allowed.
        """
        if not self._comes or time.monotonic() - self._asked_at < ASK:
            return
        self._asked_at = time.monotonic()
        self._request(max(running, min(self._most, max(1, 2 * self._fit))) if is_more() else running)

    def release(self) -> None:
        """Nothing is wanted any more."""
        self._share.leave()
        if self._share.asked:
            with suppress(Exception):  # the cluster may be gone
                self._request(0)

    def _request(self, gangs: int) -> None:
        """Again each time, with what other sweeps ask for: the last request is the only one that counts."""
        self._share.asked = self._gang.ranks * gangs
        each = [claim for claim in self._share.all_asked() for _ in range(claim.asked)]
        labels = [claim.labels for claim in each]
        request_resources(
            bundles=[claim.bundle for claim in each], bundle_label_selectors=labels if any(labels) else None
        )

    def _places(self) -> int:
        held = room(self._gang)
        self._admit(list(held))
        return fit(self._gang, [ranks for node, ranks in held.items() if self._admitted.get(node, "unknown") is None])

    def _admit(self, nodes: list[str]) -> None:
        """Let new nodes say whether ranks can run there. The first that can't end the sweep before it begins, later
        ones, who are not waited for, are done without; one that does not live any more says nothing, and is asked again
        while Ray lists it.
        """
        if all(node in self._admitted for node in nodes) or (self._late and self._late.is_alive()):
            return
        listed = gcs.nodes()  # from which one may have gone meanwhile
        new = {node: listed[node] for node in nodes if node not in self._admitted and node in listed}
        if self._admitted:
            self._late = threading.Thread(target=self._admit_late, args=(new,), name="probe", daemon=True)
            self._late.start()
        elif wrong := self._wrong(new):
            raise UserError("\n".join(wrong.values()))

    def _admit_late(self, new: dict[str, str]) -> None:
        with suppress(GansweepError, RpcError, RayError):  # store or head are silent: asked again at the next look
            for words in self._wrong(new).values():
                self._note(f"done without {words}")

    def _wrong(self, new: dict[str, str]) -> dict[str, str]:
        """Admits nodes (id -> name); returns what is wrong with some."""
        if self._comes:
            began = time.time()
            said = probe(self._gang, new, self._settings)
            wrong, answered = faults(said, began, time.time()), list(said)
        else:  # this machine, of which the driver has seen the rest
            found = [*filter(None, (full_disk(), no_gpu(self._gang)))]
            wrong, answered = {node: f"resources: {'; '.join(found)}" for node in new if found}, list(new)
        self._admitted |= {node: wrong.get(node) for node in answered}
        return wrong

    def _wait(self, now: float) -> None:
        if self._fit:
            self._since = None
            return
        if not self._comes:
            raise UserError(self._too_little())
        if self._since is None:
            self._since = now
            self._note(
                f"waiting for {needs(self._gang)}: no node has room for it yet; the sweep ends where none comes "
                f"within {PATIENCE / 60:.0f} minutes"
            )
        if now - self._since > PATIENCE:
            raise UserError(f"{self._too_little()}. None came within {PATIENCE / 60:.0f} minutes")

    def _too_little(self) -> str:
        wants, labels = f"resources: a trial needs {needs(self._gang)}", self._gang.labels.items()
        living = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
        have = [node["Resources"] for node in living if labels <= node["Labels"].items()]
        if not have:
            return f"{wants}, and no node has these labels; give them with: ray start --labels, or drop them"
        is_one = self._gang.placement == "strict_pack"
        cpus, gpus = ((max if is_one else sum)(of.get(name, 0) for of in have) for name in ("CPU", "GPU"))
        has = f"{cpus:g} CPUs and {gpus:g} GPUs"
        has = f"no node has more than {has}" if is_one else f"the nodes have {has} in all"
        more = ", or let several nodes have them (placement: pack)" if is_one else ""
        return f"{wants}, and {has}; lower workers_per_trial, cpus_per_worker or gpus_per_worker{more}"


def room(gang: GangSpec) -> dict[str, int]:
    """How many ranks each node could hold, by its id; without nodes that could hold none, or are about to go."""
    draining = gcs.draining()
    held = {
        node["NodeID"]: min(
            math.floor(node["Resources"].get(name, 0) / amount + 1e-9) for name, amount in gang.bundle.items()
        )
        for node in ray.nodes()  # type: ignore[no-untyped-call]
        if node["Alive"] and node["NodeID"] not in draining and gang.labels.items() <= node["Labels"].items()
    }
    return {node: ranks for node, ranks in held.items() if ranks}


def seeks_room() -> bool:
    """Whether Ray looks for room for some gang; where it does not, all have their places."""
    groups = ray.util.placement_group_table().values()
    return any(group["state"] == "PENDING" for group in groups)


def fit(gang: GangSpec, ranks: Collection[int]) -> int:
    """How many gangs fit on nodes that can hold so many ranks each."""
    if gang.placement == "strict_pack":
        return sum(held // gang.ranks for held in ranks)
    return sum(ranks) // gang.ranks


def needs(gang: GangSpec) -> str:
    """``2 x (1 CPU, 1 GPU) on nodes with ray.io/accelerator-type=H100``."""
    units: dict[str, Any] = {"CPU": "{:g} CPU", "GPU": "{:g} GPU", "memory": "{:.3g} bytes of memory"}
    each = ", ".join(units[name].format(amount) for name, amount in gang.bundle.items())
    on = f" on nodes with {', '.join(f'{name}={word}' for name, word in gang.labels.items())}" if gang.labels else ""
    together = " of one node" if gang.placement == "strict_pack" and gang.ranks > 1 else ""
    return f"{gang.ranks} x ({each}){together}{on}"
