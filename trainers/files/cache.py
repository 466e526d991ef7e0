"""Where things that can be made again are kept."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def cache_folder() -> Path:
    """``GANSWEEP_CACHE``; else ``gansweep`` in the user's cache folder (``XDG_CACHE_HOME``, ``~/.cache``); else, where
    that can't be written or nobody knows the user (a container), a folder of the user's own among temporary files.
    """
    if named := os.environ.get("GANSWEEP_CACHE"):
        return Path(named)
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111  Path.home() raises
    of_user = Path(home) / "gansweep"
    if of_user.is_absolute() and _can_be_written(of_user):
        return of_user
    return temporary_home()


def temporary_home() -> Path:
    """A folder of the user's own among temporary files; a fresh one where somebody else has made it, who could change
    what lies there.
    """
    folder = Path(tempfile.gettempdir()) / f"gansweep-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        return Path(tempfile.mkdtemp(prefix=folder.name + "-"))
    return folder


def _can_be_written(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)
