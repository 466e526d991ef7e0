"""Every random number is a function of (seed, step, purpose).

So a resumed training needs no generator state, and any number of ranks draws the same global batch and takes its slice.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def key(*parts: int | str) -> int:
    """A 63-bit integer that depends on every part, the same in every process (unlike ``hash``)."""
    digest = hashlib.blake2b("\0".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def stream(*parts: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """A fresh generator for one purpose at one step."""
    return torch.Generator(device).manual_seed(key(*parts))


def normal(shape: tuple[int, ...], *parts: int | str) -> Tensor:
    """Standard normal float32 of ``shape``, drawn for ``parts``."""
    return torch.randn(shape, generator=stream(*parts))


def uniform(*parts: int | str) -> float:
    """A number in [0, 1) that depends on ``parts``."""
    return key(*parts) / 2**63
