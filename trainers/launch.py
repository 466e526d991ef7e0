"""Starts the ranks of one training on this machine, and keeps what they say in a folder.

The same call again resumes: from the newest whole checkpoint in ``out``, with the reports that came after it forgotten.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Generator, Iterator, Sequence
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import FileStore
from torch.multiprocessing import get_context

from trainers.config import Config
from trainers.errors import TrainerError
from trainers.files.lock import only_writer
from trainers.loop import train
from trainers.report import Report, line
from trainers.state import load, newest
from trainers.watching.watcher import Watcher
from trainers.world import World, leave

Backend = Literal["gloo", "nccl"]


def run(
    config: Config,
    ranks: int,
    out: Path | None = None,
    backend: Backend | None = None,
    watcher: Watcher | None = None,
) -> Generator[Report, None, None]:
    """Trains with ``ranks`` local processes and yields rank 0's reports; appends them to ``out/reports.jsonl``.

    ``watcher`` hears of the way to a report, in this process. ``backend`` is nccl where there is a GPU per rank, else
    gloo. Closing the iterator ends the processes.
    Raises what ``train`` raises; TrainerError where a rank died.
    """
    resume = resume_point(out) if out is not None else None
    if ranks == 1:
        yield from recorded(config, World.single(_device(0)), resume, out, watcher)
    else:
        yield from _spawn(config, ranks, resume, out, backend, watcher or Watcher())


def recorded(
    config: Config, world: World, resume: Path | None, out: Path | None, watcher: Watcher | None = None
) -> Iterator[Report]:
    """``train``, with rank 0's reports as lines of ``out/reports.jsonl``."""
    reports = train(config, world, resume, out, watcher=watcher)
    if out is None or world.rank > 0:
        yield from reports
        return
    with only_writer(out):
        for report in reports:
            with (out / "reports.jsonl").open("a") as lines:
                lines.write(line(report.as_dict()) + "\n")
            yield report


def last_verdict(out: Path) -> str:
    """Of the newest report in ``out``; healthy where there is none."""
    file = out / "reports.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    return str(json.loads(lines[-1])["health"]["verdict"]) if lines else "healthy"


def resume_point(out: Path) -> Path | None:
    """The newest whole checkpoint in ``out``, with ``reports.jsonl`` brought in line with it.

    Lines that came after it are dropped, since they will be written again; its own line is taken from the checkpoint
    where a kill came between the two.
    """
    with only_writer(out):
        return _in_line(out)


def _in_line(out: Path) -> Path | None:
    folder, file = newest(out / "checkpoints"), out / "reports.jsonl"
    lines = file.read_text().splitlines(keepends=True) if file.exists() else []
    images = int(folder.name) if folder else 0
    kept = [text for text in lines if text.endswith("\n") and json.loads(text)["images"] <= images]
    if folder and (not kept or json.loads(kept[-1])["images"] < images):
        kept.append(line(load(folder).state["report"]) + "\n")
    if kept != lines:
        beside = file.with_suffix(".new")
        beside.write_text("".join(kept))
        beside.replace(file)
    return folder


def _spawn(
    config: Config, ranks: int, resume: Path | None, out: Path | None, backend: Backend | None, watcher: Watcher
) -> Iterator[Report]:
    context = get_context("spawn")
    chosen = backend or ("nccl" if torch.cuda.device_count() >= ranks else "gloo")
    threads = max(1, torch.get_num_threads() // ranks)
    pipes = [context.Pipe(duplex=False) for _ in range(ranks)]
    meeting = Path(tempfile.mkdtemp(prefix="gansweep-"))
    processes = [
        context.Process(
            target=_rank,
            args=(rank, ranks, meeting / "ranks", chosen, threads, config, resume, out, writer),
            daemon=True,
        )
        for rank, (_, writer) in enumerate(pipes)
    ]
    try:
        for process in processes:
            process.start()
        for _, writer in pipes:
            writer.close()
        yield from _received([reader for reader, _ in pipes], watcher)
        for process in processes:
            process.join()
    finally:
        for process in processes:
            process.kill()
        shutil.rmtree(meeting, ignore_errors=True)


class _Far(Watcher):
    """Sends what it hears to the launcher's."""

    def __init__(self, writer: Connection) -> None:
        self._writer = writer

    def began(self, told: Sequence[str]) -> None:
        self._writer.send(("began", told))

    def moved(self, images: int, speed: float) -> None:
        self._writer.send(("moved", images, speed))


def _received(readers: list[Connection], watcher: Watcher) -> Iterator[Report]:
    """Rank 0's reports, and word to ``watcher``, until every rank has said None. Where one fails, the others do too, in
    words of their own: what the user can mend comes first.
    """
    while readers:
        ready = [reader for reader in wait(readers) if isinstance(reader, Connection)]
        messages = [_message(reader) for reader in ready]
        failures = [m for m in messages if isinstance(m, Exception)]
        for failure in sorted(failures, key=lambda f: not isinstance(f, TrainerError)):
            if isinstance(failure, TrainerError):
                raise failure
            why = "" if isinstance(failure, EOFError) else f" ({type(failure).__name__}: {failure})"
            raise TrainerError(
                f"a rank of the training died{why}; the same command again goes on from its checkpoint"
            ) from failure
        for reader, message in zip(ready, messages, strict=True):
            if message is None:
                readers.remove(reader)
            elif isinstance(message, tuple):
                getattr(watcher, message[0])(*message[1:])
            else:
                yield message


def _message(reader: Connection) -> Any:
    try:
        return reader.recv()
    except EOFError as error:
        return error


def _rank(
    rank: int,
    size: int,
    meeting: Path,
    backend: Backend,
    threads: int,
    config: Config,
    resume: Path | None,
    out: Path | None,
    writer: Connection,
) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    # They meet in a file: an address would be looked for under what a job of torchrun left in the environment, and its
    # port is open to every machine. So are gloo's connections, unless they are told to stay here.
    os.environ["GLOO_SOCKET_IFNAME"] = _loopback()
    store = FileStore(str(meeting), size)
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=timedelta(minutes=10))
    if backend == "nccl":
        torch.cuda.set_device(rank)
    world = World(rank, size, _device(rank) if backend == "nccl" else torch.device("cpu"))
    try:
        for report in recorded(config, world, resume, out, _Far(writer)):
            if rank == 0:
                writer.send(report)
        writer.send(None)
    except Exception as error:
        writer.send(error)
        raise
    finally:
        leave()


def _end_with_parent() -> None:
    """A rank whose launcher was killed would train on, into the folder of the one that is started next."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _device(rank: int) -> torch.device:
    return torch.device("cuda", rank) if torch.cuda.is_available() else torch.device("cpu")


def _loopback() -> str:
    """The interface of that name, on Linux or macOS."""
    return next(name for _, name in socket.if_nameindex() if name in ("lo", "lo0"))
