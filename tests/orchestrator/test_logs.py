"""What ranks print is kept per training and rank, bounded, each leg once, however often it is copied."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.artifacts import open_store
from orchestrator.errors import UserError
from orchestrator.execution import ranklog
from orchestrator.execution.ranklog import Part, keep
from orchestrator.logs import follow, logs
from orchestrator.paths import log_key, trial_key
from orchestrator.search.ledger import Ledger
from tests.orchestrator.small import next_leg, sweep, train


def test_each_leg_stands_once_after_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store, printed = open_store(str(tmp_path / "store"), tmp_path), tmp_path / "worker.out"
    printed.write_text("of another training\nfirst\n")
    first = Part("t/logs/0.log", "leg a", str(printed), start=len("of another training\n"))
    keep(store, first)
    with printed.open("a") as file:
        file.write("more of the first\nsecond\n")
    keep(store, replace(first, end=printed.stat().st_size - len("second\n")))
    second = Part(first.key, "leg b", str(printed), start=printed.stat().st_size - len("second\n"))
    keep(store, second)
    keep(store, second)
    text = store.get(first.key, tmp_path / "log").read_text()
    assert text == "--- leg a\nfirst\nmore of the first\n--- leg b\nsecond\n"
    keep(store, silent := Part(first.key, "leg c", str(printed), start=printed.stat().st_size))
    assert store.get(first.key, tmp_path / "log").read_text() == text + "--- leg c\n"
    monkeypatch.setattr(ranklog, "LONGEST", 10)
    keep(store, silent)
    assert store.get(first.key, tmp_path / "log").read_text() == "\n--- leg c\n"[-10:]


def test_of_a_leg_that_prints_much_only_the_end_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ranklog, "LONGEST", 60)
    store, printed = open_store(str(tmp_path / "store"), tmp_path), tmp_path / "worker.out"
    printed.write_text("".join(f"line {number}\n" for number in range(1_000)))
    keep(store, Part("t/logs/0.log", "leg a", str(printed), start=0))
    assert store.get("t/logs/0.log", tmp_path / "log").read_text().endswith("line 998\nline 999\n")
    assert (tmp_path / "log").stat().st_size == 60


def test_logs_of_all_or_of_one(tmp_path: Path):
    ledger = Ledger.open(sweep(resources={"workers_per_trial": 2}), tmp_path / "ledger.journal")
    store = open_store("auto", tmp_path / "store")
    for _ in range(2):
        train(ledger, leg := next_leg(ledger))
        for rank in (0, 1):
            (tmp_path / "log").write_text(f"{leg.trial} {rank}\n")
            store.put(tmp_path / "log", log_key(trial_key(ledger.key, leg.trial), rank))
    assert [name for name, _ in logs(ledger, store, None, None)] == [
        f"trial {t}, rank {r}" for t in (0, 1) for r in (0, 1)
    ]
    assert list(logs(ledger, store, 1, 0)) == [("trial 1, rank 0", "1 0\n")]
    with pytest.raises(UserError, match="has no trial 7; it has 2"):
        list(logs(ledger, store, 7, None))
    with pytest.raises(UserError, match="has 2 ranks, counted from 0; not 2"):
        list(logs(ledger, store, None, 2))


def test_what_grows_is_shown_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("orchestrator.logs.AGAIN", 0)
    states = iter([("x" * 500 + "a\n", True), ("x" * 500 + "a\nb\n", True), ("x" * 450 + "a\nb\nc\n", False)])
    now = ["", True]

    def runs() -> bool:
        now[:] = next(states)
        return bool(now[1])

    shown: list[str] = []
    follow(lambda: iter([("trial 0, rank 0", str(now[0]))]), runs, shown.append)
    assert [text.removeprefix("==> trial 0, rank 0\n").lstrip("x") for text in shown] == ["a", "b", "c"]
