"""What a store of artifacts can do, and the check that what came back is what went in."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Protocol

from orchestrator.errors import DamagedArtifactError, StoreError

MANIFEST = "manifest.json"


class Store(Protocol):
    """Keys are relative POSIX paths. Every method raises StoreError with what to do about it."""

    @property
    def url(self) -> str:
        """Where it is, without secrets; ``open_store`` makes the same store of it."""

    def check(self) -> None:
        """Write, read and delete a probe."""

    def put(self, source: Path, key: str) -> None:
        """Store a file, or a folder that has a manifest; replaces what stood there."""

    def get(self, key: str, target: Path) -> Path:
        """Bring a file, or a verified folder, to the local path ``target``; returns it. Raises DamagedArtifactError
        where it is gone.
        """

    def exists(self, key: str) -> bool:
        """Whether a file, or a committed folder, stands there."""

    def delete(self, key: str) -> None:
        """Remove a file or folder; nothing happens where there is none."""


def manifest_files(manifest: Path, key: str) -> dict[str, dict[str, object]]:
    """File name -> {sha256, size}. Names that would leave the folder are refused: a manifest may come from outside."""
    try:
        entries = json.loads(manifest.read_text())["files"].items()
        files = {name: {"sha256": entry["sha256"], "size": entry["size"]} for name, entry in entries}
    except FileNotFoundError:
        raise StoreError(f"{key}: {manifest.parent} has no {MANIFEST}, without which no folder is stored") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DamagedArtifactError(f"{key}: {MANIFEST} is damaged") from None
    for name in files:
        if not (manifest.parent / name).resolve().is_relative_to(manifest.parent.resolve()):
            raise StoreError(f"{key}: {MANIFEST} names a file outside its folder ({name!r}); not loaded")
    return files


def verify(folder: Path, key: str) -> None:
    """Raise StoreError unless every file has the size and sha256 its manifest says."""
    for name, expected in manifest_files(folder / MANIFEST, key).items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != expected["size"] or _sha256(path) != expected["sha256"]:
            raise DamagedArtifactError(f"{key}/{name} is damaged: its content is not what was stored")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
