"""Read a YAML file into frozen values, strictly: every problem at once, each with its line, its dotted name and a way
out.
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from trainers.reading.document import Document, Path_, Problem, SettingsError, parse, read

__all__ = ["Document", "Problem", "SettingsError", "build", "did_you_mean", "parse", "read"]

M = TypeVar("M", bound=BaseModel)
Loc = tuple[int | str, ...]


def build(
    model: type[M],
    document: Document,
    check: Callable[[M], Iterable[Problem]] = lambda _: (),
    stand_ins: Mapping[str, Any] | None = None,
) -> M:
    """The document as a validated ``model`` in which ``check`` finds no problem either.

    Raises SettingsError with every problem of the file: what validation refuses is reported and left out, so that
    ``check`` still sees the rest; ``stand_ins`` take the place of required settings that are missing or refused.
    """
    problems: list[Problem] = []
    told: list[Loc] = []
    values = copy.deepcopy(document.values)
    while True:
        try:
            made = model.model_validate(values)
        except ValidationError as error:
            mistakes = _mistakes(error, values)
            new = {loc: errors for loc, errors in mistakes.items() if not any(t[: len(loc)] == loc for t in told)}
            problems += [_explain(model, document, loc, errors) for loc, errors in new.items()]
            told += new  # what is wrong around these from now on is that they were left out
            left_out = [_leave_out(values, loc, stand_ins or {}) for loc in mistakes]
            if not all(left_out):
                break
        else:
            refused = {problem.where for problem in problems}  # left out above, so nobody is told that it is missing
            problems += [problem for problem in check(made) if problem.where not in refused]
            if not problems and not document.problems:
                return made
            break
    odd = {problem.where for problem in document.problems if problem.where}  # what follows from these says nothing new
    problems = [problem for problem in problems if problem.where not in odd]
    raise SettingsError(document.source, list(dict.fromkeys([*document.problems, *problems])))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?`` or the list of what is known."""
    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean '{close[0]}'?" if close else f"; known: {', '.join(known)}"


def _leave_out(values: Any, loc: Loc, stand_ins: Mapping[str, Any]) -> bool:
    """Remove what stands at ``loc``, or the nearest group around it; False where there is nothing to remove."""
    if len(loc) == 1 and loc[0] in stand_ins:
        values[loc[0]] = stand_ins[str(loc[0])]
        return True
    parents, here = [], values
    for part in loc:
        if not isinstance(here, dict) or part not in here:
            break
        parents.append((here, part))
        here = here[part]
    if not parents:
        return False
    group, key = parents[-1]
    del group[key]
    return True


def _mistakes(error: ValidationError, values: Any) -> dict[Loc, list[Any]]:
    """Each place at fault with what is wrong there: of a setting that may be one thing or another, pydantic tells all
    that it is not.
    """
    found: dict[Loc, list[Any]] = {}
    for each in error.errors(include_url=False):
        loc = tuple(part for part in each["loc"] if part != "[key]")
        known = loc if each["type"] == "missing" else loc[: _depth(values, loc)]
        found.setdefault(known, []).append(each)
    return found


def _depth(values: Any, loc: Loc) -> int:
    """How many parts of ``loc`` lead somewhere in the file; the rest are names of kinds."""
    for depth, part in enumerate(loc):
        there = isinstance(values, dict) and part in values
        there |= isinstance(values, list) and isinstance(part, int) and part < len(values)
        if not there:
            return depth
        values = values[part]
    return len(loc)


def _explain(model: type[BaseModel], document: Document, loc: Loc, errors: list[Any]) -> Problem:
    first = errors[0]
    given = document.written.get(loc, first["input"])
    match first["type"]:
        case "extra_forbidden":
            message = f"unknown setting{did_you_mean(str(loc[-1]), _fields(model, loc[:-1]))}"
        case "missing":
            message = "is required"
        case "value_error":
            message = str(first["ctx"]["error"])
        case "string_type" if isinstance(given, bool | int | float | date):
            message = f"should be text, and this is read as {given!r}: put it in quotes"
        case _:
            words = " or ".join(dict.fromkeys(error["msg"][0].lower() + error["msg"][1:] for error in errors))
            message = f"{words}, got {given!r}"
    return Problem(".".join(map(str, loc)), message, document.line_of(loc))


def _fields(model: type[BaseModel], path: Path_) -> list[str]:
    """The names that may stand in the group at ``path``, as a user writes them."""
    for part in path:
        info = model.model_fields.get(str(part))
        if info is None:  # an entry of a mapping: the model is the mapping's value type
            continue
        candidates = [info.annotation, *_flatten(info.annotation)]
        model = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), model)
    return [info.alias or name for name, info in model.model_fields.items()]


def _flatten(annotation: Any) -> list[Any]:
    return [leaf for arg in get_args(annotation) for leaf in (arg, *_flatten(arg))]
