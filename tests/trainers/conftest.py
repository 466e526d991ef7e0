"""Ranks that wait for work, so that a test at world size 4 does not pay for four fresh processes."""

from __future__ import annotations

import tempfile
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import multiprocessing

from trainers.world import World

RanksRun = Callable[..., list[Any]]


@pytest.fixture(scope="session")
def on_ranks() -> Iterator[RanksRun]:
    """``on_ranks(size, function, *arguments)``: the answers of ``function(world, *arguments)`` on ``size`` ranks."""
    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe() for _ in range(4)]
    processes = [context.Process(target=_wait_for_work, args=(theirs,), daemon=True) for _, theirs in pipes]
    for process in processes:
        process.start()

    def run(size: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        with tempfile.TemporaryDirectory() as folder:
            for rank in range(size):
                pipes[rank][0].send((function, arguments, rank, size, Path(folder) / "meeting"))
            answers = [pipes[rank][0].recv() for rank in range(size)]
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return answers

    yield run
    for process in processes:
        process.kill()


def _wait_for_work(pipe: Connection) -> None:
    torch.set_num_threads(1)
    while True:
        function, arguments, rank, size, meeting = pipe.recv()
        dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=size)
        try:
            pipe.send(function(World(rank, size, torch.device("cpu")), *arguments))
        except Exception as error:
            error.add_note(f"on rank {rank}:\n{traceback.format_exc()}")
            pipe.send(error)
        finally:
            dist.destroy_process_group()
