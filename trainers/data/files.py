"""Which Parquet files a data set is made of: from folders, files and patterns, here or in S3."""

from __future__ import annotations

import fnmatch
import re
from typing import TYPE_CHECKING, NamedTuple

from trainers.data.splits import Splits, chosen, split_of
from trainers.errors import DataError
from trainers.files.places import files_below, opened

if TYPE_CHECKING:
    from trainers.files.places import FileSystem

SUFFIXES = (".parquet", ".pq")
_WILD = re.compile(r"[*?\[]")


class Files(NamedTuple):
    """Paths in one file system: of the shards to train on, and of those that are held out (none: a share of the
    first); ``splits`` where their names say which are which.
    """

    system: FileSystem
    train: list[str]
    held_out: list[str]
    splits: Splits | None


def parquet_files(places: tuple[str, ...]) -> Files:
    """The files of ``data.path``. A folder whose files are called train and test gives both; who names files or a
    pattern trains on all of them. Raises DataError where there are none, OSError where they can't be listed.
    """
    if not places:
        raise DataError("data.path: is missing; give the place of the Parquet files")
    if len({place.startswith("s3://") for place in places}) > 1:
        raise DataError("data.path: some places are local and others in S3; bring them to one")
    (system, _), *_ = located = [opened(place) for place in places]
    found = [_matching(system, path) for _, path in located]
    if not any(found):
        raise DataError(f"data.path: no Parquet files in {', '.join(map(repr, places))}")
    if len(places) == 1 and system.get_file_info(located[0][1]).type.name == "Directory":
        return _split(system, located[0][1], found[0])
    return Files(system, list(dict.fromkeys(path for paths in found for path in paths)), [], None)


def _split(system: FileSystem, folder: str, files: list[str]) -> Files:
    by_split: dict[str, list[str]] = {}
    for file in files:
        by_split.setdefault(split_of(file.removeprefix(folder).lstrip("/")) or "", []).append(file)
    splits = chosen(by_split)
    if splits is None:
        return Files(system, files, [], None)
    return Files(system, by_split[splits.train], by_split[splits.held_out] if splits.held_out else [], splits)


def _matching(system: FileSystem, path: str) -> list[str]:
    """The files of a folder, those that fit a pattern, or the one file."""
    info, wild = system.get_file_info(path), _WILD.search(path)
    if info.is_file:
        return [path]
    if info.type.name == "Directory" or wild is None:
        files = [file for file in files_below(system, path) if not _hidden(file, path)]
    else:
        base = path[: wild.start()].rpartition("/")[0]
        files = [file for file in files_below(system, base) if fnmatch.fnmatchcase(file, path)]
    return [file for file in files if file.lower().endswith(SUFFIXES)] or files


def _hidden(path: str, base: str) -> bool:
    return any(part.startswith((".", "_")) for part in path.removeprefix(base).split("/"))
