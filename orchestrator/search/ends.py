"""How Optuna is told that a trial has ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from optuna.trial import TrialState, create_trial

from orchestrator.search.trial import FATAL, State, Trial

_OPTUNA_STATE: dict[State, TrialState] = {
    "finished": TrialState.COMPLETE,
    **dict.fromkeys(FATAL, TrialState.COMPLETE),
    "pruned": TrialState.PRUNED,
    "crashed": TrialState.FAIL,
}


class End(NamedTuple):
    """A trial's state, values and constraints; these as the attributes in which Optuna keeps them."""

    state: TrialState
    values: Sequence[float] | None
    attrs: dict[str, Any]


def end_of(trial: Trial, worst: Callable[[], Sequence[float]]) -> End:
    """A bad end is COMPLETE with the ``worst`` scores seen and a violated constraint, never NaN: the sampler must learn
    from it (FAIL would be ignored), and only a crash says nothing about the parameters, unless they need more memory
    than there is.
    """
    state, constraints = _OPTUNA_STATE[trial.state], dict(trial.violations)
    if trial.state in FATAL:
        constraints = {trial.state: 1.0, **{name: max(v, 0.0) for name, v in constraints.items()}}
    elif trial.state == "crashed":
        state = TrialState.COMPLETE if trial.too_large else state
        constraints = {"memory": 1.0} if trial.too_large else {}
    values = (trial.scores or worst()) if state == TrialState.COMPLETE else None
    return End(state, values, create_trial(state=TrialState.RUNNING, constraints=constraints).system_attrs)
