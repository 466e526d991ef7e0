"""Ray Tune as the executor of legs: it places them, runs them and reports back; every decision is taken by
``Conductor``.

Tune keeps no state that matters. In its words each leg is a trial; FIFO, no limit on their number, actors reused.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Literal, Protocol

from ray import cloudpickle, tune
from ray.tune.callback import Callback
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import ConcurrencyLimiter, Searcher
from ray.tune.stopper import Stopper

from orchestrator.errors import DataGoneError, StoreError, UntrainableError, WorkError
from orchestrator.execution.failure import LONGEST, RankError
from orchestrator.execution.leg import TrainLeg
from orchestrator.execution.order import GangSpec, LegOrder

log = logging.getLogger(__name__)


class Conductor(Protocol):
    """Who hands out legs and hears of them. Called in the driver's main thread; an exception ends the sweep, so it is
    one.
    """

    def next_leg(self) -> tuple[str, LegOrder] | Literal["wait", "done"]:
        """A leg and a readable name for it."""

    def heard(self, order: LegOrder, report: dict[str, Any]) -> None:
        """A leg made a report."""

    def ended(self, order: LegOrder) -> None:
        """A leg is over: it reached its end, was stopped after a report, or had failed for want of its store."""

    def failed(self, order: LegOrder, error: WorkError) -> None:
        """A leg died. A StoreError left its slot whole, an UntrainableError would come again, a DataGoneError elsewhere
        perhaps not; the message of any has the class, the message and the place of what a rank raised.
        """

    def stopping(self) -> bool:
        """Whether every leg is to end after its next report."""


def run_legs(conductor: Conductor, gang: GangSpec, slots: int, storage: str, name: str) -> None:
    """Execute legs on ``slots`` warm gangs until the conductor says ``done`` or is ``stopping``."""
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # a leg that dies is told by the conductor
    bundles = [gang.bundle] * gang.ranks
    tuner = tune.Tuner(
        tune.with_resources(TrainLeg, tune.PlacementGroupFactory(bundles, strategy="PACK")),
        tune_config=tune.TuneConfig(
            search_alg=ConcurrencyLimiter(_Legs(conductor, gang), max_concurrent=slots),
            scheduler=FIFOScheduler(),  # type: ignore[no-untyped-call]
            num_samples=-1,
            reuse_actors=True,
            metric=None,
            mode=None,
            trial_dirname_creator=lambda trial: f"leg-{trial.trial_id}",
        ),
        run_config=tune.RunConfig(
            name=name,
            storage_path=storage,
            callbacks=[_Feedback(conductor)],
            stop=_Stop(conductor),
            failure_config=tune.FailureConfig(max_failures=0),
            checkpoint_config=tune.CheckpointConfig(
                checkpoint_frequency=0, checkpoint_at_end=False
            ),  # ours, not Tune's
            verbose=0,
        ),
    )
    tuner.fit()


class _StaysHere:
    """Tune pickles all it is given, for a restore that we never do; what is given here holds the sweep, and stays in
    the driver.
    """

    def __getstate__(self) -> dict[str, Any]:
        return {}


class _Legs(_StaysHere, Searcher):
    def __init__(self, conductor: Conductor, gang: GangSpec) -> None:
        super().__init__()
        self._conductor, self._gang = conductor, gang

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        leg = self._conductor.next_leg()
        if leg == "done":
            return Searcher.FINISHED  # type: ignore[return-value]  # a word, in spite of the declared type
        if leg == "wait":
            return None
        name, order = leg
        return {"gang": self._gang, "order": order, "name": name}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing: ``_Feedback`` hears the same with the leg and the error attached."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the ledger is the truth."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the ledger is the truth."""


class _Feedback(_StaysHere, Callback):
    def __init__(self, conductor: Conductor) -> None:
        self._conductor = conductor

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        if "store_error" in result:
            self._conductor.failed(trial.config["order"], StoreError(result["store_error"]))
        else:
            self._conductor.heard(trial.config["order"], result["report"])

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._conductor.ended(trial.config["order"])

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._conductor.failed(trial.config["order"], death(_kept_error(trial), Path(trial.error_file).read_text()))


def _kept_error(trial: Trial) -> BaseException | None:
    """The exception that Tune wrote down a moment ago; None where it was no answer of the slot."""
    if not trial.pickled_error_file:
        return None
    with Path(trial.pickled_error_file).open("rb") as file:
        error: BaseException = cloudpickle.load(file)
    return error


def death(error: BaseException | None, text: str) -> WorkError:
    """What a leg died of: the RankError that ``error`` brings, or the end of what Tune wrote of it."""
    cause = getattr(error, "cause", None)
    if not isinstance(cause, RankError):  # the slot itself died
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return WorkError(" | ".join(lines[-2:])[-LONGEST:])
    log.error("a rank raised: %s", cause.details)
    return {"setting": UntrainableError, "data": DataGoneError}.get(cause.fault, WorkError)(cause.words)


class _Stop(_StaysHere, Stopper):
    def __init__(self, conductor: Conductor) -> None:
        self._conductor = conductor

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return self._conductor.stopping()

    def stop_all(self) -> bool:
        return False
