"""Text as data: a sequence of characters a line, as Unicode code points, with 0 after its end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainers.config import Data
from trainers.data.dataset import Dataset, Examples, Space
from trainers.errors import DataError
from trainers.files.places import opened
from trainers.randomness import stream

LONGEST = 64
"""Characters of a line where ``data.length`` says nothing."""
HELD_OUT = 10  # every tenth line of a fixed shuffle


def lines(settings: Data) -> Dataset:
    """The lines of a UTF-8 file, without blanks around them; empty ones, and those longer than ``length``, are left
    aside. Every tenth is held out. Raises DataError.
    """
    if not isinstance(settings.path, str):
        raise DataError("data.path: give one file of text, a sequence per line")
    every = [line for line in map(str.strip, read(settings.path).replace("\0", "").splitlines()) if line]
    longest = max(map(len, every), default=0)
    if settings.length is None and longest > LONGEST:
        message = f"its longest line has {longest} characters; set data.length, and longer ones are left aside"
        raise DataError(f"data.path: {settings.path}: {message}")
    kept = [line for line in every if len(line) <= (settings.length or LONGEST)]
    if len(set(kept)) < 2:
        message = f"has {len(set(kept))} different lines of 1 to {settings.length or LONGEST} characters"
        raise DataError(f"data.path: {settings.path} {message}; a generator learns from many, one sequence per line")
    space = space_of(kept)
    rows = code_points(kept, space.shape[0])
    shuffled = rows[torch.randperm(len(rows), generator=stream("lines"))]
    held_out = torch.arange(len(rows)) % HELD_OUT == 0
    longer = len(every) - len(kept)
    notes = (f"{longer:,} of {len(every):,} lines are longer than {settings.length}: left aside",) if longer else ()
    return Dataset(settings.name, space, Examples(shuffled[~held_out]), Examples(shuffled[held_out]), notes=notes)


def read(where: str) -> str:
    """The text of a file, here or in S3. Raises DataError."""
    system, path = opened(where)
    try:
        with system.open_input_stream(path) as file:
            text: str = file.read().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"data.path: {where} can't be read as UTF-8 text: {error}") from error
    return text


def space_of(texts: Iterable[str]) -> Space:
    """Of sequences as long as the longest of these, with one place for the end, of their characters."""
    known = list(texts)
    return Space((max(map(len, known)) + 1,), alphabet="".join(sorted(set().union(*known))))


def code_points(texts: Sequence[str], length: int) -> Tensor:
    """int64 (n, length), 0 after the end of each."""
    return torch.from_numpy(
        np.array(texts, dtype=f"<U{length}").view("<u4").reshape(len(texts), length).astype(np.int64)
    )


def strings_of(points: Tensor) -> NDArray[np.str_]:
    """The strings (n,) of code points (n, length)."""
    return points.cpu().numpy().astype("<u4").view(f"<U{points.shape[1]}")[:, 0]
