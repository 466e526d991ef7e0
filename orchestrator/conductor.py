"""Between the ledger and the slots: hands out the ledger's legs, writes down what comes back, tells MLflow's spool and
the user.

Everything here runs in the driver's main thread. It waits for the ledger and for nothing else remote; what the ledger
knows is told by ``Mirror``, at once or by the next driver.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, Protocol

from orchestrator.artifacts import Store
from orchestrator.errors import (
    DataGoneError,
    GansweepError,
    HungError,
    LedgerError,
    NodeGoneError,
    OutOfMemoryError,
    RankLostError,
    StoreError,
    UntrainableError,
    UserError,
    WorkError,
)
from orchestrator.execution.order import LegOrder
from orchestrator.mirror import Mirror
from orchestrator.paths import RunKey, trial_key
from orchestrator.planning.earlier import Stopwatch
from orchestrator.search import objective
from orchestrator.search.known import SweepState
from orchestrator.search.lease import Lease
from orchestrator.search.ledger import Ledger
from orchestrator.search.trial import FATAL, Blame, Leg, Trial
from orchestrator.search.trial_requests import TrialRequests
from orchestrator.spec import counted
from orchestrator.tracking.spool import Spool
from trainers.provenance import IncomparableError
from trainers.report import UNDEFINED

log = logging.getLogger(__name__)

BLAME: dict[type[WorkError], Blame | None] = {
    UntrainableError: "settings",
    OutOfMemoryError: "memory",
    RankLostError: "lost",
    HungError: "hung",
    WorkError: "rank",
    StoreError: None,  # from here on no trial is at fault
    DataGoneError: None,
    NodeGoneError: None,
}
"""Whose retries a failure of each class uses up."""

IN_A_ROW: dict[type[WorkError], int] = {
    WorkError: 6,  # no longer the fault of a trial
    StoreError: 3,  # its own client has retried each for a while
    DataGoneError: 3,
    NodeGoneError: 50,  # of all gangs of a node, and of one node after the other
}
"""So many legs that ended by failures of a class, without one report between them: the sweep stops and says why."""


class Progress(Protocol):
    """Who watches a sweep run."""

    def note(self, text: str) -> None:
        """Something worth a line."""

    def stage(self, doing: str) -> None:
        """What goes on before legs run, and may take a while."""

    def searching(self, ledger: Ledger, slots: int) -> None:
        """Legs are about to run."""

    def moved(self, images: Mapping[RunKey, int]) -> None:
        """About every second while legs run: images shown so far by each training that has begun."""

    def reported(self, leg: Leg, report: dict[str, Any]) -> None:
        """A leg made a report; the ledger knows it already."""

    def ended(self, leg: Leg, trial: Trial | None) -> None:
        """A leg ended or died; ``trial`` as it stands now, None for a confirmation."""


class Conductor:
    """``progress`` is who watches; ``failure`` is why the sweep had to stop by itself, or None."""

    def __init__(
        self,
        ledger: Ledger,
        spool: Spool,
        store: Store,
        lease: Lease,
        progress: Progress,
        requests: TrialRequests | None = None,
    ) -> None:
        self._ledger, self._store, self._lease, self.progress = ledger, store, lease, progress
        self._mirror = Mirror(ledger, spool, store, dataset(ledger, progress))
        self._requests = requests
        self._legs: dict[str, Leg] = {}
        self.places: Callable[[], int] = lambda: 0
        """Legs that fit on the cluster at once, as last counted."""
        self._last: dict[str, str] = {}
        self._dead_in_a_row = Counter[type[WorkError]]()
        self.stopwatch = Stopwatch()
        self.interrupted = False
        self.failure: GansweepError | None = None

    # -- what the executor calls -----------------------------------------------------------------------------------

    def next_leg(self) -> tuple[str, LegOrder] | Literal["wait", "done"]:
        self.listen()
        if self.stopping():
            return "done"
        leg: Leg | Literal["wait", "done"] = "done"
        with self._written():
            leg = self._ledger.next_leg()
        if isinstance(leg, str):
            return leg
        prefix = trial_key(self._ledger.key, leg.trial, leg.confirm_seed)
        self._legs[prefix] = leg
        self._mirror.introduce(leg.run)
        config = self._ledger.sweep.trial_config(leg.params | _seed(leg))
        return prefix, LegOrder(config.model_dump(mode="json"), leg.until, prefix, leg.checkpoints, leg.shared)

    def has_more(self) -> bool:
        return self._ledger.has_more()

    def heard(self, order: LegOrder, report: dict[str, Any]) -> None:
        self.listen()
        leg = self._legs[order.prefix]
        self._alive(leg, report["stored"])
        with self._written():
            try:
                self._ledger.require_comparable(leg, report["provenance"])
            except IncomparableError as error:
                way_out = "go on where the first trials were measured, or start a new sweep (--name)"
                self.failure = WorkError(f"{error}; {way_out}")
                return
            more = report["images"] - self._images(leg)
            self._ledger.report(leg, report)
            self.stopwatch.report(more)
            self._mirror.report(leg.run, report)
            self._last[order.prefix] = report["checkpoint"]
            self.progress.reported(leg, report)
            self._require_measured(report)

    def ended(self, order: LegOrder) -> None:
        leg = self._legs.get(order.prefix)
        if leg and not self.stopping():  # else it may be cut short, and is settled in ``close``, its last upload done
            with self._written():
                self._settle(order.prefix, leg)

    def failed(self, order: LegOrder, error: WorkError) -> None:
        leg = self._legs.pop(order.prefix)
        log.error("leg %s died: %s", order.prefix, error)
        with self._written():
            if isinstance(error, NodeGoneError) and error.checkpoint:
                self._ledger.stored_late(leg, error.checkpoint)
            trial = self._ledger.fail_leg(leg, str(error), BLAME[_in(BLAME, error)])
            self._dead_in_a_row[kind := _in(IN_A_ROW, error)] += 1
            if self._dead_in_a_row[kind] >= IN_A_ROW[kind]:
                self.failure = type(error)(f"{IN_A_ROW[kind]} legs died one after the other, the last of: {error}")
            self._tell(leg)
            self.progress.ended(leg, trial)

    def moved(self, images: Mapping[str, int]) -> None:
        known = [(leg, images[prefix]) for prefix, leg in self._legs.items() if prefix in images]
        self.progress.moved({leg.run: shown for leg, shown in known})

    def listen(self) -> None:
        """Take what people want of single trials."""
        with self._written():
            for key, request in self._requests.all().items() if self._requests else ():
                if trial := self._ledger.take(key, request):
                    self._mirror.trial(trial)

    def unwanted(self, prefix: str) -> bool:
        """Whether somebody wants the trial of this leg to end."""
        leg = self._legs.get(prefix)
        return leg is not None and leg.confirm_seed is None and self._ledger.trial(leg.trial).unwanted

    def stopping(self) -> bool:
        if self._lease.lost and self.failure is None:
            self.failure = self._lease.lost
        return self.interrupted or self.failure is not None or self._lease.stop_asked

    @property
    def legs_out(self) -> int:
        """Legs handed out that have not ended."""
        return len(self._legs)

    # -- what the sweep calls --------------------------------------------------------------------------------------

    @property
    def untold(self) -> bool:
        """Whether the ledger knows reports that were never on their way to MLflow from here."""
        return bool(self._mirror.behind())

    def open(self) -> None:
        self._ledger.set_state("running")
        self._mirror.began("running")

    def close(self) -> SweepState:
        """The slots are gone: settle legs cut short, and say how the sweep stands. Who lost the ledger says nothing."""
        state = self._state()
        if isinstance(self.failure, LedgerError):
            return state
        with self._written():
            for prefix, leg in list(self._legs.items()):
                last = self._last.get(prefix)
                if last and last not in leg.checkpoints and self._is_stored(last):
                    self._ledger.stored_late(leg, last)
                self._settle(prefix, leg)
            self._ledger.release()
            state = self._state()
            if state == "finished":
                for trial in self._ledger.close():
                    self._mirror.trial(trial)
            self._ledger.set_state(state)
            self._mirror.ended(state)
        return state

    def _state(self) -> SweepState:
        if self.failure:
            return "failed"
        if self._ledger.is_over():
            return "finished"
        return "stopped" if self._lease.stop_asked else "interrupted"

    # -- below -----------------------------------------------------------------------------------------------------

    def _settle(self, prefix: str, leg: Leg) -> None:
        self._legs.pop(prefix)
        trial = self._ledger.end_leg(leg)
        self._tell(leg)
        self.progress.ended(leg, trial)

    def _require_measured(self, report: Mapping[str, Any]) -> None:
        """An objective that can't be measured here would leave every trial without a score, at the end."""
        aim, wanted = self._ledger.sweep.objective, min(2, self._ledger.sweep.most_trials)
        if all(metric in report["metrics"] for metric in (*aim.metrics, *aim.bounds)):
            return
        tried = [t for t in self._ledger.trials() if t.reports and t.verdict not in FATAL]
        if len(tried) < wanted or not (missing := objective.unmeasured(aim, (t.reports for t in tried))):
            return
        told = [reason for reason in report["health"]["reasons"] if reason.startswith("no ")]
        why = [reason for reason in told if UNDEFINED not in reason]  # of samples so early; it may come
        if not why:
            return
        self.failure = UserError(
            f"objective: {', '.join(missing)} could not be measured in {counted(len(tried), 'trial')}: "
            f"{'; '.join(why)}. Mend that, or choose another measure"
        )

    def _alive(self, leg: Leg, stored: list[str]) -> None:
        """No failure is in a row any more; those of a store are, until something new is stored."""
        of_store = 0 if set(stored) - set(leg.checkpoints) else self._dead_in_a_row[StoreError]
        self._dead_in_a_row = Counter({StoreError: of_store})

    def _images(self, leg: Leg) -> int:
        """Shown so far, as the ledger has it."""
        if leg.confirm_seed is None:
            return self._ledger.trial(leg.trial).images
        return self._ledger.confirmations.of_leg(leg).images

    def _is_stored(self, key: str) -> bool:
        try:
            return self._store.exists(key)
        except StoreError as error:
            log.warning("%s; the leg will go on from the checkpoint before", error)
            return False

    def _tell(self, leg: Leg) -> None:
        """What has become of the leg's training."""
        if leg.confirm_seed is None:
            self._mirror.trial(self._ledger.trial(leg.trial))
        else:
            self._mirror.confirmation(self._ledger.confirmations.of_leg(leg))

    @contextmanager
    def _written(self) -> Iterator[None]:
        """A ledger that can't be written, or not by us any more, ends the sweep: what it does not know is neither acted
        on nor told.
        """
        try:
            yield
        except LedgerError as error:
            self.failure = self._lease.lost or error


def _in(classes: Iterable[type[WorkError]], error: WorkError) -> type[WorkError]:
    """The nearest class of an error that stands there."""
    return next(kind for kind in type(error).__mro__ if kind in classes)


def _seed(leg: Leg) -> dict[str, int]:
    return {} if leg.confirm_seed is None else {"train.seed": leg.confirm_seed}


def dataset(ledger: Ledger, progress: Progress) -> dict[str, str]:
    """What is learned from, for MLflow. Reading it here also shows missing or broken data before anything starts, and
    the user what was passed over.
    """
    progress.stage("reading the data")
    from trainers.data import describe, load

    settings = ledger.sweep.data
    data = load(settings)
    for line in describe(data):
        progress.note(line)
    source = json.dumps(settings.model_dump(mode="json", exclude_none=True))
    profile = json.dumps({"examples": len(data), "held_out": len(data.test), "shape": data.space.shape})
    return {"name": data.name, "digest": data.fingerprint[:16], "source": source, "profile": profile}
