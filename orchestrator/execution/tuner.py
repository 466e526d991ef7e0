"""Ray Tune as the executor of legs: it places them, runs them and reports back; every decision is taken by
``Conductor``.

Tune keeps no state that matters. In its words each leg is a trial; FIFO, no limit on their number, actors reused.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol

from ray import cloudpickle, tune
from ray.tune.callback import Callback
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import ConcurrencyLimiter, Searcher
from ray.tune.stopper import Stopper

from orchestrator.errors import (
    StoreError,
    WorkError,
)
from orchestrator.execution.failure import cause_of, death
from orchestrator.execution.leg import TrainLeg
from orchestrator.execution.order import GangSpec, LegOrder
from orchestrator.execution.slots import Slots
from orchestrator.execution.watch import EVERY, Watch

log = logging.getLogger(__name__)

MANY = 10_000
"""Legs that Tune may have at once: how many there are is for ``Slots`` to say."""
IDLE = 60.0
"""Seconds after which a gang without work is closed."""


class Conductor(Protocol):
    """Who hands out legs and hears of them. Called in the driver's main thread; an exception ends the sweep, and comes
    out of ``run_legs`` as it was raised.
    """

    def next_leg(self) -> tuple[str, LegOrder] | Literal["wait", "done"]:
        """A leg and a readable name for it."""

    def has_more(self) -> bool:
        """Whether there would be a leg for one more slot. Asked seldom."""

    def heard(self, order: LegOrder, report: dict[str, Any]) -> None:
        """A leg made a report."""

    def moved(self, images: Mapping[str, int]) -> None:
        """How far legs that train are, by their prefix: images shown. About once a second."""

    def ended(self, order: LegOrder) -> None:
        """A leg is over: it reached its end, was stopped after a report, or had failed for want of its store."""

    def failed(self, order: LegOrder, error: WorkError) -> None:
        """A leg died. A StoreError left its slot whole, an UntrainableError would come again, an OutOfMemoryError
        probably, a DataGoneError elsewhere perhaps not, a NodeGoneError is over; the message of any has the class, the
        message and the place of what a rank raised.
        """

    def stopping(self) -> bool:
        """Whether every leg is to end after its next report."""

    def unwanted(self, prefix: str) -> bool:
        """Whether this leg is."""


def run_legs(conductor: Conductor, gang: GangSpec, slots: Slots, storage: str, name: str) -> None:
    """Execute legs on as many warm gangs as ``slots`` counts until the conductor says ``done`` or is ``stopping``.

    Raises UserError where the cluster holds none.
    """
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # a leg that dies is told by the conductor
    bundles, watch = [gang.bundle] * gang.ranks, Watch(name, gang.hang_seconds, gang.store)
    labels = {"bundle_label_selector": [gang.labels] * gang.ranks} if gang.labels else {}
    place = tune.PlacementGroupFactory(bundles, strategy=gang.placement.upper(), **labels)
    legs = _Legs(conductor, gang, slots, watch.name)
    tuner = tune.Tuner(
        tune.with_resources(TrainLeg, place),
        tune_config=tune.TuneConfig(
            search_alg=ConcurrencyLimiter(legs, max_concurrent=MANY),
            scheduler=_Order(legs),
            num_samples=-1,
            reuse_actors=True,
            metric=None,
            mode=None,
            trial_dirname_creator=lambda trial: f"leg-{trial.trial_id}",
        ),
        run_config=tune.RunConfig(
            name=name,
            storage_path=storage,
            callbacks=[_Feedback(conductor, watch, legs)],
            stop=_Stop(conductor, legs),
            failure_config=tune.FailureConfig(max_failures=0),
            checkpoint_config=tune.CheckpointConfig(
                checkpoint_frequency=0, checkpoint_at_end=False
            ),  # ours, not Tune's
            verbose=0,
        ),
    )
    try:
        with watch:
            tuner.fit()
    finally:
        slots.release()
    if legs.failure:
        raise legs.failure


class _StaysHere:
    """Tune pickles all it is given, for a restore that we never do; what is given here holds the sweep, and stays in
    the driver.
    """

    def __getstate__(self) -> dict[str, Any]:
        return {}


class _Legs(_StaysHere, Searcher):
    """Asked by Tune all the time; asks the conductor only when there is a place. ``failure`` is why all legs end before
    their time; ``placed`` are the legs that have their gangs.
    """

    def __init__(self, conductor: Conductor, gang: GangSpec, slots: Slots, heartbeats: str) -> None:
        super().__init__()
        self._conductor, self._gang, self._slots, self._heartbeats = conductor, gang, slots, heartbeats
        self._running: set[str] = set()
        self.placed: set[str] = set()
        self.prefixes: dict[str, str] = {}
        self._is_full, self._has_more = False, True
        self._idle_since: float | None = None
        self.failure: Exception | None = None
        self.close_idle_gangs: Callable[[], None] = lambda: None

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """Keep what the conductor raises: Tune would make a text of it."""
        try:
            yield
        except Exception as error:
            self.failure = self.failure or error

    def stopping(self) -> bool:
        """Whether every leg is to end after its next report."""
        return self.failure is not None or self._conductor.stopping()

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        leg: dict[str, Any] | None = None
        with self.keeping():
            leg = self._suggest(trial_id)
        return leg

    def _suggest(self, trial_id: str) -> dict[str, Any] | None:
        if self.stopping():
            return Searcher.FINISHED  # type: ignore[return-value]  # a word, in spite of the declared type
        allowed = self._slots.allowed(len(self._running), len(self.placed), self._has_more)
        self._is_full = len(self._running) >= allowed
        if self._is_full:
            self._idle_since = None
            self._slots.ask(len(self._running), self._conductor.has_more)
            if not self._running:
                self.close_idle_gangs()
            return None
        leg = self._conductor.next_leg()
        if leg == "done":
            return Searcher.FINISHED  # type: ignore[return-value]
        self._has_more = leg != "wait"
        self._idle_since = None if self._has_more else (self._idle_since or time.monotonic())
        self._slots.ask(len(self._running), lambda: False)
        if isinstance(leg, str):
            return None
        name, order = leg
        self._running.add(trial_id)
        self.prefixes[trial_id] = order.prefix
        return {"gang": self._gang, "order": order, "heartbeats": self._heartbeats, "name": name}

    def idle(self) -> bool:
        """Whether a gang without a leg is to be closed: its place is another sweep's or has gone, or there has been
        nothing for it to do for a while.
        """
        return self._is_full or (self._idle_since is not None and time.monotonic() - self._idle_since > IDLE)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """What became of it, ``_Feedback`` hears."""
        self._running.discard(trial_id)
        self.placed.discard(trial_id)
        self.prefixes.pop(trial_id, None)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the ledger is the truth."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the ledger is the truth."""


class _Order(_StaysHere, FIFOScheduler):
    """First come, first served. Gangs that are to be idle are closed, so that their nodes can go or work for others:
    Tune by itself keeps one.
    """

    def __init__(self, legs: _Legs) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._legs = legs

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        self._legs.close_idle_gangs = partial(_close_idle_gangs, tune_controller)
        if self._legs.stopping():  # a leg without a place makes no report after which it could end
            for trial in tune_controller.get_trials():
                if trial.status == Trial.PENDING:
                    tune_controller.stop_trial(trial)
            return None
        chosen = super().choose_trial_to_run(tune_controller)
        if chosen is None and self._legs.idle():
            self._legs.close_idle_gangs()
        return chosen


def _close_idle_gangs(tune_controller: Any) -> None:
    """While nothing runs, Tune waits for its searcher and does nothing else."""
    tune_controller._cleanup_cached_actors(force_all=True)
    tune_controller._actor_manager.next(timeout=0.1)


class _Feedback(_StaysHere, Callback):
    def __init__(self, conductor: Conductor, watch: Watch, legs: _Legs) -> None:
        self._conductor, self._watch, self._legs, self._told = conductor, watch, legs, 0.0

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._legs.placed.add(trial.trial_id)

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        if time.monotonic() - self._told < EVERY:
            return
        self._told, shown = time.monotonic(), self._watch.images
        running = (trial for trial in trials if trial.status == Trial.RUNNING and trial.trial_id in shown)
        with self._legs.keeping():
            self._conductor.moved({trial.config["order"].prefix: shown[trial.trial_id] for trial in running})

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        with self._legs.keeping():
            if "store_error" in result:
                self._conductor.failed(trial.config["order"], StoreError(result["store_error"]))
            else:
                self._conductor.heard(trial.config["order"], result["report"])

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        with self._legs.keeping():
            self._conductor.ended(trial.config["order"])

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        leg, cause = trial.trial_id, cause_of(_kept_error(trial), Path(trial.error_file).read_text())
        why, gone = self._watch.verdict(leg), self._watch.died(leg)
        if why is None and cause.fault in ("lost", "peer"):
            why = gone
        with self._legs.keeping():
            self._conductor.failed(trial.config["order"], why or death(cause))


def _kept_error(trial: Trial) -> BaseException | None:
    """The exception that Tune wrote down a moment ago; None where it was no answer of the slot."""
    if not trial.pickled_error_file:
        return None
    with Path(trial.pickled_error_file).open("rb") as file:
        error: BaseException = cloudpickle.load(file)
    return error


class _Stop(_StaysHere, Stopper):
    def __init__(self, conductor: Conductor, legs: _Legs) -> None:
        self._conductor, self._legs = conductor, legs

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return self._legs.stopping() or self._conductor.unwanted(self._legs.prefixes.get(trial_id, ""))

    def stop_all(self) -> bool:
        return False
