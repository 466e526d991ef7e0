"""How many gangs there are places for, without a cluster; with one: ``test_nodes``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.errors import UserError
from orchestrator.execution import gcs, probe
from orchestrator.execution import slots as module
from tests.orchestrator import nodes


def test_a_trial_that_waits_while_others_hold_the_cluster_is_told_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "CROWDED", 0.0)
    monkeypatch.setattr(module.Slots, "count", lambda slots: 4)
    monkeypatch.setattr(module, "seeks_room", lambda: True)
    notes: list[str] = []
    slots = module.Slots(nodes.gang(tmp_path), 10, notes.append, comes=False)
    for running, placed in ((2, 2), (3, 2), (3, 2), (3, 2)):
        slots.allowed(running, placed, more=True)
    assert notes == ["1 trial waiting for 1 x (1 CPU): other work holds it"]
    slots.allowed(3, 3, more=True)
    for _ in range(3):
        slots.allowed(4, 3, more=True)
    assert len(notes) == 2


def test_a_trial_whose_ranks_start_slowly_waits_for_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "CROWDED", 0.0)
    monkeypatch.setattr(module.Slots, "count", lambda slots: 4)
    monkeypatch.setattr(module, "seeks_room", lambda: False)
    notes: list[str] = []
    slots = module.Slots(nodes.gang(tmp_path), 10, notes.append, comes=False)
    for _ in range(3):
        slots.allowed(1, 0, more=True)
    assert notes == []


def test_a_full_disk_ends_a_sweep_before_it_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(probe, "LEAST_DISK", 1e9)
    monkeypatch.setattr(gcs, "nodes", lambda: {"a": "gpu-7"})
    slots = module.Slots(nodes.gang(tmp_path), 10, comes=False)
    with pytest.raises(UserError, match=r"only [0-9.]+ GiB are free under .*; make room, or name another folder"):
        slots._admit(["a"])


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for a namespace")
def test_an_autoscaler_is_asked_for_nodes_and_lets_them_go(tmp_path: Path):
    apart = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    line = [*apart, sys.executable, "-m", "tests.orchestrator.autoscaled", str(tmp_path)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=280, check=True)
    told = [line for line in done.stdout.splitlines() if line.startswith(("places", "the cluster", "reports"))]
    assert [line for line in told if line.startswith("places")] == ["places 0", "places 2", "places 0"]
    assert any(line.startswith("reports") and line.endswith("errors 0") for line in told)
