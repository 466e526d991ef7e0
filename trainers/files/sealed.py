"""Folders that are whole or absent: ``manifest.json`` carries the size and sha256 of every file, and some facts.

A folder is written beside its place and moved in; damage that comes later is found when it is read. (No fsync: a
machine that loses power may leave a torn folder, which the checksums refuse.)
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from trainers.errors import CheckpointError

FORMAT = 1
MANIFEST = "manifest.json"


def seal(folder: Path, files: Mapping[str, bytes], **facts: Any) -> Path:
    """Writes ``files`` and JSON-able ``facts`` as ``folder``, replacing what stood there."""
    listed = {name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()}
    manifest = {"format": FORMAT, **facts, "files": listed}
    manifest["sha256"] = _own_hash(manifest)
    beside = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    for name, data in files.items():
        (beside / name).write_bytes(data)
    (beside / MANIFEST).write_text(json.dumps(manifest, indent=1))
    _move_in(beside, folder)
    return folder


def facts(folder: Path) -> dict[str, Any]:
    """The checked manifest: what ``seal`` was told, and ``files``.

    Raises CheckpointError where it is missing, damaged, or of a format that this version does not know.
    """
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_bytes())
    except FileNotFoundError:
        raise CheckpointError(f"{folder}: no checkpoint here ({MANIFEST} is missing)") from None
    except (ValueError, OSError) as error:
        raise CheckpointError(f"{folder}: {MANIFEST} cannot be read ({error})") from error
    if manifest.get("sha256") != _own_hash(manifest):
        raise CheckpointError(f"{folder}: {MANIFEST} is damaged (its own checksum differs)")
    if manifest.get("format") != FORMAT:
        raise foreign(folder, f"its format is {manifest.get('format')}, not {FORMAT}")
    return manifest


def foreign(folder: Path, odd: str) -> CheckpointError:
    """That another version wrote a folder which this one can't use, as ``odd`` shows, and what to do about it."""
    writer = json.loads((folder / MANIFEST).read_bytes()).get("version")
    return CheckpointError(
        f"{folder}: was written by {f'gansweep {writer}' if writer else 'an older gansweep'} and can't be used by this "
        f"one, {own_version()} ({odd}); go on with the version that wrote it, or train anew in another place"
    )


def own_version() -> str:
    """Of the installed package; a generator that is served brings its code and no package."""
    try:
        return version("gansweep")
    except PackageNotFoundError:
        return "unknown"


def content(folder: Path, name: str, manifest: Mapping[str, Any]) -> bytes:
    """A file's bytes. Raises CheckpointError where they are not those that were sealed."""
    expected = manifest["files"][name]
    try:
        data = (folder / name).read_bytes()
    except OSError as error:
        raise CheckpointError(f"{folder}: {name} cannot be read ({error.strerror})") from error
    if len(data) != expected["size"] or hashlib.sha256(data).hexdigest() != expected["sha256"]:
        raise CheckpointError(f"{folder}: {name} is damaged (its checksum differs from the manifest's)")
    return data


def _move_in(beside: Path, folder: Path) -> None:
    """os.replace cannot put a folder over a full one, so an older one steps aside first."""
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.replace(old)
    beside.replace(folder)
    shutil.rmtree(old, ignore_errors=True)


def _own_hash(manifest: Mapping[str, Any]) -> str:
    rest = {name: value for name, value in manifest.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
