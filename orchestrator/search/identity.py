"""Whether a study is of the same sweep: trials of one ledger are ranked with each other, so all were made alike."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from orchestrator.commands import command
from orchestrator.errors import UserError
from orchestrator.spec import Sweep

if TYPE_CHECKING:
    from orchestrator.search.journal import Study


def makes_way(study: Study, sweep: Sweep) -> bool:
    """Whether it never got a trial (its data was missing, say) and is another sweep's, or half made by one who died."""
    return not study.trials and ("gansweep.id" not in study.attrs or bool(_changed(sweep, study.attrs)))


def refuse_other_settings(sweep: Sweep, attrs: Mapping[str, Any]) -> None:
    """Raises UserError, which names each setting, where the study of these attributes was made for others."""
    changed = _changed(sweep, attrs)
    if not changed:
        return
    groups = dict.fromkeys(name.split(".")[0] for name in changed)
    told = ", ".join(f"{name}: {_short(old)} there, {_short(new)} here" for name, (old, new) in changed.items())
    raise UserError(
        f"sweep '{sweep.name}' exists with other settings under {', '.join(groups)}; its trials can't be ranked with "
        f"these ({told}). Give this one another name (--name), or go on with the old one: "
        + command("resume", sweep.name)
    )


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
