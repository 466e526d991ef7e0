"""How a command ends: with one message and an exit status, whatever was raised."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from orchestrator.errors import GansweepError


class Group(TyperGroup):
    """Lets ``ended`` see Ctrl-C, which typer turns into a bare exit status."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise typer.Exit(130) from None


def ended(run: Callable[[], Any]) -> NoReturn:
    """Run a command, and exit."""
    try:
        sys.exit(run() or 0)
    except GansweepError as error:
        _fail(str(error), error.exit_status, error)
    except Exception as error:
        _unforeseen(error)


def _unforeseen(error: Exception) -> NoReturn:
    """Errors of the libraries below: typer's usage errors, the trainers' own, a full disk, what nobody thought of."""
    from trainers.errors import TrainerError
    from trainers.reading.document import SettingsError

    if hasattr(error, "format_message"):  # click's usage errors
        error.message = error.message.removeprefix("Value error, ")  # type: ignore[attr-defined]
        error.show()  # type: ignore[attr-defined]
        sys.exit(2)
    if isinstance(error, SettingsError):
        _fail(str(error), 2, error)
    if isinstance(error, TrainerError):
        _fail(str(error), 1 if type(error) is TrainerError else 2, error)
    if isinstance(error, OSError) and error.errno in (28, 122):
        where = f" while writing {error.filename}" if error.filename else ""
        _fail(f"no space left{where}; free some, then resume: what was recorded is kept", 1, error)
    _fail(
        f"{type(error).__name__}: {error}\nthis is a bug of gansweep, or of a library below it; --debug shows where",
        1,
        error,
    )


def _fail(message: str, exit_status: int, error: BaseException) -> NoReturn:
    if os.environ.get("GANSWEEP_DEBUG"):
        traceback.print_exception(error)
    print(f"gansweep: {message}", file=sys.stderr)
    sys.exit(exit_status)
