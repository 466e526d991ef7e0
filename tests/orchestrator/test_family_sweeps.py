"""The shipped file of each family, with a budget of seconds: searched, confirmed, promoted, and asked in a process of
its own. Text, autoencoders and translation have tests of their own.

    pytest -m slow tests/orchestrator/test_family_sweeps.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.orchestrator.sweeps import User

SHORT: dict[str, Any] = {
    "search.trials": 2,
    "search.start_with": [],
    "rungs": None,
    "confirm": {"top": 1, "seeds": 1},
    "train.images": 256,
    "evaluate.every_images": 128,
    "evaluate.samples": 128,
    "objective.require": {},
}
FAMILIES: dict[str, tuple[dict[str, Any], dict[str, Any], tuple[int, ...]]] = {
    "circular-gaussians": ({"evaluate.samples": 3_600}, {"angle": 90.0}, (5, 2)),
    "flags": ({}, {}, (5, 32, 32, 1)),
    "moving-digits": ({"train.images": 64, "evaluate.every_images": 32}, {"frames": 4}, (5, 4, 16, 16, 1)),
    "weather-scenes": (
        {"train.images": 64, "evaluate.every_images": 32, "evaluate.metrics": ["fid", "coverage"]}
        | {"objective.minimize": "fid"},
        {"weather": "snow", "fog": 0.3},
        (5, 64, 64, 3),
    ),
}
"""What else is set, a condition beside the seeds, and the shape of what five seeds make."""


@pytest.mark.slow  # 20 to 60 seconds each
@pytest.mark.parametrize("name", FAMILIES)
def test_a_shipped_sweep_ends_in_a_registered_generator(name: str, tmp_path: Path) -> None:
    more, asked, shape = FAMILIES[name]
    user, changes = User(tmp_path, Path(f"configs/{name}.yaml").read_text()), SHORT | more
    words = [word for key, value in changes.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    done = user.run("submit", str(user.file), *words)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    document = user.status(name)
    assert document["state"] == "finished", done.stdout + done.stderr
    assert all(trial["score"] is not None for trial in document["trials"] if trial["state"] == "finished")
    promoted = user.run("promote", name, "--trial", "0", "--force", "--reason", "seconds of training", "--json")
    assert promoted.returncode == 0, promoted.stderr
    assert user.predict(json.loads(promoted.stdout)["uri"], **asked).shape == shape
