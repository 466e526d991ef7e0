"""Artifacts in a local or shared directory. Everything is written beside and moved in."""

from __future__ import annotations

import errno
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.artifacts.store import MANIFEST, Store, manifest_files, verify
from orchestrator.errors import DamagedArtifactError, StoreError


class DirectoryStore:
    """A store in the folder ``root``, which is made on first use."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()

    @property
    def url(self) -> str:
        return str(self.root)

    def check(self) -> None:
        with _explained(f"artifact folder {self.root}"):
            self.root.mkdir(parents=True, exist_ok=True)
            probe = self.root / f".probe-{uuid.uuid4().hex}"
            probe.write_bytes(b"gansweep")
            probe.unlink()

    def put(self, source: Path, key: str) -> None:
        target = self._path(key)
        beside = target.with_name(f".{target.name}-{uuid.uuid4().hex}")
        with _explained(f"artifact {key} in {self.root}"):
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                if source.is_dir():
                    _copy_folder(source, beside, key)
                    shutil.rmtree(target, ignore_errors=True)
                else:
                    shutil.copy2(source, beside)
                beside.replace(target)
            finally:
                _remove(beside)

    def get(self, key: str, target: Path) -> Path:
        source = self._path(key)
        if not self.exists(key):
            raise DamagedArtifactError(f"artifact {key} is not in {self.root}")
        with _explained(f"artifact {key} from {self.root}"):
            if source.is_dir():
                _copy_folder(source, target, key)
                verify(target, key)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)
        return target

    def exists(self, key: str) -> bool:
        path = self._path(key)
        return path.is_file() or (path / MANIFEST).is_file()

    def delete(self, key: str) -> None:
        with _explained(f"artifact {key} in {self.root}"):
            _remove(self._path(key))

    def _path(self, key: str) -> Path:
        path = (self.root / key).resolve()
        if not path.is_relative_to(self.root) or path == self.root:
            raise StoreError(f"artifact key {key!r} leaves the store {self.root}")
        return path


def _copy_folder(source: Path, target: Path, key: str) -> None:
    """Stops at the first error, where ``copytree`` would go on and lose its cause."""
    for name in (*manifest_files(source / MANIFEST, key), MANIFEST):
        if not (source / name).is_file():
            raise DamagedArtifactError(f"{key}/{name} is gone")
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source / name, target / name)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def _explained(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        way_out = (
            "free some space, then resume"
            if error.errno in (errno.ENOSPC, errno.EDQUOT)
            else "check the path and its permissions"
        )
        raise StoreError(f"{what}: {error.strerror or error}; {way_out}") from error


if TYPE_CHECKING:
    _: Store = DirectoryStore(Path())
