"""What the environment must say before any library reads it, wherever the user is: behind a proxy, in a container."""

from __future__ import annotations

import os
from pathlib import Path

from trainers.files.cache import temporary_home

HOSTS = ("127.0.0.1", "localhost", "::1")
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy")


def mend() -> None:
    """For this process and those it starts. What is right stays as it is."""
    _spare_loopback()
    _name_a_home()


def _name_a_home() -> None:
    """A container's arbitrary user has neither home nor name, which MLflow and torch ask for and end without."""
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = str(temporary_home())
        os.environ.setdefault("LOGNAME", str(os.getuid()))


def _spare_loopback() -> None:
    """Where a proxy is set, add this machine's own names to the exceptions from it. Programs read either
    spelling of the variable, some the one and some the other first.
    """
    if not any(name.lower() in PROXIES for name in os.environ):
        return
    lower, upper = os.environ.get("no_proxy"), os.environ.get("NO_PROXY")
    for name, value in (("no_proxy", lower or upper), ("NO_PROXY", upper or lower)):
        known = [host.strip() for host in (value or "").split(",") if host.strip()]
        more = [host for host in HOSTS if host not in known and known != ["*"]]
        os.environ[name] = ",".join(known + more)
