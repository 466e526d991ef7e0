"""Who of several sweeps on one cluster may have how many gangs."""

from __future__ import annotations

import itertools
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from orchestrator.execution import gcs, shares
from orchestrator.execution.order import GangSpec
from orchestrator.execution.shares import EVERY, SILENCE, TURN, Claim, Share
from tests.orchestrator import nodes

MANY = 1_000
NOWHERE: Any = None


@pytest.mark.parametrize(
    ("claims", "given"),
    [
        ([Claim(1, 8, MANY)], [8]),
        ([Claim(1, 8, MANY), Claim(1, 8, MANY)], [4, 4]),
        ([Claim(2, 9, MANY), Claim(1, 9, MANY)], [6, 3]),
        ([Claim(1, 8, 2), Claim(1, 8, MANY)], [2, 6]),
        ([Claim(100, 3, MANY), Claim(1, 3, MANY), Claim(1, 3, MANY)], [1, 1, 1]),
        ([Claim(1, 1, MANY, used=60), Claim(1, 1, MANY, used=50)], [0, 1]),
        ([Claim(2, 1, MANY, used=60), Claim(1, 1, MANY, used=50)], [1, 0]),
        ([Claim(1, 3, MANY, used=60), Claim(1, 3, MANY, used=50)], [1, 2]),
        ([Claim(1, 2, MANY), Claim(1, 8, MANY)], [1, 4]),
        ([Claim(1, 0, MANY), Claim(1, 8, MANY)], [0, 8]),
    ],
    ids=str,
)
def test_places_go_round_by_weight_and_to_who_can_use_them(claims: list[Claim], given: list[int]):
    assert list(shares.shares({str(number): claim for number, claim in enumerate(claims)}).values()) == given


def test_whatever_sweeps_want_no_place_is_left_that_one_of_them_could_use():
    dice = random.Random(0)
    for _ in range(300):
        places = dice.randint(1, 12)
        claims = {
            str(number): Claim(dice.choice([0.5, 1, 3]), places, dice.randint(0, 12), dice.random() * 100)
            for number in range(dice.randint(1, 6))
        }
        given, wanted = shares.shares(claims), sum(claim.wanted for claim in claims.values())
        assert sum(given.values()) == min(places, wanted), claims
        with_work = [name for name, claim in claims.items() if claim.wanted]
        if len(with_work) <= places:
            assert all(given[name] for name in with_work), claims


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A cluster's head and the time, both of which the test plays."""
    kept: dict[str, bytes] = {}
    now = [1_000.0]
    monkeypatch.setattr(gcs, "put", kept.__setitem__)
    monkeypatch.setattr(gcs, "read", lambda prefix: {k: v for k, v in kept.items() if k.startswith(prefix)})
    monkeypatch.setattr(gcs, "forget", lambda name: kept.pop(name, None))
    monkeypatch.setattr(shares, "monotonic", lambda: now[0])
    return now


def share(weight: float = 1, accelerator: str | None = None) -> Share:
    return Share(GangSpec(1, 1, 0, NOWHERE, "", accelerator=accelerator), MANY, weight)


def test_a_share_falls_after_a_turn_and_grows_at_once(clock: list[float]):
    first, second = share(), share()
    assert first.of(8, 0, 0, True) == 8
    assert second.of(8, 0, 0, True) == 4
    clock[0] += EVERY
    assert first.of(8, 8, 8, True) == 8
    for _ in range(int(TURN / EVERY)):
        clock[0] += EVERY
        second.of(8, 0, 0, True)
        first.of(8, 8, 8, True)
    assert first.of(8, 8, 8, True) == 4
    second.leave()
    clock[0] += EVERY
    assert first.of(8, 4, 4, True) == 8


def test_who_gives_no_sign_of_life_or_has_no_work_or_other_gpus_leaves_its_places_to_others(clock: list[float]):
    share().of(8, 0, 0, True)  # and nothing more is heard of it
    tail, other, sweep = share(), share(accelerator="H100"), share()
    for _ in range(int(SILENCE / EVERY) + 2):
        assert tail.of(8, 1, 1, False) == 1
        assert other.of(8, 0, 0, True) == 8
        sweep.of(8, 3, 3, True)
        clock[0] += EVERY
    assert sweep.of(8, 3, 3, True) == 7


def test_an_autoscaler_is_asked_for_what_all_sweeps_want(clock: list[float]):
    mine, theirs, late = share(), share(accelerator="A100"), share()
    mine.asked, theirs.asked, late.asked = 2, 3, 0
    for one in (theirs, late, mine):
        one.of(4, 0, 0, more=True)
    assert sorted(claim.asked for claim in mine.all_asked()) == [0, 2, 3]
    theirs.leave()
    clock[0] += EVERY
    mine.of(4, 0, 0, more=True)
    assert sorted(claim.asked for claim in mine.all_asked()) == [0, 2]


def test_sweeps_take_turns_at_a_single_place_by_weight(clock: list[float]):
    light, heavy = share(1), share(3)
    holder, held = light, {light: 0.0, heavy: 0.0}
    for _ in range(int(80 * TURN / EVERY)):
        told = {sweep: sweep.of(1, int(sweep is holder), int(sweep is holder), True) for sweep in (light, heavy)}
        held[holder] += EVERY
        if not told[holder]:  # its leg ends
            holder = next(sweep for sweep in told if sweep is not holder)
        clock[0] += EVERY
    assert held[heavy] / held[light] == pytest.approx(3, rel=0.1)


@pytest.mark.slow
def test_two_sweeps_take_turns_on_a_cluster_with_one_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The first has a long list of legs; the second, which comes later, one. That is trained in between, and while
    the first holds no place nothing of it runs.
    """
    with nodes.cluster(tmp_path, monkeypatch) as cluster:
        cluster.add_node(num_cpus=1)
        told = tmp_path / "told"
        with _driver(cluster.address, tmp_path, "first", told) as first:
            _until_told(told, "first", first)
            with _driver(cluster.address, tmp_path, "second", told) as second:
                assert (first.wait(120), second.wait(120)) == (0, 0)
    order = [name for name, _ in itertools.groupby(told.read_text().split())]
    assert order == ["first", "second", "first"]


@contextmanager
def _driver(address: str, folder: Path, name: str, told: Path) -> Iterator[subprocess.Popen[bytes]]:
    words = [sys.executable, "-m", "tests.orchestrator.sharing", address, str(folder), name, str(told)]
    with subprocess.Popen(words) as process:
        try:
            yield process
        finally:
            process.kill()


def _until_told(told: Path, name: str, driver: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while not (told.exists() and name in told.read_text()):
        assert time.monotonic() < deadline and driver.poll() is None
        time.sleep(0.1)
