"""Writes the pages of the reference from the code: ``python -m infra.docs``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from orchestrator.cli import app

PAGES = Path(__file__).parent
GENERATED = "<!-- Written by python -m infra.docs: change the code, and run it again. -->\n\n"


def commands() -> str:
    """The page of all commands, from the app that runs them."""
    root: Any = typer.main.get_command(app)
    head = (
        "# Commands\n\n"
        "`gansweep COMMAND --help` says the same in a terminal. `--home`, or the variable `GANSWEEP_HOME`, is the folder\n"
        "that holds what is kept on this machine; `--profile`, or `GANSWEEP_PROFILE`, names a\n"
        "[profile](how-to/cluster.md#profiles). Exit status: 0 done, 1 the work failed, 2 the input is wrong, 130\n"
        "interrupted (resumable).\n"
    )
    own = _options(root, root.make_context("gansweep", ["list"]))
    return GENERATED + "\n".join([head, "## Before any command\n", *own, *_of(root, "gansweep")])


def _of(group: Any, prefix: str) -> Iterator[str]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _of(command, f"{prefix} {name}")
            continue
        context = command.make_context(name, [], resilient_parsing=True)
        usage = " ".join(piece for piece in command.collect_usage_pieces(context) if piece != "[OPTIONS]")
        yield f"## {prefix} {name}\n"
        yield f"`{prefix} {name} {usage}`".replace(" `", "`") + "\n"
        yield f"{command.help}\n"
        yield from _options(command, context)


def _options(command: Any, context: Any) -> Iterator[str]:
    records = [p.get_help_record(context) for p in command.get_params(context) if p.name != "help"]
    rows = [f"| `{_plain(record[0])}` | {_cell(record[1])} |" for record in records if record]
    if rows:
        yield "| | |\n|---|---|"
        yield "\n".join(rows) + "\n"


def _plain(option: str) -> str:
    """Without what the next column says: that it may stand several times, or has bounds."""
    return re.sub(r"<(?:list\[)?(\w+)(?: range)?\]?>", r"<\1>", option)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def pages() -> dict[str, str]:
    """The generated pages by their file's name."""
    return {"commands.md": commands()}


def main() -> None:
    for name, text in pages().items():
        (PAGES / name).write_text(text, encoding="utf-8")
        print(f"infra/docs/{name}")


if __name__ == "__main__":
    main()
