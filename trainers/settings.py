"""Read a YAML file into frozen values, strictly: every problem at once, each with its line, its dotted name and a way
out.
"""

from __future__ import annotations

import copy
import difflib
import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

M = TypeVar("M", bound=BaseModel)
Path_ = tuple[Hashable, ...]


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a file. ``where`` is a dotted name; ``line`` counts from 1, or is None for ``--set``."""

    where: str
    message: str
    line: int | None = None


class SettingsError(Exception):
    """The settings are unusable; carries every problem found."""

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        super().__init__(source, problems)
        self.source, self.problems = source, sorted(problems, key=lambda p: p.line or 0)

    def __str__(self) -> str:
        return "\n".join(
            f"{self.source}{f':{p.line}' if p.line else ''}: {p.where + ': ' if p.where else ''}{p.message}"
            for p in self.problems
        )


@dataclass
class Document:
    """A YAML mapping that remembers on which line each key stood."""

    source: str
    values: dict[str, Any]
    lines: dict[Path_, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def line_of(self, path: Path_) -> int | None:
        """The line of a key, or of the nearest parent that stands in the file."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path)

    def problem(self, where: str, message: str, path: Path_ | None = None) -> Problem:
        return Problem(where, message, self.line_of(tuple(where.split(".")) if path is None else path))


def read(file: Path, overrides: Sequence[str] = ()) -> Document:
    """Parse ``file`` and lay ``a.b=value`` overrides over it; what is odd in either is kept for ``build`` to raise with
    the rest.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        raise SettingsError(str(file), [Problem("", f"can't be read: {reason}")]) from None
    document = parse(text, str(file))
    for override in overrides:
        _override(document, override)
    return document


def parse(text: str, source: str) -> Document:
    """Parse YAML text; duplicate keys are kept as problems, broken syntax raises SettingsError."""
    document = Document(source, {})
    try:
        node = yaml.compose(text, Loader=_Loader)
        if not isinstance(node, yaml.MappingNode):
            raise SettingsError(
                source, [Problem("", "is empty or not a mapping of settings; start with 'name: my-sweep'")]
            )
        document.values = _construct(node, (), document)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise SettingsError(source, [Problem("", f"not valid YAML: {error.problem}", line)]) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # control characters, impossible dates, loops
        reason = str(error).splitlines()[0]
        raise SettingsError(source, [Problem("", f"not valid YAML: {reason}")]) from None
    return document


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
    problems = list(document.problems)
    values = copy.deepcopy(document.values)
    while True:
        try:
            made = model.model_validate(values)
        except ValidationError as error:
            problems += [_explain(model, document, e) for e in error.errors(include_url=False)]
            left_out = [_leave_out(values, e["loc"], stand_ins or {}) for e in error.errors(include_url=False)]
            if not all(left_out):
                break
        else:
            problems += check(made)
            if not problems:
                return made
            break
    raise SettingsError(document.source, list(dict.fromkeys(problems)))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?`` or the list of what is known."""
    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean '{close[0]}'?" if close else f"; known: {', '.join(known)}"


class _Loader(yaml.SafeLoader):
    """Safe loader that also reads ``1e-3`` as a number (YAML 1.2), where PyYAML's 1.1 makes it a string."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$"), list("-+.0123456789")
)


def _construct(node: yaml.Node, path: Path_, document: Document) -> Any:
    document.lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        values: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            key = _construct(key_node, (*path, "<key>"), document)
            here = (*path, key)
            if key in values:
                line = key_node.start_mark.line + 1
                first = document.lines[here]
                where = ".".join(map(str, here))
                document.problems.append(Problem(where, f"stands twice, first on line {first}", line))
                continue
            document.lines[here] = key_node.start_mark.line + 1
            values[key] = _construct(value_node, here, document)
        return values
    if isinstance(node, yaml.SequenceNode):
        return [_construct(item, (*path, i), document) for i, item in enumerate(node.value)]
    loader = _Loader("")
    return loader.construct_object(node)


def _override(document: Document, override: str) -> None:
    name, equals, value = override.partition("=")
    if not equals or not name.strip():
        document.problems.append(Problem("", f"--set {override!r} is not of the form a.b=value"))
        return
    *parents, last = name.strip().split(".")
    group = document.values
    for parent in parents:
        group = group.setdefault(parent, {})
        if not isinstance(group, dict):
            document.problems.append(Problem(name, f"--set {override!r}: '{parent}' is a value, not a group"))
            return
    try:
        group[last] = _Loader(value).get_single_data()
    except yaml.YAMLError:
        document.problems.append(Problem(name, f"--set {override!r}: the value is not valid YAML"))


def _leave_out(values: Any, loc: tuple[int | str, ...], stand_ins: Mapping[str, Any]) -> bool:
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


def _explain(model: type[BaseModel], document: Document, error: Any) -> Problem:
    loc = tuple(part for part in error["loc"] if part != "[key]")
    where = ".".join(map(str, loc))
    line = document.line_of(loc)
    match error["type"]:
        case "extra_forbidden":
            message = f"unknown setting{did_you_mean(str(loc[-1]), _fields(model, loc[:-1]))}"
        case "missing":
            message = "is required"
        case "value_error":
            message = str(error["ctx"]["error"])
        case _:
            message = f"{error['msg'][0].lower()}{error['msg'][1:]}, got {error['input']!r}"
    return Problem(where, message, line)


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
