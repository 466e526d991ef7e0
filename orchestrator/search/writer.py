"""Every write of a ledger: to the storage first, then the same in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.trial import TrialState, create_trial

from orchestrator.search.ends import End
from orchestrator.search.journal import Study
from orchestrator.search.record import told_of


class StudyWriter:
    """A study as its only writer knows it. ``trials`` are Optuna's part of them; what is ours is kept by who writes
    it.
    """

    def __init__(self, study: Study) -> None:
        self._storage, self._study, self._together = study.storage, study.id, study.together
        self.attrs, self.trials = study.attrs, study.trials

    def forget(self) -> None:
        """What is ours of the trials, which its reader now keeps."""
        for trial in self.trials:
            trial.user_attrs = {}

    def set_attr(self, name: str, value: Any) -> None:
        """An attribute of the study."""
        with self._together():
            self._storage.set_study_user_attr(self._study, name, value)
        self.attrs[name] = value

    def add(self, params: dict[str, Any], space: dict[str, BaseDistribution], record: dict[str, Any]) -> None:
        """A new trial, which has the next number."""
        trial = create_trial(state=TrialState.RUNNING, params=params, distributions=space, user_attrs={"trial": record})
        with self._together():
            trial._trial_id = self._storage.create_new_trial(self._study, trial)
        trial.number, trial.user_attrs = len(self.trials), {}
        self.trials.append(trial)

    def report(self, number: int, report: Mapping[str, Any], value: float | None, record: dict[str, Any]) -> None:
        """One report of a trial, where it leaves our record of it; ``value`` is its score so far."""
        trial, images = self.trials[number], report["images"]
        with self._together():
            self._storage.set_trial_user_attr(trial._trial_id, f"told:{images}", told_of(report))
            self._storage.set_trial_user_attr(trial._trial_id, f"report:{images}", report["metrics"])
            if value is not None:
                self._storage.set_trial_intermediate_value(trial._trial_id, images, value)
            self._storage.set_trial_user_attr(trial._trial_id, "trial", record)
        if value is not None:
            trial.intermediate_values[images] = value

    def write(self, number: int, record: dict[str, Any], end: End | None = None) -> None:
        """Our record of a trial, and its end in Optuna's terms."""
        trial = self.trials[number]
        with self._together():
            self._storage.set_trial_user_attr(trial._trial_id, "trial", record)
            if end:
                for key, violation in end.attrs.items():
                    self._storage.set_trial_system_attr(trial._trial_id, key, violation)
                self._storage.set_trial_state_values(trial._trial_id, end.state, end.values)
        if end:
            trial.system_attrs |= end.attrs
            trial.values, trial.state = end.values, end.state
