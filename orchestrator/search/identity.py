"""Whether a study is of the same sweep: trials of one ledger are ranked with each other, so all were made alike."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any

from optuna.study import StudyDirection
from pydantic import ValidationError

from orchestrator.commands import command
from orchestrator.errors import UserError
from orchestrator.search.journal import Place, Study
from orchestrator.search.kept import unkept
from orchestrator.search.known import SPACES, Known
from orchestrator.search.warm import WARM, warmth
from orchestrator.search.writer import StudyWriter
from orchestrator.settings.dimension import inside
from orchestrator.spec import Sweep, counted


def studied(sweep: Sweep, studies: Place, new_space: bool, before: Known | None) -> Study:
    """The study of ``sweep``, made where there is none, with what the sweep ``before`` knows.

    Raises UserError where it was made for other settings; a ``new_space`` may be one.
    """
    warm = {WARM: warmth(before, sweep)} if before else {}
    study = studies.find(sweep.name)
    if study and _makes_way(study, sweep):
        studies.delete(study)
        study = None
    if study is None:
        study = studies.create(sweep.name, [StudyDirection[goal.direction.upper()] for goal in sweep.objective.goals])
        news = {"gansweep.comparable": sweep.comparable(), "gansweep.id": uuid.uuid4().hex, **warm}
    else:
        _refuse_other_settings(sweep, study.attrs, new_space)
        news = _moved(sweep, study)
    writer = StudyWriter(study)
    for name, value in news.items():
        writer.set_attr(name, value)
    return study


def _makes_way(study: Study, sweep: Sweep) -> bool:
    """Whether it never got a trial (its data was missing, say) and is another sweep's, or half made by one who died."""
    return not study.trials and ("gansweep.id" not in study.attrs or bool(_changed(sweep, study.attrs)))


def _refuse_other_settings(sweep: Sweep, attrs: Mapping[str, Any], new_space: bool = False) -> None:
    """Raises UserError, which names each setting, where the study of these attributes was made for others; a
    ``new_space`` may be one.
    """
    changed = _changed(sweep, attrs)
    if all(new_space and name.startswith("space.") for name in changed):
        return
    groups = dict.fromkeys(name.split(".")[0] for name in changed)
    told = ", ".join(f"{name}: {_short(old)} there, {_short(new)} here" for name, (old, new) in changed.items())
    way = (
        ""
        if set(groups) != {"space"}
        else f", or change its space: {command('resume', sweep.name, '--set', 'search.space.…')}"
    )
    raise UserError(
        f"sweep '{sweep.name}' exists with other settings under {', '.join(groups)}; its trials can't be ranked with "
        f"these ({told}). Give this one another name (--name), or go on with the old one: "
        + command("resume", sweep.name)
        + way
    )


def _moved(sweep: Sweep, study: Study) -> dict[str, Any]:
    """Attributes of a study to whose trials the space of ``sweep`` is new: both spaces; empty where it is not.

    Raises UserError where none of them lies in it.
    """
    before = study.attrs["gansweep.comparable"]
    if not _changed(sweep, study.attrs):
        return {}
    params = [unkept(trial.params, sweep) for trial in study.trials]
    if params and not any(inside(sweep.search.space, one) for one in params):
        raise UserError(
            f"none of the {counted(len(params), 'trial')} of sweep '{sweep.name}' lies in the new space: widen it, or "
            "start a new sweep (--name)"
        )
    return {SPACES: [*study.attrs.get(SPACES, []), before["space"]], "gansweep.comparable": sweep.comparable()}


def _changed(sweep: Sweep, attrs: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Dotted name -> (value that a study was made for, the sweep's), where they differ. A setting that the study's
    version did not know has its default there.
    """
    made = dict(attrs["gansweep.comparable"])
    space = {"space": made.pop("space")}
    try:
        theirs = _flat(Sweep.model_validate({"name": sweep.name, **made, "search": space}).comparable())
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise UserError(
            f"sweep '{sweep.name}' was made by another version of gansweep, and this one can't read its settings "
            f"({where}: {error.errors()[0]['msg']}); go on with that version, or start a new sweep (--name)"
        ) from None
    ours = _flat(sweep.comparable())
    return {
        name: (theirs.get(name), ours.get(name))
        for name in sorted(ours.keys() | theirs.keys())
        if ours.get(name) != theirs.get(name)
    }


def _flat(groups: Mapping[str, Any]) -> dict[str, Any]:
    """``Sweep.comparable`` by dotted names, as JSON keeps it."""
    flat: dict[str, Any] = {}
    for group, values in json.loads(json.dumps(groups)).items():
        flat |= {f"{group}.{key}": v for key, v in values.items()} if isinstance(values, dict) else {group: values}
    return flat


def _short(value: Any) -> str:
    if isinstance(value, dict):
        value = {key: part for key, part in value.items() if part not in (None, False, {})}
    return "none" if value is None else json.dumps(value)
