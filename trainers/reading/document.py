"""A YAML file as people and templating tools write it: merge keys, ``${VAR}`` from the environment, every key with the
line it stood on.
"""

from __future__ import annotations

import os
import re
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

Path_ = tuple[Hashable, ...]

NAMED = "search.space."
"""The group whose own keys are dotted names."""


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
    """A YAML mapping that remembers on which line each key stood, and what stood where the environment filled in a
    value: that may be a secret, and is never shown.
    """

    source: str
    values: dict[str, Any]
    lines: dict[Path_, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    written: dict[Path_, str] = field(default_factory=dict)

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
    for each in overrides:
        override(document, each)
    return document


def parse(text: str, source: str) -> Document:
    """Parse YAML text; duplicate keys and unset variables are kept as problems, broken syntax raises SettingsError.

    ``${VAR}`` and ``${VAR:-default}`` are filled from the environment. Top-level keys that begin with ``x-`` hold what
    merge keys refer to, and are no settings.
    """
    document = Document(source, {})
    if templates := [
        Problem("", f"{found} is not filled in: render the file first", n) for n, found in _templates(text)
    ]:
        raise SettingsError(source, templates)
    try:
        node = yaml.compose(_marked(text), Loader=_Loader)
        if not isinstance(node, yaml.MappingNode):
            raise SettingsError(
                source, [Problem("", "is empty or not a mapping of settings; start with 'name: my-sweep'")]
            )
        values = _construct(node, (), document)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise SettingsError(source, [Problem("", f"not valid YAML: {error.problem}", line)]) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # control characters, impossible dates, loops
        reason = str(error).splitlines()[0]
        raise SettingsError(source, [Problem("", f"not valid YAML: {reason}")]) from None
    document.values = {key: value for key, value in values.items() if not str(key).startswith("x-")}
    return document


class _Loader(yaml.SafeLoader):
    """Safe loader that also reads ``1e-3`` as a number (YAML 1.2), where PyYAML's 1.1 makes it a string."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$"), list("-+.0123456789")
)

_MAP, _SEQ, _MERGE = "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq", "tag:yaml.org,2002:merge"


def _construct(node: yaml.Node, path: Path_, document: Document) -> Any:
    document.lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node, path, document)
    if node.tag not in (_MAP, _SEQ):
        raise _odd(node, f"the tag {node.tag!r} has no meaning here")
    if isinstance(node, yaml.SequenceNode):
        return [_construct(item, (*path, i), document) for i, item in enumerate(node.value)]
    merged: dict[Any, Any] = {}
    for source in reversed(list(_merged(node))):  # the first of a list counts most
        merged |= _construct(source, path, document)
    return merged | _mapping(node, path, document)


def _mapping(node: yaml.Node, path: Path_, document: Document) -> dict[Any, Any]:
    """The keys that stand in the mapping itself."""
    values: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        if key_node.tag == _MERGE:
            continue
        if not isinstance(key_node, yaml.ScalarNode):
            raise _odd(key_node, "a list or a mapping can't be a key")
        key, line = _scalar(key_node, (*path, "<key>"), document), key_node.start_mark.line + 1
        here = (*path, key)
        if key in values:
            where = ".".join(map(str, here))
            document.problems.append(Problem(where, f"stands twice, first on line {document.lines[here]}", line))
            continue
        document.lines[here] = line
        values[key] = _construct(value_node, here, document)
    return values


def _merged(node: yaml.Node) -> Iterator[yaml.Node]:
    """The mappings that ``<<`` lays under this one."""
    for key_node, value_node in node.value:
        if key_node.tag == _MERGE:
            for source in value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]:
                if not isinstance(source, yaml.MappingNode):
                    raise _odd(source, "'<<' takes a mapping, as in '<<: *base', or a list of them")
                yield source


def _odd(node: yaml.Node, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)


# -- variables and templates -------------------------------------------------------------------------------------------

_OPEN, _CLOSE = "\ue000", "\ue001"  # stand for ${ and }: braces would end a value in {a: ${B}}
_MARKED = re.compile(f"{_OPEN}([^{_CLOSE}]*){_CLOSE}")
_VARIABLE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?")
_TEMPLATE = re.compile(r"""^(?:[^#]|(?<=\S)\#)*?(\{\{.*?\}\}|\{%.*?%\}|\{\{|\{%)""")


def _marked(text: str) -> str:
    return re.sub(r"\$\{([^}\n]*)\}", rf"{_OPEN}\1{_CLOSE}", text)


def _templates(text: str) -> Iterator[tuple[int, str]]:
    """Line and text of what a templating tool should have filled in, once per line; not in comments."""
    for number, line in enumerate(text.splitlines(), 1):
        if found := _TEMPLATE.match(line):
            yield number, found[1]


def fill(text: str, path: Path_, document: Document) -> str:
    """``${VAR}`` and ``${VAR:-default}`` in ``text``, which stands at ``path``, filled from the environment; what is
    not set is kept as a problem of the document.
    """
    return _fill(_marked(text), path, document.line_of(path), document)


def _fill(marked: str, path: Path_, line: int | None, document: Document) -> str:
    return _MARKED.sub(lambda found: _filled(found[1], path, line, document), marked)


def _scalar(node: yaml.ScalarNode, path: Path_, document: Document) -> Any:
    if _OPEN in node.value:
        document.written[path] = _MARKED.sub(r"${\1}", node.value)
        value = _fill(node.value, path, node.start_mark.line + 1, document)
        tag = node.tag if node.style else _Loader("").resolve(yaml.ScalarNode, value, (True, False))  # type: ignore[no-untyped-call]  # may be a number
        node = yaml.ScalarNode(tag, value, node.start_mark, node.end_mark)
    return _Loader("").construct_object(node)


def _filled(inner: str, path: Path_, line: int | None, document: Document) -> str:
    where, found = ".".join(map(str, path)), _VARIABLE.fullmatch(inner)
    if found is None:
        message = f"${{{inner}}} can't be filled: variables of the environment stand as ${{NAME}} or ${{NAME:-default}}"
    elif value := os.environ.get(found[1]) or found[2]:
        return str(value)
    elif found[2] is not None or found[1] in os.environ:
        return ""
    else:
        message = f"the variable {found[1]} is not set; set it, or give a default: ${{{found[1]}:-…}}"
    document.problems.append(Problem(where, message, line))
    return f"${{{inner}}}"


def value_of(text: str) -> Any:
    """As it would be read in a file. Raises YAMLError."""
    return _Loader(text).get_single_data()


def override(document: Document, setting: str) -> None:
    """Lay ``a.b=value`` over it."""
    name, equals, value = setting.partition("=")
    if not equals or not name.strip():
        document.problems.append(Problem("", f"--set {setting!r} is not of the form a.b=value"))
        return
    *parents, last = name.strip().split(".", name.strip().startswith(NAMED) * 2 or -1)
    group = document.values
    for parent in parents:
        group = group.setdefault(parent, {})
        if not isinstance(group, dict):
            document.problems.append(Problem(name, f"--set {setting!r}: '{parent}' is a value, not a group"))
            return
    try:
        group[last] = value_of(value)
    except yaml.YAMLError:
        document.problems.append(Problem(name, f"--set {setting!r}: the value is not valid YAML"))
