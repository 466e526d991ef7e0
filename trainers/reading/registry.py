"""Names of built-in parts in plain dicts; ``package.module:Name`` and ``./file.py:Name`` reach code from outside."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from typing import Any, TypeVar

from trainers.errors import UnusableSettingError
from trainers.reading.owncode import is_gathered
from trainers.reading.ownimports import find

T = TypeVar("T")


def lookup(table: Mapping[str, T], name: str, setting: str) -> T | Any:
    """What ``name`` stands for in ``table``, or the object of a module: the user's own, or an installed one.

    Raises UnusableSettingError, naming ``setting``, where there is no such thing.
    """
    if name in table:
        return table[name]
    if is_gathered(name):
        return find(name, setting)
    if ":" in name:
        return _import(name, setting)
    close = difflib.get_close_matches(name, table, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    known = f"{', '.join(sorted(table))}, package.module:Name or ./file.py:Name"
    raise UnusableSettingError(f"{setting}: unknown name {name!r}{hint} (known: {known})")


def _import(path: str, setting: str) -> Any:
    module, _, name = path.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UnusableSettingError(f"{setting}: cannot import {path!r}: {error}") from error
