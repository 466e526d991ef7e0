"""Profiles: named deployments, each with the places that ``auto`` in a sweep file means.

    # ~/.config/gansweep/config.toml
    [profiles.lab]
    ledger = "postgresql://gansweep:${LAB_PASSWORD}@db.lab/gansweep"
    tracking = "https://mlflow.lab"
    artifacts = "s3://lab/gansweep"
    address = "ray-head.lab:6379"
    environment = ["AWS_ENDPOINT_URL"]
    [profiles.lab.resources]
    gpus_per_worker = 1

``${VAR}`` is taken from the environment when the place is used, so that no password need stand in the file.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self, TypeGuard

from pydantic import Field, model_validator

from orchestrator.commands import PROFILE
from orchestrator.errors import UserError
from orchestrator.secrets import has_secret
from orchestrator.settings.groups import Name, Resources
from trainers.config import Settings
from trainers.files.places import database, place
from trainers.reading.document import fill
from trainers.settings import Document, Problem, SettingsError, build


class Profile(Settings):
    """Where sweeps live. ``auto`` is the home, a folder of this machine."""

    ledger: str = Field(min_length=1, description="a database's URL; or auto, a journal in the home")
    tracking: str = Field(min_length=1, description="an MLflow server")
    artifacts: str = Field(min_length=1, description="s3://bucket/prefix, or a folder that every machine mounts")
    address: str | None = Field(default=None, description="the Ray cluster, as for --address")
    environment: tuple[str, ...] = Field(default=(), description="names of variables that a job gets from here")
    resources: Resources = Field(default=Resources(), description="where a sweep file says nothing")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        """A sweep of which a part is left on one machine can't be taken over from another."""
        if left := [name for name in ("tracking", "artifacts") if self.is_shared and getattr(self, name) == "auto"]:
            raise ValueError(
                f"the ledger is a database, so {' and '.join(left)} must lie where every machine reaches, not 'auto'"
            )
        return self

    @property
    def is_shared(self) -> bool:
        """Whether its sweeps belong to no machine."""
        return self.ledger != "auto"

    def cluster(self, address: str | None) -> str | None:
        """The Ray to run on where ``address`` is asked for; None for an embedded one."""
        asked = address or self.address
        return None if asked == "local" else asked

    @property
    def default_resources(self) -> dict[str, Any]:
        """Those that it names."""
        return self.resources.model_dump(exclude_unset=True)


class _File(Settings):
    profiles: dict[Name, Profile] = Field(default={})


def load(name: str) -> Profile:
    """The profile of this name, its places with ``${VAR}`` filled in.

    Raises SettingsError with every problem of the file, or where it has no such profile.
    """
    if name == PROFILE:
        return Profile(ledger="auto", tracking="auto", artifacts="auto")
    document = _document()
    named = document.values.get("profiles")
    if isinstance(named, dict) and PROFILE in named:
        where = f"profiles.{PROFILE}"
        document.problems.append(document.problem(where, "is built in, and means the home: choose another name"))
    known = build(_File, document).profiles
    if name not in known:
        names = ", ".join([PROFILE, *known])
        raise SettingsError(document.source, [Problem("", f"there is no profile '{name}'; profiles: {names}")])
    return known[name].model_copy(update=_filled(known[name], name, document))


def as_written(name: str) -> str:
    """A config file with this profile alone, ``${VAR}`` not filled in: what another machine needs to know of it.

    Raises UserError where a password stands in it, SettingsError where there is no such profile.
    """
    load(name)
    table: dict[str, Any] = dict(_document().values["profiles"][name])
    places = {key: _VARIABLE.sub("", str(table[key])) for key in _PLACES if key in table}
    if secret := [key for key, text in places.items() if has_secret(text)]:
        raise UserError(
            f"profile '{name}' has a password in {' and '.join(secret)}, which everybody who sees the cluster's jobs "
            "could read: write ${NAME} there, and set that variable where the nodes start"
        )
    resources = table.pop("resources", {})
    lines = [f"[profiles.{name}]", *map(_line, table.items())]
    return "\n".join([*lines, f"[profiles.{name}.resources]", *map(_line, resources.items()), ""])


def _line(item: tuple[str, Any]) -> str:
    """Of TOML: whatever a profile may hold is written there as in JSON."""
    return f"{item[0]} = {json.dumps(item[1])}"


def config_file() -> Path:
    """``GANSWEEP_CONFIG``, or ``gansweep/config.toml`` where the user's settings lie."""
    if named := os.environ.get("GANSWEEP_CONFIG"):
        return Path(named)
    folder = os.environ.get("XDG_CONFIG_HOME")
    return (Path(folder) if folder else Path.home() / ".config") / "gansweep" / "config.toml"


def _document() -> Document:
    """Empty where there is no file, unless one was named."""
    file = config_file()
    try:
        return Document(str(file), tomllib.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        if not os.environ.get("GANSWEEP_CONFIG"):
            return Document(f"{file} (not there)", {})
        raise SettingsError(str(file), [Problem("", "can't be read: there is no such file")]) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        raise SettingsError(str(file), [Problem("", f"can't be read: {reason}")]) from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(str(file), [Problem("", f"not valid TOML: {error}")]) from None


def is_dashboard(address: str | None) -> TypeGuard[str]:
    """Whether a sweep for this Ray cluster is a job, whose driver runs there."""
    return address is not None and address.startswith(("http://", "https://"))


def is_job(address: str | None, env: Sequence[str]) -> TypeGuard[str]:
    """The same, for Python's callers. Raises UserError where a job's variables are named for what is none."""
    if env and not is_dashboard(address):
        raise UserError("env needs address='http://…', a Ray cluster's dashboard: this sweep's driver runs here")
    return is_dashboard(address)


_VARIABLE = re.compile(r"\$\{\w+\}")
_PLACES: dict[str, Callable[[str], str]] = {
    "ledger": database,
    "tracking": database,
    "artifacts": place,
    "address": str,
}


def _filled(profile: Profile, name: str, document: Document) -> dict[str, str]:
    """Its places as they are used."""
    filled = {}
    for key, read in _PLACES.items():
        if (text := getattr(profile, key)) not in (None, "auto"):
            path = ("profiles", name, key)
            try:
                filled[key] = read(fill(text, path, document))
            except ValueError as error:
                document.problems.append(document.problem(".".join(path), str(error)))
    if document.problems:
        raise SettingsError(document.source, document.problems)
    return filled
