"""Every local path, every object key and every address, in one place."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.commands import HOME, PROFILE
from orchestrator.errors import UserError
from orchestrator.profiles import Profile, load
from orchestrator.spec import Sweep
from trainers.files.cache import cache_folder

RunKey = int | tuple[int, int] | None
"""What has an MLflow run of its own: a trial, its re-training on a seed (trial, seed), or the sweep itself (None)."""


def key_word(key: RunKey) -> str:
    """``sweep``, ``3`` or ``3:1001``."""
    return "sweep" if key is None else f"{key[0]}:{key[1]}" if isinstance(key, tuple) else str(key)


@dataclass(frozen=True)
class Home:
    """Where sweeps live: the places that a profile names, and a folder for what is embedded. Under the profile
    ``local`` the folder holds all, under a shared one nothing that can't be made again.
    """

    root: Path
    profile: Profile = field(default_factory=lambda: load(PROFILE))
    profile_name: str = PROFILE

    @classmethod
    def open(cls, root: Path | None, profile: str = PROFILE) -> Home:
        """The home in ``root``; where none is given and the profile is shared, a cache of the user's. One that holds
        sweeps is made. Raises UserError where it can't be written, SettingsError for a profile that is no use.
        """
        known = load(profile)
        home = cls((root or cache_folder() / "profiles" / profile).resolve(), known, profile)
        if not known.is_shared:
            home.make()
        return home

    @classmethod
    def at(cls, root: str | Path | None = None, profile: str | None = None) -> Home:
        """As for ``--home`` and ``--profile``, where what is not given is taken from GANSWEEP_HOME and
        GANSWEEP_PROFILE.
        """
        profile = profile or os.environ.get("GANSWEEP_PROFILE") or PROFILE
        root = Path(root or os.environ.get("GANSWEEP_HOME") or HOME)
        return cls.open(root if root != Path(HOME) or profile == PROFILE else None, profile)

    def make(self) -> None:
        """Make sure that the folder exists and can be written; raises UserError otherwise."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            probe = self.root / f".write-probe-{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise UserError(
                f"home {self.root} can't be written: {error.strerror}. Choose another with --home DIR or GANSWEEP_HOME"
            ) from None

    def tracking(self, sweep: Sweep | None) -> str:
        """Where runs are recorded, those of ``sweep`` or any; ``auto`` is the home's MLflow."""
        own = sweep.tracking.uri if sweep else "auto"
        if ":***@" in own:
            raise UserError(
                "tracking.uri was given with a password, which no ledger keeps: name it in a profile and leave the "
                "sweep file's 'auto', or submit the file again"
            )
        return self.profile.tracking if own == "auto" else own

    def store_url(self, sweep: Sweep | None) -> str:
        """Where artifacts are kept, those of ``sweep`` or any; ``auto`` is the home's folder."""
        own = sweep.artifacts.url if sweep else "auto"
        return self.profile.artifacts if own == "auto" else own

    def sweep(self, name: str) -> SweepPaths:
        ledger = self.profile.ledger if self.profile.is_shared else None
        return SweepPaths(name, self.root / "sweeps" / name, ledger)

    def sweeps(self) -> list[str]:
        return sorted(p.parent.name for p in self.root.glob("sweeps/*/sweep.yaml"))

    @property
    def mlflow(self) -> Path:
        return self.root / "mlflow"

    @property
    def mlflow_file(self) -> Path:
        return self.mlflow / "mlflow.db"

    @property
    def mlflow_database(self) -> str:
        return sqlite_url(self.mlflow_file)

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
    """The files of one sweep in the home, and where its ledger is: the profile's ``database``, or a file here."""

    name: str
    root: Path
    database: str | None = None

    @property
    def spec(self) -> Path:
        """The sweep file as the user wrote it, ``--set`` laid over it."""
        return self.root / "sweep.yaml"

    @property
    def ledger(self) -> Path | str:
        """A journal file, or a database's URL."""
        return self.database or self.root / "ledger.journal"

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
    def report(self) -> Path:
        """The page as it was when the sweep last ended; MLflow has it too."""
        return self.root / "report.html"

    @property
    def ray(self) -> Path:
        return self.root / "ray"


def sqlite_url(file: Path) -> str:
    """An SQLAlchemy URL, in whose path %XX stands for a character, and ? ends it."""
    quoted = str(file).replace("%", "%25").replace("?", "%3F")
    # Under the short name MLflow makes the folders of the path itself, quoted as it is.
    return f"sqlite:///{file}" if quoted == str(file) else f"sqlite+pysqlite:///{quoted}"


def trial_key(sweep: str, trial: int, confirm_seed: int | None = None) -> str:
    """The prefix in the artifact store under which a training of ``trial`` of the sweep ``Ledger.key`` keeps its
    files.
    """
    return f"{sweep}/trials/{trial}" if confirm_seed is None else f"{sweep}/confirm/{trial}-{confirm_seed}"


def checkpoint_key(prefix: str, images: int) -> str:
    return f"{prefix}/checkpoints/{images}"


def samples_key(prefix: str, images: int) -> str:
    return f"{prefix}/samples/{images}.png"


def log_key(prefix: str, rank: int) -> str:
    """What a rank printed, over all legs of a training."""
    return f"{prefix}/logs/{rank}.log"


def statistics_key(name: str) -> str:
    """Features of real data, which all sweeps of a store share."""
    return f"statistics/{name}"
