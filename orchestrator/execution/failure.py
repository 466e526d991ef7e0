"""What a rank raised, in words that survive the way to the driver.

Exceptions themselves need not: Ray pickles them with all they hold, makes subclasses of theirs, and Tune walks along
their causes. One that refuses any of it would arrive as another error.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import ray

from orchestrator.errors import (
    DataGoneError,
    NodeGoneError,
    OutOfMemoryError,
    RankLostError,
    StoreError,
    UntrainableError,
    WorkError,
)
from trainers.errors import DataError, TrainerError, UnusableSettingError

log = logging.getLogger(__name__)

Fault = Literal["code", "setting", "data", "memory", "rank", "peer", "lost", "moved"]
"""Where the reason lies. In what is trained, so that it would come again: ``code``, ``setting``. Where it is trained:
``data`` that can't be read, too little ``memory``, the ``rank`` (its device, disk or state). In no rank that could
speak: a ``peer`` was lost, the process of a rank was ``lost``. And ``moved``: its node is to go, it goes on elsewhere.
"""
MACHINE = ("CUDA error", "CUBLAS", "CUDNN", "cuDNN", "NCCL", "Triton Error")
"""In the message of an error that the device raised, which another one may not."""
LONGEST = 600
"""Characters of a message: it stands in a line of output and in a tag."""
KINDS: dict[Fault, type[WorkError]] = {
    "setting": UntrainableError,
    "code": UntrainableError,
    "data": DataGoneError,
    "lost": RankLostError,
    "peer": RankLostError,
}
MORE_MEMORY = "lower train.batch_size or the model's width, or give a trial more memory or more workers"


class RankError(Exception):
    """``args`` = ``words`` (class, message, and where), ``details`` (the traceback), whose ``fault`` it is, and of one
    that is ``moved`` the key of the checkpoint to go on from.
    """

    def __init__(self, words: str, details: str, fault: Fault = "rank", checkpoint: str | None = None) -> None:
        super().__init__(words, details, fault, checkpoint)
        self.words, self.details, self.fault, self.checkpoint = words, details, fault, checkpoint

    def __str__(self) -> str:
        return self.words

    @classmethod
    def of(cls, error: BaseException) -> RankError:
        if isinstance(error, RankError):
            return error
        told = traceback.TracebackException.from_exception(error)
        details = "".join(told.format())
        return cls(_words(error, told), details, _fault(error, details))


@contextmanager
def in_words() -> Iterator[None]:
    """Whatever is raised within becomes a RankError, but for a StoreError, which is the fault of no rank."""
    try:
        yield
    except StoreError:
        raise
    except Exception as error:
        raise RankError.of(error) from None


def _fault(error: BaseException, details: str) -> Fault:
    import torch  # which the process of a gang imports only when its other ranks have started
    from torch.distributed import DistError

    if isinstance(error, UnusableSettingError):
        return "setting"
    if isinstance(error, DataError):
        return "data"
    if isinstance(error, DistError) or "gloo/transport" in details:
        return "peer"
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in details:
        return "memory"
    if isinstance(error, OSError | TrainerError | torch.AcceleratorError) or any(word in details for word in MACHINE):
        return "rank"
    return "code"


def of_actor(death: ray.exceptions.RayActorError) -> RankError:
    """What the death of a rank's process says; the cluster's head knows whether its node has gone too."""
    words = " ".join(str(death).split())
    if "running low on memory" in words or "memory pressure" in words:
        return RankError("the host ran out of memory, and a rank was killed for it", words, "memory")
    return RankError("the process of a rank died (killed, or crashed in a library)", words, "lost")


def _words(error: BaseException, told: traceback.TracebackException) -> str:
    if isinstance(error, TrainerError):
        return str(error)  # written for the user
    message = "".join(told.format_exception_only()).strip()
    if len(message) > LONGEST:
        message = f"{message[: LONGEST // 2]} … {message[-LONGEST // 2 :]}"
    own = [frame for frame in told.stack if "site-packages" not in frame.filename]
    places = [f"{frame.filename}, line {frame.lineno}, in {frame.name}" for frame in (*own[-1:], *told.stack[-1:])]
    where = "; ".join(dict.fromkeys(places))  # the user's line, and the library's that it came to
    return f"{message} ({where})" if where else message


def cause_of(error: BaseException | None, text: str) -> RankError:
    """What a leg died of: what a rank raised, the death of its process, or the end of what Tune wrote of it."""
    if isinstance(error, ray.exceptions.RayActorError):
        return of_actor(error)
    cause = getattr(error, "cause", None)
    if isinstance(cause, RankError):
        return cause
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return RankError(" | ".join(lines[-2:])[-LONGEST:], text, "lost")


def death(cause: RankError) -> WorkError:
    """The class of a failure, of which the conductor knows what it costs."""
    log.error("a leg died: %s", cause.details or cause.words)
    if cause.fault == "memory":
        return OutOfMemoryError(f"{cause.words}; {MORE_MEMORY}")
    if cause.fault == "moved":
        return NodeGoneError(cause.words, cause.checkpoint)
    return KINDS.get(cause.fault, WorkError)(cause.words)
