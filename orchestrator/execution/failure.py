"""What a rank raised, in words that survive the way to the driver.

Exceptions themselves need not: Ray pickles them with all they hold, makes subclasses of theirs, and Tune walks along
their causes. One that refuses any of it would arrive as another error.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from torch.distributed import DistError

from orchestrator.errors import StoreError
from trainers.errors import DataError, TrainerError, UnusableSettingError

Fault = Literal["rank", "setting", "data", "peer"]
"""Where the reason lies: in the rank, or in the other one that it lost; would it come again everywhere, or here."""
LONGEST = 600
"""Characters of a message: it stands in a line of output and in a tag."""


class RankError(Exception):
    """``args`` = ``words`` (class, message, and where), ``details`` (the traceback), and whose ``fault`` it is."""

    def __init__(self, words: str, details: str, fault: Fault = "rank") -> None:
        super().__init__(words, details, fault)
        self.words, self.details, self.fault = words, details, fault

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
    if isinstance(error, UnusableSettingError):
        return "setting"
    if isinstance(error, DataError):
        return "data"
    return "peer" if isinstance(error, DistError) or "gloo/transport" in details else "rank"


def _words(error: BaseException, told: traceback.TracebackException) -> str:
    if isinstance(error, TrainerError):
        return str(error)  # written for the user
    message = "".join(told.format_exception_only()).strip()
    if len(message) > LONGEST:
        message = f"{message[: LONGEST // 2]} … {message[-LONGEST // 2 :]}"
    where = (
        f" ({told.stack[-1].filename}, line {told.stack[-1].lineno}, in {told.stack[-1].name})" if told.stack else ""
    )
    return message + where
