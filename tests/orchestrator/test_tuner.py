"""What Tune is told where it asks the conductor and that raises."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from ray.tune.search import Searcher

from orchestrator.execution.tuner import _Feedback, _Legs, _Stop


@pytest.mark.parametrize("call", ["heard", "ended", "next_leg"])
def test_what_the_conductor_raises_ends_all_legs_and_stays_what_it_is(call: str):
    """Tune would end the sweep with its own error, of which the text is a traceback."""
    full = OSError(errno.ENOSPC, "No space left on device")
    conductor: Any = Mock(
        **{"stopping.return_value": False, "unwanted.return_value": False, f"{call}.side_effect": full}
    )
    legs = _Legs(conductor, Mock(), Mock(**{"allowed.return_value": 1}), "heartbeats")
    feedback, stop = _Feedback(conductor, Mock(), legs), _Stop(conductor, legs)
    trial = Mock(config={"order": Mock(prefix="trials/0")})
    assert not stop("0", {})
    if call == "heard":
        feedback.on_trial_result(1, [], trial, {"report": {}})
    elif call == "ended":
        feedback.on_trial_complete(1, [], trial)
    else:
        assert legs.suggest("1") is None
    assert legs.failure is full
    finished: Any = legs.suggest("1")
    assert stop("0", {}) and finished == Searcher.FINISHED


def test_a_leg_that_waits_for_a_place_ends_with_the_sweep(tmp_path: Path):
    """It makes no report, after which legs that are to stop end. Ray is to be prepared first, so in another process."""
    subprocess.run([sys.executable, "-m", "tests.orchestrator.waiting", str(tmp_path)], check=True, timeout=120)
