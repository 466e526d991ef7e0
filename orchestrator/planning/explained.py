"""Every setting with its meaning, range and default, from the models that read them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from orchestrator.errors import UserError
from orchestrator.spec import Sweep
from trainers.settings import did_you_mean


class Setting(NamedTuple):
    """``name`` is dotted; ``values`` what it may be; ``default`` as it would stand in a file, empty where there is
    none.
    """

    name: str
    values: str
    default: str
    meaning: str


def settings(name: str | None = None) -> list[Setting]:
    """All, or those of a group, or one. Raises UserError where there is none of this name."""
    known = list(_all(Sweep.model_json_schema(by_alias=True)))
    found = [s for s in known if name is None or s.name == name or s.name.startswith(f"{name}.")]
    if not found:
        groups = {s.name.split(".")[0] for s in known}
        raise UserError(f"there is no setting {name!r}{did_you_mean(str(name), groups | {s.name for s in known})}")
    return found


def _all(schema: dict[str, Any]) -> Iterator[Setting]:
    definitions = schema["$defs"]
    required = schema.get("required", [])
    for name, field in schema["properties"].items():
        group = _group(field, definitions)
        if name == "code":  # filled in from the files that settings name
            continue
        if group is None:
            yield _setting(name, field, definitions, name in required)
            continue
        if field.get("description"):
            yield Setting(name, "a group", _default(field, False), field["description"])
        for each, inner in group["properties"].items():
            yield _setting(f"{name}.{each}", inner, definitions, False)


def _group(field: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any] | None:
    """The model behind a group of settings, which may be left out altogether."""
    for one in (field, *field.get("anyOf", ())):
        if "$ref" in one:
            found: dict[str, Any] = definitions[one["$ref"].rsplit("/", 1)[1]]
            return found
    return None


def _setting(name: str, field: dict[str, Any], definitions: dict[str, Any], required: bool) -> Setting:
    return Setting(name, _values(field), _default(field, required), field.get("description", ""))


def _default(field: dict[str, Any], required: bool) -> str:
    return "required" if required else json.dumps(field.get("default"))


def _values(field: dict[str, Any]) -> str:
    """``integer >= 1``, ``number > 0, < 1``, ``none | batch``, ``text or null``."""
    if "anyOf" in field:
        return " or ".join(map(_values, field["anyOf"]))
    if "$ref" in field:
        return "mapping"
    if "enum" in field:
        return " | ".join(map(str, field["enum"]))
    if "const" in field:
        return str(field["const"])
    if field.get("type") == "array":
        return f"list of {_values(field['items'])}" if "items" in field else "list"
    words = {"string": "text", "boolean": "true | false", "object": "mapping", "null": "null"}
    bounds = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    kind = str(field.get("type", "any"))
    limits = [f"{sign} {field[bound]:g}" for bound, sign in bounds.items() if bound in field]
    return " ".join([words.get(kind, kind), ", ".join(limits)]).strip()
