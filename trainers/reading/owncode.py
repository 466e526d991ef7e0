"""The user's own code: ``./mynet.py:Net``, a file beside the sweep file, or ``package.module:Class`` that lies there.

``gather`` reads such a file together with what it imports from beside itself, and puts the sources into the settings
under their sha256; the name that asked for them gets that hash: ``./mynet.py:Net@3f2a9c0124de``. So the code goes
wherever the settings go (ledger, workers, checkpoints), and other content is another name. ``ownimports.py`` makes
it importable again.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from trainers.errors import OwnCodeError
from trainers.reading.document import Document

Bundle = Mapping[str, str]
"""Source by path, relative to the folder from which its files import each other."""
MOST = 1_000_000
"""Characters of one bundle: it is written into every checkpoint."""

_FILE = re.compile(r"(?P<file>\.{0,2}/.*\.py):(?P<name>[A-Za-z_]\w*)")
_MODULE = re.compile(r"(?P<module>[A-Za-z_][\w.]*):(?P<name>[A-Za-z_]\w*)")
GATHERED = re.compile(r"(?P<where>[^@]+):(?P<name>\w+)@(?P<hash>[0-9a-f]{12})")


def digest(bundle: Bundle) -> str:
    """The sha256 of a bundle's paths and sources."""
    return hashlib.sha256(json.dumps(dict(bundle), sort_keys=True).encode()).hexdigest()


def gather(document: Document, folder: Path) -> None:
    """Take into ``document`` the code that its values name by files below or beside ``folder``; what is wrong with one
    is kept as a problem.
    """
    found: dict[str, Bundle] = {}
    document.values = _gathered(document.values, (), document, folder, found)
    if found:
        document.values["code"] = {**(document.values.get("code") or {}), **found}


def standing(settings: Mapping[str, Any], folder: Path) -> set[str]:
    """The sha256 that the code which gathered ``settings`` name has now, in the files as seen from ``folder``."""
    document = Document("", _as_written({**settings, "code": {}}))
    gather(document, folder)
    return set(document.values["code"])


def _as_written(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _as_written(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return list(map(_as_written, value))
    return value.partition("@")[0] if isinstance(value, str) and is_gathered(value) else value


def _gathered(value: Any, path: tuple[Any, ...], document: Document, folder: Path, found: dict[str, Bundle]) -> Any:
    if isinstance(value, dict):
        return {
            key: inner if not path and key == "code" else _gathered(inner, (*path, key), document, folder, found)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [_gathered(inner, (*path, i), document, folder, found) for i, inner in enumerate(value)]
    entry = _entry(value, folder) if isinstance(value, str) else None
    if entry is None:
        return value
    try:
        bundle = _bundle(entry)
    except OwnCodeError as error:
        document.problems.append(document.problem(".".join(map(str, path)), str(error), path))
        return value
    found[sha := digest(bundle)] = bundle
    return f"{value}@{sha[:12]}"


class _Entry(NamedTuple):
    root: Path
    module: str
    name: str


def _entry(value: str, folder: Path) -> _Entry | None:
    """The file that ``value`` asks for, or None where it asks for none: a module that does not lie in ``folder`` is an
    installed one.
    """
    if asked := _FILE.fullmatch(value):
        file = (folder / asked["file"]).absolute()
        root, parts = file.parent, [file.stem]
        while (root / "__init__.py").exists():  # the file is part of a package, and may import its siblings as such
            root, parts = root.parent, [root.name, *parts]
        return _Entry(root, ".".join(parts), asked["name"])
    if (asked := _MODULE.fullmatch(value)) and _file_of(folder, asked["module"]):
        return _Entry(folder, asked["module"], asked["name"])
    return None


def _bundle(entry: _Entry) -> Bundle:
    """The entry's file and what it imports, directly or not, of the files below its root. Raises OwnCodeError."""
    bundle: dict[str, str] = {}
    modules, seen = [entry.module], set()
    while modules:
        module = modules.pop()
        if module in seen:
            continue
        seen.add(module)
        file = _file_of(entry.root, module)
        if file is None and module == entry.module:
            raise OwnCodeError(f"there is no {entry.root / (module.replace('.', '/') + '.py')}")
        if file is None:
            continue  # a package without __init__.py, or a name that the module above it defines
        source, tree = _parsed(file)
        bundle[file.relative_to(entry.root).as_posix()] = source
        if module == entry.module:
            _require(entry.name, tree, file)
        modules += [*_parents(module), *_imported(tree, module, file.name == "__init__.py")]
    if (size := sum(map(len, bundle.values()))) > MOST:
        raise OwnCodeError(f"{', '.join(bundle)}: {size:,} characters of code, at most {MOST:,} can travel; install it")
    return dict(sorted(bundle.items()))


def _file_of(root: Path, module: str) -> Path | None:
    path = root.joinpath(*module.split("."))
    return next((f for f in (path.with_name(path.name + ".py"), path / "__init__.py") if f.is_file()), None)


def _parsed(file: Path) -> tuple[str, ast.Module]:
    try:
        source = file.read_text(encoding="utf-8")
        return source, ast.parse(source)
    except OSError as error:
        raise OwnCodeError(f"{file} can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise OwnCodeError(f"{file} is not UTF-8 text") from None
    except SyntaxError as error:
        raise OwnCodeError(f"{file}, line {error.lineno}: {error.msg}") from None
    except ValueError as error:  # a null byte
        raise OwnCodeError(f"{file}: {error}") from None


def _parents(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:i]) for i in range(1, len(parts))]


def _imported(tree: ast.Module, module: str, is_package: bool) -> Iterator[str]:
    """Every module that a file may ask for, wherever in it."""
    package = module if is_package else module.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*filter(None, above), *filter(None, [node.module])])
            names = [base, *(f"{base}.{alias.name}".lstrip(".") for alias in node.names)]
        else:
            continue
        yield from (name for name in names if name and name.split(".")[0] not in sys.stdlib_module_names)


def _require(name: str, tree: ast.Module, file: Path) -> None:
    """Raises OwnCodeError where nothing at the top of a file is called ``name``."""
    known: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.ClassDef():
                known.add(node.name)
            case ast.Name(ctx=ast.Store()):
                known.add(node.id)
            case ast.alias(name="*"):
                return  # only running it would tell
            case ast.alias():
                known.add(node.asname or node.name.split(".")[0])
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        raise OwnCodeError(f"{file} defines no {name!r}" + (f"; did you mean {close[0]!r}?" if close else ""))


def require_trusted(code: Mapping[str, Bundle], trusted: Iterable[str], source: object) -> None:
    """Raises OwnCodeError where ``source`` brings code whose sha256 is not among ``trusted``."""
    known = set(trusted)
    for sha, bundle in code.items():
        if sha not in known:
            raise OwnCodeError(
                f"{source} brings code of its own ({', '.join(bundle)}), which would run here: go where the same files "
                f"lie as in its sweep file, or, if you trust them, name their sha256 (--code-sha256 {sha})"
            )


def is_gathered(name: str) -> bool:
    return GATHERED.fullmatch(name) is not None


def plain(name: str) -> str:
    """What a measure from outside is called among its values: the name of its function; any other name as it is."""
    return name.rpartition(":")[2].partition("@")[0]
