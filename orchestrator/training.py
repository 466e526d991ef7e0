"""One training on this machine, without search, Ray or MLflow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.errors import UserError
from orchestrator.generators.generator import Generator, opened
from trainers.config import Config

if TYPE_CHECKING:
    from trainers.report import Report
    from trainers.watching.watcher import Watcher


@dataclass(frozen=True)
class Trained:
    """What a training left in ``folder``: ``reports`` of this call, none where it had ended before, and its last
    ``verdict``.
    """

    folder: Path
    reports: tuple[Report, ...]
    verdict: str

    @property
    def generator(self) -> Generator:
        """Of the newest checkpoint, averaged."""
        from trainers.state import newest

        checkpoint = newest(self.folder / "checkpoints")
        if checkpoint is None:
            raise UserError(f"{self.folder} holds no checkpoint yet")
        return opened(str(checkpoint), raw=False, trusted=(), uri="")


def train(
    config: Config, ranks: int, out: Path, heard: Callable[[Report], None], watcher: Watcher | None = None
) -> Trained:
    """Train with so many local ranks into ``out``, going on from what stands there; ``heard`` is told each report."""
    from trainers.launch import last_verdict, run

    reports = []
    for report in run(config, ranks, out, watcher=watcher):
        reports.append(report)
        heard(report)
    return Trained(out, tuple(reports), last_verdict(out))


def changed(config: Config, out: Path) -> str:
    """Which settings the training that ended in ``out`` had otherwise."""
    from trainers.files.sealed import facts
    from trainers.state import newest

    folder = newest(out / "checkpoints")
    assert folder is not None
    theirs, ours = _flat(Config.model_validate(facts(folder)["config"])), _flat(config)
    return "; ".join(f"{name} was {theirs[name]}, now {value}" for name, value in ours.items() if theirs[name] != value)


def _flat(config: Config) -> dict[str, Any]:
    groups = config.model_dump(exclude={"family", "code"})
    flat = {f"{group}.{name}": value for group, values in groups.items() for name, value in values.items()}
    return {"family": config.family, **flat}
