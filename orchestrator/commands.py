"""Commands that a user is told to type: they can be copied as they stand."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from itertools import pairwise
from pathlib import Path

HOME = "gansweep-home"
"""Where neither ``--home`` nor GANSWEEP_HOME says otherwise."""


def command(*words: object) -> str:
    """``gansweep WORDS``, quoted for a shell, in the way and with the home of the command that runs now."""
    return shlex.join([_program(), *map(str, words), *_home()])


def _program() -> str:
    """The virtual environment need not be on the path."""
    called = Path(sys.argv[0])
    return os.path.relpath(called) if called.name == "gansweep" and not shutil.which("gansweep") else "gansweep"


def _home() -> list[str]:
    """Nothing where the next command finds this home by itself."""
    after = [word for before, word in pairwise(sys.argv) if before == "--home"]
    given = [*after, *(word.removeprefix("--home=") for word in sys.argv if word.startswith("--home="))][-1:]
    found = Path(os.environ.get("GANSWEEP_HOME") or HOME).absolute()
    return ["--home", *given] if given and Path(given[0]).absolute() != found else []
