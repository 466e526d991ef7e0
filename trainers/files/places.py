"""Where something lies: a local path, made absolute, or ``s3://bucket/prefix``. Any other kind of address is refused,
where it would otherwise become a folder of that name.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem as FileSystem

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(/+)(.*)", re.DOTALL)
_HADOOP = ("s3a", "s3n")


def place(text: str) -> str:
    """An absolute path, against the current directory, or ``s3://bucket/prefix``. Raises ValueError for what is
    neither.
    """
    address = _ADDRESS.fullmatch(text)
    if address is None:
        if not text.strip():
            raise ValueError("is empty; give a folder or s3://bucket/prefix")
        return _absolute(text)
    scheme, slashes, rest = address[1].lower(), address[2], address[3]
    if scheme == "s3" and slashes == "//" and rest.strip("/"):
        return f"s3://{rest}"
    if scheme == "file" and slashes != "//":
        return _absolute("/" + unquote(rest))
    if scheme == "file" and rest.startswith("localhost/"):
        return _absolute(unquote(rest.removeprefix("localhost")))
    hint = f"; {scheme}:// is Hadoop's word for s3://" if scheme in _HADOOP else ""
    raise ValueError(f"{scheme}:{slashes}… is no place that can be read; give a folder, or s3://bucket/prefix{hint}")


def database(text: str) -> str:
    """A database's URL, SQLite's file with an absolute path."""
    head, file = "sqlite:///", text.removeprefix("sqlite:///")
    return text if file == text or file in ("", ":memory:") else head + _absolute(file)


def is_missing(where: str) -> bool:
    """Whether nothing stands at a local path, or matches it as a pattern; of what is elsewhere nothing is known."""
    return not where.startswith("s3://") and not Path(where).exists() and not any(Path("/").glob(where.lstrip("/")))


def opened(where: str) -> tuple[FileSystem, str]:
    """The file system of a ``place``, and the path in it. S3 finds its endpoint and keys in the environment."""
    from pyarrow.fs import FileSystem, LocalFileSystem

    if where.startswith("s3://"):
        files, path = FileSystem.from_uri("s3://" + quote(where.removeprefix("s3://")))
        return files, path
    return LocalFileSystem(), where


def files_below(system: FileSystem, folder: str) -> list[str]:
    """Paths of all files below a folder, sorted. Raises OSError where it can't be listed."""
    from pyarrow.fs import FileSelector

    return sorted(info.path for info in system.get_file_info(FileSelector(folder, recursive=True)) if info.is_file)


def _absolute(path: str) -> str:
    try:
        return str(Path(path).expanduser().absolute())
    except RuntimeError:  # ~stranger
        raise ValueError(f"{path}: there is no such home directory") from None
