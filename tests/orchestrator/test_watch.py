"""Who hangs and who only takes long, by a clock of the test's own."""

from __future__ import annotations

import json
import threading
from dataclasses import asdict
from typing import Any, cast

import pytest

from orchestrator.errors import NodeGoneError
from orchestrator.execution import gcs, watch
from orchestrator.execution.beat import Beat
from orchestrator.execution.watch import Watch
from trainers.watching.pulse import Doing

LIMIT = 60


class Cluster:
    """Two nodes, a gang of a rank on each, and the clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.killed, self.told = 1000.0, list[int](), dict[str, bytes]()
        self.names, self.leaving = {"a": "gpu-1", "b": "gpu-2"}, set[str]()
        self.counts, self.joined = [0, 0], True
        monkeypatch.setattr("orchestrator.execution.watch.time.monotonic", lambda: self.now)
        monkeypatch.setattr(gcs, "read", lambda prefix: dict(self.told))
        monkeypatch.setattr(gcs, "forget", lambda prefix: self.told.clear())
        monkeypatch.setattr(gcs, "nodes", lambda: dict(self.names))
        monkeypatch.setattr(gcs, "draining", lambda: set(self.leaving))
        monkeypatch.setattr(gcs, "kill", lambda node, pid: self.killed.append(pid))
        store: Any = None
        self.watch = Watch("digits", LIMIT, store)

    def beat(self, rank: int, moves: int, doing: Doing = "stepping") -> None:
        self.counts[rank] += 1
        does = ("leg" if rank == 0 else "", moves, 64, doing, None, self.joined)
        beat = Beat(self.counts[rank], rank, "ab"[rank], 100 + rank, *does)
        self.told[f"gang/{rank}"] = json.dumps(asdict(beat)).encode()

    def seconds(self, number: int, **beats: tuple[int, Doing] | None) -> None:
        """Pass; ``zero`` and ``one`` say what the ranks do meanwhile: moves a second, and what they say."""
        for _ in range(number):
            self.now += 1
            for rank, name in enumerate(("zero", "one")):
                if (does := beats.get(name)) is not None:
                    self.beat(rank, int(self.now) * does[0], does[1])
            self.watch._look()


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    made = Cluster(monkeypatch)
    made.seconds(10, zero=(1, "stepping"), one=(1, "stepping"))
    return made


def test_measuring_or_waiting_for_one_that_reads_is_no_hang(cluster: Cluster):
    cluster.seconds(20 * LIMIT, zero=(0, "idle"), one=(0, "idle"))
    cluster.seconds(watch.WORKING - 10, zero=(0, "stepping"), one=(0, "working"))
    cluster.seconds(20 * LIMIT, zero=(0, "stepping"), one=(1, "working"))
    assert cluster.watch.verdict("leg") is None and not cluster.killed


def test_a_measure_that_does_not_end_is_ended(cluster: Cluster):
    cluster.seconds(603, zero=(0, "working"), one=(0, "stepping"))
    assert "the ranks hung: no batch read or measured for 6" in str(cluster.watch.verdict("leg"))
    assert cluster.killed == [100, 101]


def test_ranks_that_make_no_step_hang(cluster: Cluster):
    cluster.seconds(LIMIT - 1, zero=(0, "stepping"), one=(0, "stepping"))
    assert cluster.watch.verdict("leg") is None
    cluster.seconds(3, zero=(0, "stepping"), one=(0, "stepping"))
    assert "the ranks hung: no step for 6" in str(cluster.watch.verdict("leg"))
    assert cluster.killed == [100, 101]


def test_ranks_that_do_not_meet_are_ended_with_the_way_out(monkeypatch: pytest.MonkeyPatch):
    cluster = Cluster(monkeypatch)
    cluster.joined = False
    cluster.seconds(299, zero=(0, "idle"), one=(0, "idle"))
    assert cluster.watch.verdict("leg") is None
    cluster.seconds(3, zero=(0, "idle"), one=(0, "idle"))
    assert "did not meet within 300 s: open all ports between the nodes" in str(cluster.watch.verdict("leg"))
    assert cluster.killed == [100, 101]


def test_a_rank_that_gives_no_sign_hangs_whatever_the_others_do(cluster: Cluster):
    cluster.seconds(LIMIT + 2, zero=(0, "idle"), one=None)
    assert "rank 1 on node gpu-2 hung: it gave no sign for 6" in str(cluster.watch.verdict("leg"))


def test_a_driver_that_slept_blames_nobody(cluster: Cluster):
    cluster.now += 10 * LIMIT
    cluster.seconds(LIMIT // 2, zero=(1, "stepping"), one=(1, "stepping"))
    assert cluster.watch.verdict("leg") is None
    cluster.now += 10 * LIMIT
    cluster.seconds(LIMIT + 2, zero=(1, "stepping"), one=None)
    assert "rank 1" in str(cluster.watch.verdict("leg"))


def test_a_gang_that_lost_a_node_is_ended_and_one_on_a_node_that_leaves_is_not(cluster: Cluster):
    cluster.leaving = {"b"}
    cluster.seconds(5, zero=(1, "stepping"), one=(1, "stepping"))
    assert cluster.watch.verdict("leg") is None, "it ends by itself, with a checkpoint"
    del cluster.names["b"]
    cluster.seconds(1, zero=(1, "stepping"), one=None)
    why = cluster.watch.verdict("leg")
    assert isinstance(why, NodeGoneError) and str(why) == "node gpu-2, on which rank 1 ran, was preempted"
    assert cluster.killed == [100]


def test_a_driver_whose_head_is_lost_ends_and_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    ended, store = threading.Event(), cast(Any, None)

    def silence(prefix: str) -> dict[str, bytes]:
        raise TimeoutError

    monkeypatch.setattr(watch, "EVERY", 0.01)
    monkeypatch.setattr(watch, "HEADLESS", 0.1)
    monkeypatch.setattr(gcs, "read", silence)
    monkeypatch.setattr("os._exit", lambda status: ended.set())
    with Watch("digits", LIMIT, store):
        assert ended.wait(10)
    said = capsys.readouterr().err
    assert "the head of the Ray cluster has not answered for 0 s; what was recorded is kept" in said
    assert "gansweep resume digits" in said
