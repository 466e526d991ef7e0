"""What Ray must find in the environment before it is imported: it reads most of its switches only then."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

QUIET = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",  # Ray's own 15 lets any other program go before training, MLflow's server too
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is the sweep's: once finishes the reports, twice stops
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # a csv, a json and a TensorBoard file per leg, which nobody reads
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # Tune's own snapshot is never read: the ledger is the truth
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_raylet_start_wait_time_s": "120",  # 60 are too few on a machine that is busy
    "RAY_TRAIN_COUNT_PREEMPTION_AS_FAILURE": "1",  # else Tune starts a preempted leg again, unknown to the ledger
    "TUNE_WARN_THRESHOLD_S": "60",
}

HEALTH = {
    "RAY_health_check_period_ms": "1500",
    "RAY_health_check_timeout_ms": "3000",
    "RAY_health_check_failure_threshold": "4",
}
"""For a cluster's head, with which a node that falls silent is missed after 18 s at most; by Ray's own defaults, after
a minute. They are read when the head starts.
"""


def prepare(address: str | None, token_file: Path) -> None:
    """For the cluster at ``address``, whose secrets the user has set; or for an embedded one, on loopback with a token
    of our own.

    Ray by itself listens on every interface and keeps its token readable by all. It binds to loopback where it believes
    that it serves this machine alone; the switch for that is named after the systems on which it is the default.
    """
    os.environ.update({name: value for name, value in QUIET.items() if name not in os.environ})
    if address is not None:
        return
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(token_file)
    if not token_file.exists():
        descriptor = os.open(token_file, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))
