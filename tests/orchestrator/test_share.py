"""Several sweeps on one cluster: who gets how many places, and when."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.execution import gcs, share
from orchestrator.execution.order import GangSpec
from orchestrator.execution.share import Share, shares
from orchestrator.execution.tuner import _Legs


@given(
    places=st.integers(0, 100),
    priorities=st.dictionaries(st.text(max_size=3), st.floats(0.01, 100), min_size=1, max_size=6),
    turn=st.integers(0, 10**8),
)
def test_all_places_are_given_out_as_near_to_the_priorities_as_can_be(
    places: int, priorities: dict[str, float], turn: int
) -> None:
    found = shares(places, priorities, turn)
    assert sum(found.values()) == places
    total = sum(priorities.values())
    assert all(abs(found[name] - places * own / total) < 1 + 1e-6 for name, own in priorities.items())


def test_one_place_goes_round() -> None:
    given = [shares(1, {"one": 3, "other": 1}, turn)["one"] for turn in range(1_000)]
    assert abs(sum(given) - 750) < 5
    assert max(len(run) for run in "".join(map(str, given)).split("0")) < 5, "the other never waits for long"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, and a cluster's store."""
    store, now = dict[str, bytes](), [1_000.0]
    monkeypatch.setattr(gcs, "put", store.__setitem__)
    monkeypatch.setattr(gcs, "read", lambda prefix: {k: v for k, v in store.items() if k.startswith(prefix)})
    monkeypatch.setattr(gcs, "forget", lambda prefix: [store.pop(k) for k in list(store) if k.startswith(prefix)])
    monkeypatch.setattr("time.time", lambda: now[0])
    return now


def test_who_has_no_work_or_has_died_leaves_its_share_to_others(clock: list[float]) -> None:
    one, other = Share("one", 1), Share("one-2", 1)
    assert one.of(8, True) == 8
    assert other.of(8, True) == 4 and one.of(8, True) == 4
    one.of(8, False)
    assert other.of(8, True) == 8
    assert one.of(8, True) == 4
    clock[0] += share.SILENCE
    assert other.of(8, True) == 8


class Places:
    """In the place of ``Slots``."""

    has_work, places = True, 2

    def count(self) -> int:
        return self.places

    def ask(self, running: int, is_more: Any) -> None: ...


class Endless:
    """In the place of the conductor."""

    def stopping(self) -> bool:
        return False

    def next_leg(self) -> Any:
        return "leg", None


def test_a_gang_whose_place_is_anothers_now_is_closed_at_the_end_of_its_leg() -> None:
    places = Places()
    legs = _Legs(Endless(), GangSpec(1, 1, 0, None, ""), places, "")  # type: ignore[arg-type]
    assert legs.suggest("a") and legs.suggest("b")
    legs.on_trial_complete("a")
    assert legs.suggest("c") and not legs.suggest("d") and not legs.idle(), "its gang goes from leg to leg"
    places.places = 1
    legs.on_trial_complete("b")
    assert legs.suggest("d") is None and legs.idle()
    assert legs.idle(), "until Tune, which keeps it a while after its leg, has one to close"
    legs.closed()
    assert not legs.idle()
