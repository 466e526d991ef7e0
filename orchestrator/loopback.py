"""What is on this machine is never looked for behind a proxy."""

from __future__ import annotations

import os

HOSTS = ("127.0.0.1", "localhost", "::1")
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy")


def spare_loopback() -> None:
    """Where a proxy is set, add this machine's own names to the exceptions from it, for this process and those it
    starts. Programs read either spelling of the variable, some the one and some the other first.
    """
    if not any(name.lower() in PROXIES for name in os.environ):
        return
    lower, upper = os.environ.get("no_proxy"), os.environ.get("NO_PROXY")
    for name, value in (("no_proxy", lower or upper), ("NO_PROXY", upper or lower)):
        known = [host.strip() for host in (value or "").split(",") if host.strip()]
        if known != ["*"]:
            os.environ[name] = ",".join([*known, *(host for host in HOSTS if host not in known)])
