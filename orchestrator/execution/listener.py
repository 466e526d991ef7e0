"""Does anything listen at an address? Ray itself would wait for minutes where nothing does."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from orchestrator.errors import UserError

ANSWER = 10.0
"""Seconds that a connection may take."""
_PORTS = {"https": 443, "http": 80, "ray": 10_001}


def require_head(address: str | None) -> None:
    """Raises UserError where ``address`` is a cluster's HOST:PORT and nothing answers there, or no such address."""
    if address and address.startswith("ray://"):
        raise UserError(
            f"{address}: a sweep's driver runs inside the cluster's network, not behind Ray Client; give the head's "
            "HOST:6379 there, or send a job to its dashboard: http://HOST:8265"
        )
    if address not in (None, "auto", "local"):
        require_listener(
            address if "://" in address else f"//{address}",
            f"no Ray cluster answers at {address}",
            "It is the head's HOST:6379, as 'ray start --head' prints it; on a node of the cluster, --address auto",
        )


def require_listener(url: str, problem: str, way_out: str) -> None:
    """Raises UserError, of these words, where nothing listens at host and port of ``url``."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme)
        if not port:
            raise ValueError("the port is missing")
        socket.create_connection((parts.hostname or "", port), timeout=ANSWER).close()
    except (OSError, ValueError) as error:
        raise UserError(f"{problem}: {getattr(error, 'strerror', None) or error}. {way_out}") from None
