"""Folders and files in a directory or in S3-compatible storage, checked by content on the way back.

A folder is committed by its ``manifest.json``, which lists the sha256 and size of every other file and is written last:
without it the folder does not exist.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.artifacts.directory import DirectoryStore
from orchestrator.artifacts.s3 import S3Store
from orchestrator.artifacts.store import Store
from orchestrator.errors import UserError
from trainers.files.places import place

if TYPE_CHECKING:
    from orchestrator.paths import Home
    from orchestrator.spec import Sweep

__all__ = ["Store", "open_store", "store_of"]


def store_of(sweep: Sweep | None, home: Home) -> Store:
    """Where the artifacts of ``sweep``, or of any, are kept. Raises UserError as ``open_store``."""
    return open_store(home.store_url(sweep), home.artifacts)


def open_store(url: str, default: Path) -> Store:
    """``auto`` is the folder ``default``; ``s3://bucket/prefix`` finds its endpoint and keys in the environment
    (``AWS_ENDPOINT_URL`` …). Raises UserError for an address of any other kind.
    """
    if url == "auto":
        return DirectoryStore(default)
    try:
        where = place(url)
    except ValueError as error:
        raise UserError(f"artifacts.url: {error}") from None
    return S3Store(where) if where.startswith("s3://") else DirectoryStore(Path(where))
