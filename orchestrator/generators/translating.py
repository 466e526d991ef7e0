"""``gansweep translate``: a person's own pictures through a registered translator or one of a checkpoint."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from orchestrator.errors import UserError
from orchestrator.generators.generator import opened

if TYPE_CHECKING:
    from trainers.data.picture import Pixels

TOGETHER = 256
"""Pictures held in memory at a time."""


@dataclass(frozen=True)
class Done:
    """How many pictures lie in the folder now, and what could not be read: name and reason."""

    written: int
    unreadable: tuple[str, ...]


def translate(source: str, pictures: Path, output: Path, uri: str, trusted: Sequence[str] = ()) -> Done:
    """Write what the translator ``source`` makes of a picture, or of every one below a folder, to the folder
    ``output``, as PNG under the same names. They are cut and resized as those that it learned from.

    Raises UserError where there are no pictures, or the folder holds pictures that would be lost;
    trainers.errors.UnusableSettingError where the model is no translator.
    """
    from trainers.config import Data
    from trainers.data.folder import below
    from trainers.data.picture import pixels, shown
    from trainers.errors import DataError
    from trainers.sample import require_translator

    if not pictures.exists():
        raise UserError(f"{pictures}: there is no such file or folder")
    root = pictures if pictures.is_dir() else pictures.parent
    files = sorted(below(pictures, frozenset(), Counter())) if pictures.is_dir() else [pictures]
    if not files:
        raise UserError(f"{pictures}: no image files below this folder")
    targets = _targets([file.relative_to(root) for file in files])
    _require_room(pictures, output, targets)
    translator = opened(source, raw=False, trusted=trusted, uri=uri)
    require_translator(translator.config)
    channels, side, _ = translator.space.shape
    look, unreadable = Data(name="images", resolution=side, channels=channels), []  # type: ignore[arg-type]

    def readable() -> Iterator[tuple[Path, Pixels]]:
        for file, target in zip(files, targets, strict=True):
            try:
                yield output / target, pixels(file.read_bytes, look)
            except DataError as error:
                unreadable.append(f"{shown(file)}: {error}")

    written = 0
    try:
        for batch in _batches(readable()):
            made = translator.translate(np.stack([one.transpose(1, 2, 0) for _, one in batch]))
            for (target, _), picture in zip(batch, made, strict=True):
                _save(picture, target)
            written += len(batch)
    except OSError as error:
        raise UserError(f"-o {output} can't be written: {error.strerror}") from None
    if not written:
        raise UserError(f"{pictures}: none of {len(files)} image files can be read ({unreadable[0]})")
    return Done(written, tuple(unreadable))


def _batches(pictures: Iterator[tuple[Path, Pixels]]) -> Iterator[list[tuple[Path, Pixels]]]:
    batch: list[tuple[Path, Pixels]] = []
    for one in pictures:
        batch.append(one)
        if len(batch) == TOGETHER:
            yield batch
            batch = []
    if batch:
        yield batch


def _targets(names: Sequence[Path]) -> list[Path]:
    """``a/b.jpg`` becomes ``a/b.png``; beside another ``b`` it keeps its own ending."""
    taken: dict[Path, None] = {}
    for name in names:
        target = name.with_suffix(".png")
        taken[name.with_name(f"{name.name}.png") if target in taken else target] = None
    return list(taken)


def _require_room(pictures: Path, output: Path, targets: Sequence[Path]) -> None:
    """Nobody's pictures are written over, and none that was translated is translated again with the next run."""
    if pictures.is_dir() and output.resolve().is_relative_to(pictures.resolve()):
        raise UserError(f"-o {output}: lies in {pictures}, whose pictures are translated; choose a folder elsewhere")
    if standing := [target for target in targets if (output / target).exists()]:
        raise UserError(
            f"-o {output}: holds {len(standing)} of these pictures already, as {standing[0]}; choose an empty folder"
        )


def _save(picture: Pixels, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture).save(file)
