"""The Ray that runs the legs: an embedded one on loopback, or a cluster the user has."""

from __future__ import annotations

import logging
import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import ray

from orchestrator.errors import GansweepError, UserError, WorkError, first_line
from orchestrator.execution import gcs

log = logging.getLogger(__name__)

LONGEST_PARENT = 107 - len("/gs-12345678/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store.1")
"""Bytes of the path that Ray's sockets may lie under; Linux allows them 107 in all."""

LONGEST_TOLD = 400
"""Characters of what Ray says."""


@contextmanager
def cluster(address: str | None) -> Iterator[None]:
    """Ray for the duration of a ``with``: the cluster at ``address``, or an embedded one. The environment is prepared
    already.
    """
    ours = signal.getsignal(signal.SIGTERM)
    with ExitStack() as stack:
        try:
            if address is None:
                sockets = stack.enter_context(socket_folder())
                ray.init(
                    address="local",
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    _temp_dir=str(sockets),
                )
            else:
                gcs.require_welcome(address)
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
            signal.signal(signal.SIGTERM, ours)  # Ray takes it for itself
            gcs.hush(log.warning)
        except GansweepError:
            raise
        except Exception as error:  # Ray raises the bare class where its processes do not come up in time
            if address is None:
                raise WorkError(f"Ray could not be started on this machine: {first_line(error)}") from error
            told = " ".join(str(error).split())[:LONGEST_TOLD]  # Ray says in many lines which versions differ
            raise UserError(f"the Ray cluster at {address} can't be joined: {told}") from None
        try:
            yield
        finally:
            ray.shutdown()


@contextmanager
def socket_folder() -> Iterator[Path]:
    """A folder of our own for Ray's sockets and logs, gone afterwards: the path of a socket has an upper length, which
    a batch system's TMPDIR easily exceeds, and Ray's usual folder may be another user's.

    Raises UserError where no folder will do.
    """
    choices = [Path(p) for p in (os.environ.get("RAY_TMPDIR"), tempfile.gettempdir(), "/tmp", "/dev/shm") if p]
    for parent in choices:
        if len(os.fsencode(parent.absolute())) <= LONGEST_PARENT and os.access(parent, os.W_OK | os.X_OK):
            break
    else:
        raise UserError(
            f"Ray needs a folder for its sockets whose path has at most {LONGEST_PARENT} bytes, and none of "
            f"{', '.join(map(str, choices))} is one and can be written; name another in RAY_TMPDIR"
        )
    with tempfile.TemporaryDirectory(prefix="gs-", dir=parent, ignore_cleanup_errors=True) as folder:
        yield Path(folder)
