"""Nodes that hang, go and come, and what becomes of the legs on them. Each node is a raylet on this machine."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import HungError, NodeGoneError, UserError
from tests.orchestrator import nodes
from tests.orchestrator.nodes import Legs

HANG = 5

pytestmark = pytest.mark.slow  # 25 to 50 seconds each on two busy cores


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch, nodes.cluster(tmp_path_factory.mktemp("cluster"), patch) as made:
        yield made


@pytest.fixture
def two(cluster: Any) -> Iterator[list[Any]]:
    """Two nodes with a CPU each; those that stand at the end of the test are taken away."""
    yield [cluster.add_node(num_cpus=1), cluster.add_node(num_cpus=1)]
    for node in list(cluster.worker_nodes):
        cluster.remove_node(node, allow_graceful=False)


def run(legs: Legs, folder: Path, ranks: int) -> None:
    from orchestrator.execution.slots import Slots
    from orchestrator.execution.tuner import run_legs

    gang = nodes.gang(folder, ranks, hang_seconds=HANG)
    run_legs(legs, gang, Slots(gang, 1), str(folder / "ray"), "legs")


def once(after: int, act: Callable[[], None]) -> tuple[Callable[[Legs], None], list[float]]:
    """``act`` when the first training has made so many reports; and when that was."""
    when: list[float] = []

    def look(legs: Legs) -> None:
        if not when and len(legs.images["0"]) >= after:
            when.append(time.monotonic())
            act()

    return look, when


@pytest.mark.parametrize("word", ["TrainLeg", "Rank"])
def test_a_rank_that_hangs_is_missed_and_its_slot_trains_again(word: str, two: list[Any], tmp_path: Path):
    look, when = once(2, lambda: nodes.ranks(two, word)[0].send_signal(signal.SIGSTOP))
    legs = Legs(1, 4, look)
    run(legs, tmp_path, ranks=2)
    (error,) = legs.errors
    assert type(error) is HungError and "hung: it gave no sign" in str(error)
    assert legs.failed_at - when[0] < HANG + 10


def test_a_node_that_is_lost_costs_no_retry(cluster: Any, two: list[Any], tmp_path: Path):
    def lose() -> None:
        nodes.lose(next(node for node in two if nodes.ranks([node], "Rank")))
        cluster.add_node(num_cpus=1)

    look, when = once(2, lose)
    legs = Legs(1, 4, look)
    run(legs, tmp_path, ranks=2)
    (error,) = legs.errors
    assert isinstance(error, NodeGoneError) and "was lost" in str(error)
    assert legs.failed_at - when[0] < 35


def test_a_preempted_leg_is_not_started_again_behind_the_conductors_back(cluster: Any, two: list[Any], tmp_path: Path):
    def preempt() -> None:
        node = next(node for node in two if nodes.ranks([node], "TrainLeg"))
        nodes.drain(node)
        nodes.lose(node)

    legs = Legs(1, 5, once(3, preempt)[0])
    run(legs, tmp_path, ranks=1)
    (error,) = legs.errors
    assert isinstance(error, NodeGoneError) and "was preempted" in str(error)
    assert [now > before for before, now in pairwise(legs.images["0"])].count(False) <= 1


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_leg_whose_node_is_to_go_is_moved_and_no_image_is_trained_twice(
    ranks: int, cluster: Any, two: list[Any], tmp_path: Path
):
    def announce() -> None:
        nodes.drain(next(node for node in two if nodes.ranks([node], "TrainLeg" if ranks == 1 else "Rank")))
        cluster.add_node(num_cpus=1)

    legs = Legs(1, 5, once(2, announce)[0])
    run(legs, tmp_path, ranks)
    (error,) = legs.errors
    assert isinstance(error, NodeGoneError) and "is to go" in str(error)
    assert legs.images["0"] == [1_600 * report for report in range(1, len(legs.images["0"]) + 1)]


def test_places_follow_the_nodes(cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from orchestrator.execution import slots as module

    monkeypatch.setattr(module, "LOOK", 0.0)
    notes: list[str] = []
    slots = module.Slots(nodes.gang(tmp_path, ranks=2), 10, notes.append)
    assert slots.count() == 0 and "waiting for 2 x (1 CPU): no node has room" in notes[0]
    one, other = cluster.add_node(num_cpus=3), cluster.add_node(num_cpus=1)
    assert slots.count() == 2
    assert module.Slots(nodes.gang(tmp_path, ranks=2, placement="strict_pack"), 10).count() == 1
    assert module.Slots(nodes.gang(tmp_path, ranks=2, accelerator="H100"), 10).count() == 0
    nodes.drain(other)
    assert slots.count() == 1 and notes[-1] == "the cluster has changed: 1 trial at once"
    cluster.remove_node(one, allow_graceful=False)
    cluster.remove_node(other, allow_graceful=False)
    missed = time.monotonic() + 60  # nobody says goodbye, so Ray misses them after a while
    while slots.count() and time.monotonic() < missed:
        time.sleep(0.2)
    assert slots.count() == 0
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    with pytest.raises(UserError, match=r"a trial needs 2 x \(1 CPU\), and the nodes have 0 CPUs"):
        slots.count()


def test_a_node_that_comes_later_is_looked_at_while_legs_run(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """One that gives no answer would hold up the driver for minutes."""
    from orchestrator.execution import slots as module

    monkeypatch.setattr(module, "LOOK", 0.0)
    slots, (first, late) = module.Slots(nodes.gang(tmp_path), 10, lambda note: None), (threading.Event() for _ in "ab")
    from orchestrator.execution.probe import probe

    def slow(*given: Any) -> Any:
        assert not first.is_set() or late.wait(30)
        first.set()
        return probe(*given)

    monkeypatch.setattr(module, "probe", slow)
    one = cluster.add_node(num_cpus=1)
    assert slots.count() == 1
    other = cluster.add_node(num_cpus=2)
    began = time.monotonic()
    assert slots.count() == 1 and time.monotonic() - began < 5
    late.set()
    while slots.count() == 1 and time.monotonic() - began < 60:
        time.sleep(0.1)
    assert slots.count() == 3
    for node in (one, other):
        cluster.remove_node(node, allow_graceful=False)


def test_only_nodes_with_the_labels_asked_for_count(cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from orchestrator.execution import slots as module

    node = cluster.add_node(num_cpus=2, labels={"pool": "research"})
    mine, nobodys = (nodes.gang(tmp_path, on=(("pool", name),)) for name in ("research", "nobody's"))
    assert module.Slots(mine, 10).count() == 2
    monkeypatch.setattr(module, "PATIENCE", -1.0)
    with pytest.raises(UserError, match="1 CPU\\) on nodes with pool=nobody's, and no node has these labels"):
        module.Slots(nobodys, 10).count()
    with pytest.raises(UserError, match="of one node, and no node has more than 2 CPUs"):
        module.Slots(nodes.gang(tmp_path, ranks=3, placement="strict_pack"), 10).count()
    cluster.remove_node(node, allow_graceful=False)


def test_a_sweep_on_a_cluster_without_workers_waits_for_them(cluster: Any, tmp_path: Path):
    legs = Legs(1, 1)
    drawn: list[float] = []
    first = legs.next_leg

    def next_leg() -> Any:
        drawn.append(time.monotonic())
        return first()

    legs.next_leg = next_leg  # type: ignore[method-assign]
    from orchestrator.execution.slots import Slots
    from orchestrator.execution.tuner import run_legs

    gang = nodes.gang(tmp_path)
    slots, began = Slots(gang, 2, lambda note: None), time.monotonic()
    count = slots.count

    def counted() -> int:  # nodes are added in the main thread only
        if not cluster.worker_nodes and time.monotonic() - began > 3:
            cluster.add_node(num_cpus=1)
        return count()

    slots.count = counted  # type: ignore[method-assign]
    run_legs(legs, gang, slots, str(tmp_path / "ray"), "legs")
    assert drawn[0] - began > 3, "a leg is decided when there is a place for it"
    assert legs.images["0"] and not legs.errors
    for node in list(cluster.worker_nodes):
        cluster.remove_node(node, allow_graceful=False)
