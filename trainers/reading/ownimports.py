"""Gathered code (``owncode.py``) imported from memory, under the names it has beside the sweep file."""

from __future__ import annotations

import importlib
import socket
import sys
import traceback
from collections.abc import Mapping, Sequence
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from pathlib import PurePosixPath
from types import ModuleType
from typing import Any

from trainers.errors import OwnCodeError
from trainers.reading.owncode import GATHERED, Bundle, is_gathered


def provide(code: Mapping[str, Bundle]) -> None:
    """Make the bundles importable in this process. Nothing of them runs before a name asks for it."""
    for sha, bundle in code.items():
        _LOADER.bundles.setdefault(sha[:12], bundle)


def find(name: str, setting: str) -> Any:
    """What a gathered ``name`` stands for. Raises OwnCodeError, which names file, line and node, where importing it
    fails.
    """
    asked = GATHERED.fullmatch(name)
    assert asked is not None
    bundle = _LOADER.bundles.get(asked["hash"])
    if bundle is None:
        raise OwnCodeError(f"{setting}: the code of {name!r} is not here; submit the sweep file that names it")
    module = _module(asked["where"], bundle)
    try:
        return getattr(_LOADER.imported(asked["hash"], module), asked["name"])
    except (Exception, SystemExit) as error:  # whatever the user's code raises
        raise OwnCodeError(
            f"{setting}: {name!r} can't be imported on {socket.gethostname()}: {_told(error)}"
        ) from error


def try_all(settings: Mapping[str, Any], setting: str = "") -> None:
    """Import all own code that ``settings`` name, so that what fails is known before a training waits for it. Raises
    OwnCodeError.
    """
    for key, value in settings.items():
        where = f"{setting}.{key}".lstrip(".")
        if isinstance(value, dict) and where != "code":
            try_all(value, where)
        for one in value if isinstance(value, list | tuple) else [value]:
            if isinstance(one, str) and is_gathered(one):
                find(one, where)


def _module(where: str, bundle: Bundle) -> str:
    """The module in a bundle that was asked for as ``./lib/net.py`` or ``lib.net``."""
    if not where.endswith(".py"):
        return where
    parts = PurePosixPath(where).with_suffix("").parts
    candidates = (parts[i:] for i in range(len(parts)))
    return next(".".join(c) for c in candidates if "/".join(c) + ".py" in bundle)


def _told(error: BaseException) -> str:
    """Class, message and the place in the user's files."""
    said = "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]
    if isinstance(error, SyntaxError):
        return f"{said} ({error.filename}, line {error.lineno})"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if _LOADER.owns(f.filename)]
    return f"{said} ({frames[-1].filename}, line {frames[-1].lineno})" if frames else said


class _Loader(MetaPathFinder, InspectLoader):
    """Imports from bundles held in memory. Of two bundles with a module of one name, the one that was asked for last
    has it.
    """

    def __init__(self) -> None:
        self.bundles: dict[str, Bundle] = {}
        self._current: str | None = None
        self._done: dict[tuple[str, str], ModuleType] = {}

    def imported(self, sha: str, module: str) -> ModuleType:
        if (sha, module) not in self._done:
            if self not in sys.meta_path:
                sys.meta_path.insert(0, self)
            self._make_way(sha)
            self._current = sha
            self._done[sha, module] = importlib.import_module(module)
        return self._done[sha, module]

    def owns(self, filename: str) -> bool:
        return filename.partition("/")[0] in self.bundles

    def _make_way(self, sha: str) -> None:
        """Modules of other bundles step aside; one that is not ours stays, and is said."""
        for path in self.bundles[sha]:
            name = _name(path)
            standing = sys.modules.get(name)
            if standing is None:
                continue
            if getattr(standing, "__loader__", None) is not self:
                raise ImportError(f"{path} is called like a module that is loaded here; give the file another name")
            if self._current != sha:
                del sys.modules[name]

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if self._current is None or (file := self._file(fullname)) is None:
            return None
        origin = f"{self._current}/{file}"
        return spec_from_loader(fullname, self, origin=origin, is_package=self.is_package(fullname))

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        source = self.get_source(module.__name__)
        assert source is not None
        exec(compile(source, str(module.__spec__.origin), "exec"), module.__dict__)

    def get_source(self, fullname: str) -> str | None:
        """Also for tracebacks."""
        file = self._file(fullname)
        return self.bundles[self._current].get(file, "") if self._current and file else None

    def is_package(self, fullname: str) -> bool:
        return (self._file(fullname) or "").endswith(("/", "/__init__.py"))

    def _file(self, module: str) -> str | None:
        """Of a folder without ``__init__.py`` its own path."""
        bundle, path = self.bundles.get(self._current or "", {}), module.replace(".", "/")
        folder = any(file.startswith(f"{path}/") for file in bundle)
        return next((f for f in (f"{path}.py", f"{path}/__init__.py") if f in bundle), f"{path}/" if folder else None)


def _name(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


_LOADER = _Loader()
