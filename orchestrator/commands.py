"""Commands that a user is told to type: they can be copied as they stand."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

HOME = "gansweep-home"
"""Where neither ``--home`` nor GANSWEEP_HOME says otherwise."""
PROFILE = "local"
"""Where neither ``--profile`` nor GANSWEEP_PROFILE says otherwise: everything in the home."""

used: dict[str, str] = {}
"""Options that Python gave as arguments, where a command line would have them."""


def command(*words: object) -> str:
    """``gansweep WORDS``, quoted for a shell, in the way and with the profile and home of the command that runs now."""
    return shlex.join([_program(), *map(str, words), *_profile(), *_home()])


def set_words(changes: Sequence[str]) -> list[str]:
    """Changes of settings, a.b=value each, as words of a command."""
    return [word for change in changes for word in ("--set", change)]


def _program() -> str:
    """The virtual environment need not be on the path."""
    called = Path(sys.argv[0])
    return os.path.relpath(called) if called.name == "gansweep" and not shutil.which("gansweep") else "gansweep"


def _profile() -> list[str]:
    """Nothing where the next command takes this profile by itself."""
    given = _given("--profile")
    return ["--profile", given] if given and given != (os.environ.get("GANSWEEP_PROFILE") or PROFILE) else []


def _home() -> list[str]:
    """Nothing where the next command finds this home by itself."""
    given, found = _given("--home"), Path(os.environ.get("GANSWEEP_HOME") or HOME).absolute()
    return ["--home", given] if given and Path(given).absolute() != found else []


def _given(option: str) -> str | None:
    """Its value on the command line that runs now, or in Python."""
    after = [word for before, word in pairwise(sys.argv) if before == option]
    after += [word.removeprefix(f"{option}=") for word in sys.argv if word.startswith(f"{option}=")]
    return after[-1] if after else used.get(option)
