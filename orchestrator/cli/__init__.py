"""The command line. A command parses, calls one function and prints; heavy imports stand inside, so help is quick."""

from __future__ import annotations

import logging
import os
from typing import Annotated, NoReturn

import typer

from orchestrator import environment
from orchestrator.cli import models, results, sweeps, tools
from orchestrator.cli.ending import Group, ended
from trainers.files.sealed import own_version

app = typer.Typer(
    cls=Group,
    help="Hyper-parameter sweeps for GANs that end in a generator you can trust.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(tools.data, name="data")
app.add_typer(tools.help_, name="help")


def _version(asked: bool) -> None:
    if asked:
        print(f"gansweep {own_version()}")
        raise typer.Exit()


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", envvar="GANSWEEP_DEBUG", help="Show tracebacks and libraries' logs.")
    ] = False,
) -> None:
    os.environ["GANSWEEP_DEBUG"] = "1" if debug else ""
    environment.mend()
    logging.basicConfig(level=logging.INFO if debug else logging.CRITICAL, format="%(name)s: %(message)s")


_RUN = (sweeps.plan, sweeps.submit, sweeps.resume, sweeps.fork, sweeps.trial, sweeps.stop, sweeps.sync, sweeps.delete)
_LOOK = (results.list_, results.status, results.logs, results.promote, results.report, results.samples)
_MODELS = (models.sample, models.translate, models.augment, models.serve)
for tool in (*_RUN, *_LOOK, tools.init, tools.train, *_MODELS, tools.ui, tools.doctor):
    app.command(tool.__name__.rstrip("_"))(tool)


def main() -> NoReturn:
    """The console script."""
    ended(lambda: app(standalone_mode=False))
