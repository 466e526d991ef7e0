"""Writes the pages of the reference from the code: ``python -m infra.docs``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from orchestrator.cli import app
from orchestrator.planning import explained
from orchestrator.planning.explained import Setting

PAGES = Path(__file__).parent
GENERATED = "<!-- Written by python -m infra.docs: change the code, and run it again. -->\n\n"

COMMANDS = """\
# Commands

`gansweep COMMAND --help` says the same in a terminal. `--home`, or the variable `GANSWEEP_HOME`, is the folder that
holds what is kept on this machine; `--profile`, or `GANSWEEP_PROFILE`, names a [profile](how-to/cluster.md#profiles).
Exit status: 0 done, 1 the work failed, 2 the input is wrong, 130 interrupted (and can be resumed).
"""
SETTINGS = """\
# Settings

Everything that can stand in a sweep file; only `name` must. `gansweep help settings NAME` says the same in a terminal.
Groups are mappings in the file, `train: {batch_size: 128}`, and dotted names everywhere else: on the command line,
`--set train.batch_size=128`, in the search space and in MLflow. Images are counted as shown to the discriminator.
"""


def commands() -> str:
    """The page of all commands, from the app that runs them."""
    root: Any = typer.main.get_command(app)
    own = _options(root, root.make_context("gansweep", ["list"]))
    return GENERATED + "\n".join([COMMANDS, "## Before any command\n", *own, *_of(root, "gansweep")])


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


def settings() -> str:
    """The page of all settings, from the models that read them."""
    groups: dict[str, list[Setting]] = {}
    for setting in explained.settings():
        groups.setdefault(setting.name.partition(".")[0], []).append(setting)
    alone = [found.pop() for found in groups.values() if "." not in found[-1].name]
    tables = (text for group, found in groups.items() if found for text in (f"## {group}\n", _table(found)))
    return GENERATED + "\n".join([SETTINGS, _table(alone), *tables])


def _table(settings: list[Setting]) -> str:
    rows = [f"| `{s.name}` | {_cell(s.values)} | `{_cell(s.default)}` | {_cell(s.meaning)} |" for s in settings]
    return "\n".join(["| setting | values | default | meaning |\n|---|---|---|---|", *rows, ""])


def pages() -> dict[str, str]:
    """The generated pages by their file's name."""
    return {"commands.md": commands(), "settings.md": settings()}


def main() -> None:
    for name, text in pages().items():
        (PAGES / name).write_text(text, encoding="utf-8")
        print(f"infra/docs/{name}")


if __name__ == "__main__":
    main()
