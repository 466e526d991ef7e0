"""A ledger's journal file as plain values, read without Optuna: half a second of imports, and objects of its own.

The lines are those of Optuna's journal storage (``optuna/storages/journal/_storage.py``, version 5); what that ignores
when it reads, a write to a trial that has ended, is ignored here too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice, takewhile
from pathlib import Path
from typing import Any, BinaryIO

_RUNNING = 0
_FINISHED = frozenset({1, 2, 3})
"""Optuna's states: complete, pruned, fail."""

_LINES = 2_000
"""Lines that are parsed at once: the names of their keys are then kept once, not once a line."""


@dataclass(slots=True)
class JournaledTrial:
    """A trial, in Optuna's words. ``params`` are as Optuna keeps them, ``distributions`` as its JSON."""

    id: int
    number: int
    params: dict[str, Any]
    distributions: dict[str, str]
    user_attrs: dict[str, Any]
    system_attrs: dict[str, Any]
    intermediate_values: dict[int, float]
    state: int = _RUNNING
    values: list[float] | None = None


@dataclass(slots=True)
class JournaledStudy:
    """A study: its attributes and trials."""

    id: int
    name: str
    user_attrs: dict[str, Any] = field(default_factory=dict)
    trials: list[JournaledTrial] = field(default_factory=list)


class Replay:
    """The studies of one journal; ``read`` goes on where it stopped the last time. A last line without its end is
    being written, or was left by a killed writer, and does not count. What is kept of a report beside its metrics is
    much, and passed over unless ``told``.
    """

    def __init__(self, journal: Path, told: bool = False) -> None:
        self._journal, self._offset, self._told = journal, 0, told
        self._studies: dict[int, JournaledStudy] = {}
        self._made = 0
        self.trials: list[JournaledTrial] = []
        self.read()

    def study(self, name: str) -> JournaledStudy | None:
        """The one of this name."""
        return next((study for study in self._studies.values() if study.name == name), None)

    def read(self) -> None:
        """What was written since."""
        if not self._journal.is_file():
            return
        with self._journal.open("rb") as file:
            file.seek(self._offset)
            for line in self._lines(file):
                self._apply(line)

    def _lines(self, file: BinaryIO) -> Iterator[dict[str, Any]]:
        whole = takewhile(lambda line: line.endswith(b"\n"), file)
        while lines := list(islice(whole, _LINES)):
            self._offset += sum(map(len, lines))
            yield from json.loads(b"[" + b",".join(lines) + b"]")

    def _apply(self, line: dict[str, Any]) -> None:
        """In the order of how many there are."""
        code = line["op_code"]
        if not self._told and code in (2, 8) and next(iter(line["user_attr"])).startswith("told:"):
            return
        if code >= 5:
            trial = self.trials[line["trial_id"]]
            if trial.state not in _FINISHED:
                _change(trial, code, line)
        elif code == 4:
            self._add_trial(line)
        elif code == 2 and line["study_id"] in self._studies:
            self._studies[line["study_id"]].user_attrs |= line["user_attr"]
        elif code == 1:
            self._studies.pop(line["study_id"], None)
        elif code == 0 and self.study(line["study_name"]) is None:
            self._studies[self._made] = JournaledStudy(self._made, line["study_name"])
            self._made += 1

    def _add_trial(self, line: dict[str, Any]) -> None:
        study = self._studies.get(line["study_id"])
        if study is None:
            return
        kinds = line.get("distributions", {})
        trial = JournaledTrial(
            len(self.trials),
            len(study.trials),
            {name: _value(kinds[name], value) for name, value in line.get("params", {}).items()},
            kinds,
            line.get("user_attrs", {}),
            line.get("system_attrs", {}),
            {int(step): value for step, value in line.get("intermediate_values", {}).items()},
            line.get("state", _RUNNING),
            line.get("values") or ([line["value"]] if line.get("value") is not None else None),
        )
        self.trials.append(trial)
        study.trials.append(trial)


def _change(trial: JournaledTrial, code: int, line: dict[str, Any]) -> None:
    if code == 8:
        trial.user_attrs |= line["user_attr"]
    elif code == 7:
        trial.intermediate_values[line["step"]] = line["intermediate_value"]
    elif code == 9:
        trial.system_attrs |= line["system_attr"]
    elif code == 6:
        trial.state, trial.values = line["state"], line["values"] or trial.values
    elif code == 5:
        name, kind = line["param_name"], line["distribution"]
        trial.distributions[name] = kind
        trial.params[name] = _value(kind, line["param_value_internal"])


def _value(distribution: str, internal: float) -> Any:
    """From the number that the journal keeps for it."""
    kind = json.loads(distribution)
    if kind["name"] == "CategoricalDistribution":
        return kind["attributes"]["choices"][int(internal)]
    return int(internal) if kind["name"] == "IntDistribution" else float(internal)
