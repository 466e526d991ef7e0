"""Small networks that measures need, trained once per machine and then read from the cache."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from trainers.files.cache import cache_folder

log = logging.getLogger(__name__)

Net = TypeVar("Net", bound=nn.Module)
SEED = 0
OWN = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:8]
"""How networks are trained here; one that was trained otherwise is another."""


def kept(name: str, empty: Callable[[], Net], train: Callable[[], Net], first: bool, wait: Callable[[], None]) -> Net:
    """The network called ``name``, which tells everything that could change its weights: from the cache, or what
    ``train`` makes, which is to be the same each time (``alone``).

    The ``first`` process of a gang trains and all others ``wait``; gangs that start together may both train, and
    write the same file.
    """
    path = cache_folder() / f"{name}-{OWN}.safetensors"
    made = _made(train, path) if first and not path.exists() else None
    wait()
    if made is None and path.exists():
        made = empty()
        made.load_state_dict(load_file(path))
    return (made or _made(train, path)).eval()  # where the first process could not keep it, or not for us


def alone(train: Callable[[], Net], seed: int = SEED) -> Net:
    """What ``train`` makes from a seed, in one thread: sums in more round differently from run to run."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(seed)
            return train()
    finally:
        torch.set_num_threads(threads)


def fitted(net: Net, losses: Iterable[Tensor], steps: int, peak_lr: float) -> Net:
    """``net`` after a step on each of the ``losses``, ``steps`` of them, which are computed one after the other: AdamW
    along one cycle of the rate.
    """
    optimiser = torch.optim.AdamW(net.parameters(), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, peak_lr, total_steps=steps)
    for loss in losses:
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        schedule.step()
    return net


def _made(train: Callable[[], Net], path: Path) -> Net:
    net = train()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(f".{os.getpid()}.tmp")
        save_file(net.state_dict(), beside)
        beside.replace(path)
    except OSError as error:
        log.warning("%s: a network can't be kept there (%s); set GANSWEEP_CACHE", path.parent, error)
    return net
