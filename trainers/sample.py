"""Examples from a generator, each a function of its own seed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainers.config import Config
from trainers.data.conditions import Column
from trainers.data.dataset import Space
from trainers.data.lines import strings_of
from trainers.errors import UnusableSettingError
from trainers.families import FAMILIES
from trainers.randomness import normal, uniform

# Batches are always full: the last bits of a matrix product depend on its shape, and an example must not depend on its
# neighbours.
BATCH = 32
LONGEST = 1_024
"""Frames of a clip."""
NAMED = 20  # classes that a message names
Window = tuple[float, float]
Labels = NDArray[np.int64] | NDArray[np.float32]


def sample(
    generator: nn.Module,
    config: Config,
    seeds: NDArray[np.int64],
    labels: Labels | None = None,
    truncation: float | None = None,
    window: Window | None = None,
    frames: int | None = None,
) -> NDArray[Any]:
    """One example per seed: uint8 (n, H, W, C) for images, float32 (n, 2) in true coordinates for points, strings (n,)
    for text, uint8 (n, frames, H, W, C) for clips, of as many frames as were learned if not told; with a ``window``,
    that of ``Space``, float32 (n, H, W, C) in the units of the training files.

    ``labels`` are for conditional generators, as ``conditions`` gives them; where missing, each seed draws its own.
    ``truncation`` is as for ``latents``. Raises UnusableSettingError where ``frames`` are none, too many, or asked of a
    generator that makes no clips.
    """
    return drawn(generator, latents(config, seeds, truncation), labels, window, length(config, frames))


def length(config: Config, frames: int | None) -> int | None:
    """How many frames are asked for. Raises UnusableSettingError."""
    if frames is not None and not FAMILIES[config.family].moves:
        raise UnusableSettingError("frames: this generator makes no clips; leave it out")
    if frames is not None and not 1 <= frames <= LONGEST:
        raise UnusableSettingError(f"frames: {frames} can't be made; ask for 1 to {LONGEST:,}")
    return frames


def latents(config: Config, seeds: NDArray[np.int64], truncation: float | None = None) -> Tensor:
    """(n, latent_dim): standard normal, each a function of its seed; under ``truncation`` of the normal distribution
    cut off at plus and minus that value (BigGAN's trick: less variety, more typical examples). Raises
    UnusableSettingError where the generator translates pictures, and has no latents.
    """
    if FAMILIES[config.family].translates:
        raise UnusableSettingError(f"family {config.family!r} makes nothing from seeds; use 'gansweep translate'")
    made = [normal((1, config.model.latent_dim), int(seed), "sample") for seed in seeds]
    whole = torch.cat([torch.zeros(0, config.model.latent_dim), *made])
    if truncation is None:
        return whole
    low, high = torch.special.ndtr(torch.tensor([-truncation, truncation], dtype=torch.float64))
    inside = low + torch.special.ndtr(whole.double()) * (high - low)
    cut: Tensor = torch.special.ndtri(inside).float()
    return cut


def walk(waypoints: Tensor, frames: int) -> Tensor:
    """(n * frames, latent_dim): from each of n latents to the next and from the last to the first, along great circles,
    which stay where a normal distribution has its mass.
    """
    ends = waypoints.roll(-1, 0)
    cosine = torch.nn.functional.cosine_similarity(waypoints, ends)[:, None, None].clamp(-1 + 1e-6, 1 - 1e-6)
    angle, share = torch.acos(cosine), torch.linspace(0, 1, frames + 1)[:-1, None]
    start, end = torch.sin((1 - share) * angle), torch.sin(share * angle)
    return ((start * waypoints[:, None] + end * ends[:, None]) / torch.sin(angle)).flatten(0, 1)


def one_length(column: Iterable[Any]) -> int | None:
    """Of clips that are asked for in a table; None where it is left open. Raises UnusableSettingError where rows
    differ: their clips would not fit into one array.
    """
    asked = {int(number) for number in column if number is not None and number == number}  # None and NaN say nothing
    if len(asked) > 1:
        message = f"{', '.join(map(str, sorted(asked)))} in one table; ask for clips of one length at a time"
        raise UnusableSettingError(f"frames: {message}")
    return next(iter(asked), None)


@torch.no_grad()
def drawn(
    generator: nn.Module,
    latents: Tensor,
    labels: Labels | None = None,
    window: Window | None = None,
    frames: int | None = None,
) -> NDArray[Any]:
    """What ``generator`` makes of latents (n, latent_dim), as ``sample`` returns it."""
    device, more = next(generator.parameters()).device, {} if frames is None else {"frames": frames}
    pieces = []
    for start in range(0, max(len(latents), 1), BATCH):
        count = len(latents[start : start + BATCH])
        rows = np.resize(np.arange(start, start + count), BATCH) if count else np.zeros(0, np.int64)
        classes = None if labels is None else torch.from_numpy(labels[rows]).to(device)
        given = latents[torch.from_numpy(rows)] if count else torch.zeros(1, latents.shape[1])
        made = generator(given.to(device), classes if count else None, **more)[:count]
        pieces.append(to_arrays(made, window))
    return np.concatenate(pieces)


def require_translator(config: Config) -> None:
    """Raises UnusableSettingError where it is none."""
    if not FAMILIES[config.family].translates:
        raise UnusableSettingError(f"family {config.family!r} makes examples from seeds, and translates nothing")


@torch.no_grad()
def translated(translator: nn.Module, config: Config, pictures: NDArray[np.uint8]) -> NDArray[Any]:
    """What ``translator`` makes of pictures, uint8 (n, H, W, C): as many, each a function of its picture alone.

    Raises UnusableSettingError where it is no translator.
    """
    require_translator(config)
    device, pieces = next(translator.parameters()).device, [pictures[:0]]
    for start in range(0, len(pictures), BATCH):
        part = pictures[start : start + BATCH]
        full = torch.from_numpy(np.resize(part, (BATCH, *part.shape[1:]))).to(device).permute(0, 3, 1, 2)
        pieces.append(to_arrays(translator(full.float().div_(127.5).sub_(1)))[: len(part)])
    return np.concatenate(pieces)


def conditions(
    table: Mapping[str, Sequence[Any]], config: Config, space: Space, seeds: NDArray[np.int64]
) -> Labels | None:
    """What the columns of ``table`` ask of a conditional generator: classes (n,) int64, or float32 (n, columns). A
    class is given by name or number. What is not given (no column, None, NaN) each seed draws evenly, of what the
    generator knows. None where nothing is given.

    Raises UnusableSettingError where there is no such condition, or the generator has never seen such a value.
    """
    known = {column.name: column for column in space.conditions if config.model.conditional}
    for name in table:
        if name not in known:
            takes = f"has no such condition; it has {', '.join(known)}" if known else "takes no label"
            raise UnusableSettingError(f"{name}: this generator {takes}; leave it out")
    if not table:
        return None
    if not space.columns:
        return class_numbers(table["label"], config, space)
    columns = [_numbers(column, table.get(name), seeds) for name, column in known.items()]
    return np.stack(columns, 1).astype(np.float32)


def _numbers(column: Column, values: Sequence[Any] | None, seeds: NDArray[np.int64]) -> NDArray[np.float64]:
    chances = np.array([uniform(int(seed), "condition", column.name) for seed in seeds])
    span = len(column.names) if column.names else column.high - column.low
    found: NDArray[np.float64] = np.floor(chances * span) if column.names else column.low + chances * span
    for row, value in enumerate(values if values is not None else ()):
        if value is None or value != value:  # NaN
            continue
        found[row] = _class_number(_name(value), column.names, column.name) if column.names else _number(column, value)
    return found


def _number(column: Column, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise UnusableSettingError(f"{column.name}: {value!r} is no number") from None
    if column.low <= number <= column.high:
        return number
    raise UnusableSettingError(
        f"{column.name}: {number:g} is nothing that was trained on; give {column.low:g} to {column.high:g}"
    )


def asked(text: str, config: Config, space: Space) -> dict[str, Any]:
    """What ``--label`` says, as columns of one row: a class, or for columns ``weather=snow,fog=0.3``."""
    if not (space.columns and config.model.conditional):
        return {"label": text}
    parts = [part.partition("=") for part in text.split(",")]
    if not all(equals for _, equals, _ in parts):
        known = ",".join(f"{column.name}={(*column.names, f'{column.low:g}')[0]}" for column in space.columns)
        raise UnusableSettingError(f"label: {text!r} names no condition; give some of {known}")
    names = [name.strip() for name, _, _ in parts]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UnusableSettingError(f"label: {text!r} gives {twice} twice; give it once")
    return dict(zip(names, (value.strip() for _, _, value in parts), strict=True))


def tabled(label: Any, n: int, config: Config, space: Space) -> dict[str, list[Any]]:
    """What is asked of ``n`` examples, by column. ``label`` is None, a class by name or number, text as for ``asked``,
    conditions by name, or a list with one of these for each example. Raises UnusableSettingError where a list has
    another length.
    """
    if label is None:
        return {}
    each = label if isinstance(label, list | tuple) else [label] * n
    if len(each) != n:
        raise UnusableSettingError(f"label: {len(each)} labels for {n} examples; give one for all, or one for each")
    rows = [one if isinstance(one, Mapping) else asked(str(one), config, space) for one in each]
    return {name: [row.get(name) for row in rows] for name in dict.fromkeys(name for row in rows for name in row)}


def every_class(space: Space) -> list[dict[str, Any]]:
    """A row for each class, or combination of classes."""
    named = [column for column in space.conditions if column.names]
    return [dict(zip([c.name for c in named], names, strict=True)) for names in product(*(c.names for c in named))]


def class_numbers(labels: Iterable[Any], config: Config, space: Space) -> NDArray[np.int64]:
    """Numbers of classes that are given by name, or by number where the names are no numbers themselves.

    Raises UnusableSettingError where there is no such class, or the generator is not conditional.
    """
    if not (config.model.conditional and space.classes):
        raise UnusableSettingError("label: this generator is not conditional; leave the label out")
    given = [_name(label) for label in labels]
    names = space.conditions[0].names
    numbers = {label: _class_number(label, names, "label") for label in set(given)}
    return np.array([numbers[label] for label in given], dtype=np.int64)


def _name(value: Any) -> str:
    """Of a class. Where some rows have none, pandas makes 1.0 of the class 1."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _class_number(label: str, names: tuple[str, ...], where: str) -> int:
    if label in names:
        return names.index(label)
    if label.isdecimal() and int(label) < len(names) and not all(name.isdecimal() for name in names):
        return int(label)
    close = difflib.get_close_matches(label, names, n=1)
    known = f"{', '.join(names[:NAMED])}{', …' if len(names) > NAMED else ''}"
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise UnusableSettingError(f"{where}: {label!r} is none of the {len(names)} classes ({known}){hint}")


def to_arrays(examples: Tensor, window: Window | None = None) -> NDArray[Any]:
    """Images (n, C, H, W) in [-1, 1] to uint8 (n, H, W, C), clips (n, frames, C, H, W) to (n, frames, H, W, C), or to
    float32 from one end of ``window`` to the other; points stay float32 (n, 2); code points to strings (n,).
    """
    if examples.dtype == torch.int64:
        return strings_of(examples)
    if examples.ndim == 2:
        return examples.float().cpu().numpy()
    if window is None:
        levels = ((examples.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    else:
        levels = window[0] + (examples.float().clamp(-1, 1) + 1) * ((window[1] - window[0]) / 2)
    return levels.movedim(-3, -1).contiguous().cpu().numpy()
