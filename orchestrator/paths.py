"""Every local path and every object key, in one place."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import UserError

RunKey = int | tuple[int, int] | None
"""What has an MLflow run of its own: a trial, its re-training on a seed (trial, seed), or the sweep itself (None)."""


def key_word(key: RunKey) -> str:
    """``sweep``, ``3`` or ``3:1001``."""
    return "sweep" if key is None else f"{key[0]}:{key[1]}" if isinstance(key, tuple) else str(key)


@dataclass(frozen=True)
class Home:
    """The folder that holds everything embedded: ledgers, the MLflow store, artifacts."""

    root: Path

    @classmethod
    def open(cls, root: Path) -> Home:
        """Make sure ``root`` exists and can be written; raises UserError otherwise."""
        try:
            root.mkdir(parents=True, exist_ok=True)
            probe = root / f".write-probe-{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise UserError(
                f"home {root} can't be written: {error.strerror}. Choose another with --home DIR or GANSWEEP_HOME"
            ) from None
        return cls(root.resolve())

    def sweep(self, name: str) -> SweepPaths:
        return SweepPaths(name, self.root / "sweeps" / name)

    def sweeps(self) -> list[str]:
        return sorted(p.parent.name for p in self.root.glob("sweeps/*/sweep.yaml"))

    @property
    def mlflow(self) -> Path:
        return self.root / "mlflow"

    @property
    def mlflow_database(self) -> str:
        """An SQLAlchemy URL, in whose path %XX stands for a character, and ? ends it."""
        path = str(self.mlflow / "mlflow.db")
        quoted = path.replace("%", "%25").replace("?", "%3F")
        # Under the short name MLflow makes the folders of the path itself, quoted as it is.
        return f"sqlite:///{path}" if quoted == path else f"sqlite+pysqlite:///{quoted}"

    @property
    def mlflow_artifacts(self) -> str:
        """As a URI: in a bare path MLflow takes %XX for a character."""
        return (self.artifacts / "mlflow").as_uri()

    @property
    def artifacts(self) -> Path:
        return self.root / "artifacts"

    @property
    def cache(self) -> Path:
        return self.root / "cache"


@dataclass(frozen=True)
class SweepPaths:
    """The files of one sweep in the home."""

    name: str
    root: Path

    @property
    def spec(self) -> Path:
        """The sweep file as the user wrote it, ``--set`` laid over it."""
        return self.root / "sweep.yaml"

    @property
    def ledger(self) -> Path:
        return self.root / "ledger.journal"

    @property
    def lock(self) -> Path:
        """Held by the process that drives the sweep, for as long as it lives."""
        return self.root / "driver.lock"

    @property
    def stop_request(self) -> Path:
        return self.root / "stop"

    @property
    def spool(self) -> Path:
        return self.root / "spool.jsonl"

    @property
    def log(self) -> Path:
        return self.root / "driver.log"

    @property
    def pace(self) -> Path:
        """How fast it trained here when it last ran."""
        return self.root / "pace.json"

    @property
    def ray(self) -> Path:
        return self.root / "ray"


def trial_key(sweep: str, trial: int, confirm_seed: int | None = None) -> str:
    """The prefix in the artifact store under which a training of ``trial`` of the sweep ``Ledger.key`` keeps its
    files.
    """
    return f"{sweep}/trials/{trial}" if confirm_seed is None else f"{sweep}/confirm/{trial}-{confirm_seed}"


def checkpoint_key(prefix: str, images: int) -> str:
    return f"{prefix}/checkpoints/{images}"


def samples_key(prefix: str, images: int) -> str:
    return f"{prefix}/samples/{images}.png"


def statistics_key(name: str) -> str:
    """Features of real data, which all sweeps of a store share."""
    return f"statistics/{name}"
