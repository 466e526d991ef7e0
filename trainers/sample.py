"""Examples from a generator, each a function of its own seed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainers.config import Config
from trainers.data.dataset import Space
from trainers.errors import UnusableSettingError
from trainers.families import FAMILIES
from trainers.randomness import normal

# Batches are always full: the last bits of a matrix product depend on its shape, and an example must not depend on its
# neighbours.
BATCH = 32
NAMED = 20  # classes that a message names


def sample(
    generator: nn.Module,
    config: Config,
    seeds: NDArray[np.int64],
    labels: NDArray[np.int64] | None = None,
    truncation: float | None = None,
) -> NDArray[Any]:
    """One example per seed: uint8 (n, H, W, C) for images, float32 (n, 2) in true coordinates for points.

    ``labels`` (n,) are for conditional generators; where missing, each seed draws its own class. ``truncation`` is as
    for ``latents``.
    """
    return drawn(generator, latents(config, seeds, truncation), labels)


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


@torch.no_grad()
def drawn(generator: nn.Module, latents: Tensor, labels: NDArray[np.int64] | None = None) -> NDArray[Any]:
    """What ``generator`` makes of latents (n, latent_dim), as ``sample`` returns it."""
    device = next(generator.parameters()).device
    pieces = []
    for start in range(0, max(len(latents), 1), BATCH):
        count = len(latents[start : start + BATCH])
        rows = np.resize(np.arange(start, start + count), BATCH) if count else np.zeros(0, np.int64)
        classes = None if labels is None else torch.from_numpy(labels[rows]).to(device)
        given = latents[torch.from_numpy(rows)] if count else torch.zeros(1, latents.shape[1])
        pieces.append(to_arrays(generator(given.to(device), classes if count else None)[:count]))
    return np.concatenate(pieces)


@torch.no_grad()
def translated(translator: nn.Module, config: Config, pictures: NDArray[np.uint8]) -> NDArray[Any]:
    """What ``translator`` makes of pictures, uint8 (n, H, W, C): as many, each a function of its picture alone.

    Raises UnusableSettingError where it is no translator.
    """
    if not FAMILIES[config.family].translates:
        raise UnusableSettingError(f"family {config.family!r} makes examples from seeds, and translates nothing")
    device, pieces = next(translator.parameters()).device, [pictures[:0]]
    for start in range(0, len(pictures), BATCH):
        part = pictures[start : start + BATCH]
        full = torch.from_numpy(np.resize(part, (BATCH, *part.shape[1:]))).to(device).permute(0, 3, 1, 2)
        pieces.append(to_arrays(translator(full.float().div_(127.5).sub_(1)))[: len(part)])
    return np.concatenate(pieces)


def class_numbers(labels: Iterable[Any], config: Config, space: Space) -> NDArray[np.int64]:
    """Numbers of classes that are given by name, or by number where they are not called by other numbers.

    Raises UnusableSettingError where there is no such class, or the generator is not conditional.
    """
    if not (config.model.conditional and space.classes):
        raise UnusableSettingError("label: this generator is not conditional; leave the label out")
    given = [str(label) for label in labels]
    numbers = {label: _class_number(label, space) for label in set(given)}
    return np.array([numbers[label] for label in given], dtype=np.int64)


def _class_number(label: str, space: Space) -> int:
    names = space.names or tuple(map(str, range(space.classes)))
    if label in names:
        return names.index(label)
    if label.isdecimal() and int(label) < space.classes and not all(name.isdecimal() for name in names):
        return int(label)
    close = difflib.get_close_matches(label, names, n=1)
    known = f"{', '.join(names[:NAMED])}{', …' if len(names) > NAMED else ''}"
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise UnusableSettingError(f"label: {label!r} is none of the {space.classes} classes ({known}){hint}")


def to_arrays(examples: Tensor) -> NDArray[Any]:
    """Images (n, C, H, W) in [-1, 1] to uint8 (n, H, W, C); points stay float32 (n, 2)."""
    if examples.ndim == 2:
        return examples.float().cpu().numpy()
    levels = ((examples.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return levels.permute(0, 2, 3, 1).contiguous().cpu().numpy()
