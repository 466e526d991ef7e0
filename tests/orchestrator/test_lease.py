"""One driver at a time, and what one that lost its sweep can still do: nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from optuna.study import StudyDirection

from orchestrator.errors import LeaseLostError, UserError
from orchestrator.paths import Home
from orchestrator.search import database, engine, lease, rowlease
from orchestrator.search.lease import FileLease, Holder, Lease
from orchestrator.search.rowlease import RowLease


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ledger.db"
    found: str = request.getfixturevalue("postgres")
    return found


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds become tenths."""
    monkeypatch.setattr(rowlease, "BEAT", 0.1)
    monkeypatch.setattr(rowlease, "EXPIRY", 0.5)


def REFUSAL(holder: Holder) -> UserError:  # noqa: N802
    return lease._driven("one", holder)


def row(url: str, name: str) -> RowLease:
    return RowLease(url, name, REFUSAL)


def until(true: Callable[[], Any], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def both(tmp_path: Path, url: str) -> list[tuple[Lease, Lease]]:
    """Two hands that reach for each kind of lease."""
    lock, stop = tmp_path / "driver.lock", tmp_path / "stop"
    return [
        (FileLease(lock, stop, REFUSAL), FileLease(lock, stop, REFUSAL)),
        (row(url, "one"), row(url, "one")),
    ]


def test_who_comes_second_is_refused_and_told_who_drives(tmp_path: Path, url: str, short: None) -> None:
    for first, second in both(tmp_path, url):
        assert second.holder() is None
        with first.held():
            holder = second.holder()
            assert holder and holder.who == lease.whoami() and holder.since < 60 and holder.age < 60
            words = r"^sweep 'one' is being run by .+@.+ \(process \d+\) since \d+ s, heard of \d+ s ago; "
            with pytest.raises(UserError, match=words), second.held():
                pass
            assert second.holder(), "and its hold is as it was"
        assert second.holder() is None
        with second.held():
            assert first.holder()


def test_a_holder_that_has_just_died_is_waited_for(url: str, short: None, monkeypatch: pytest.MonkeyPatch) -> None:
    dead, heir = row(url, "one"), row(url, "one")
    notes: list[str] = []
    monkeypatch.setattr(dead, "_update", lambda **values: False)
    with dead.held(), heir.held(notes.append):
        assert len(notes) == 1 and f"{lease.whoami()} had 'one' and gives no sign of life; taking over" in notes[0]
        assert heir.holder()


def test_a_stop_reaches_the_holder_and_only_him(tmp_path: Path, url: str, short: None) -> None:
    for first, second in both(tmp_path, url):
        with first.held():
            assert not first.stop_asked
            second.ask_to_stop()
            until(lambda: first.stop_asked)  # noqa: B023
        with second.held():
            time.sleep(0.3)
            assert not second.stop_asked


def test_a_sleeper_loses_the_sweep_and_can_write_no_more(
    url: str, short: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleeper, heir = row(url, "one"), row(url, "one")
    told: list[bool] = []
    sleeper.when_lost = lambda: told.append(True)
    with sleeper.held():
        ledger = database.storage(url)
        sleeper.guard(ledger.engine)
        study = ledger.create_new_study([StudyDirection.MINIMIZE], "one")
        monkeypatch.setattr(sleeper, "_update", lambda **values: False)
        until(lambda: heir.holder() is None)
        with heir.held():
            monkeypatch.undo()
            with pytest.raises(LeaseLostError, match=r"^'one' was taken over by .+ \(process \d+\) while this"):
                ledger.set_study_user_attr(study, "who", "sleeper")
            with pytest.raises(LeaseLostError):
                ledger.create_new_trial(study)
            until(lambda: sleeper.lost)
            own = database.storage(url)
            heir.guard(own.engine)
            own.set_study_user_attr(study, "who", "heir")
    assert database.storage(url).get_study_user_attrs(study) == {"who": "heir"}
    assert database.storage(url).get_n_trials(study) == 0


def test_a_driver_that_stops_within_a_transaction_keeps_nobody_out(
    postgres: str, short: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "STALLED", 1)
    sleeper, heir = row(postgres, "one"), row(postgres, "one")
    with sleeper.held():
        ledger = database.storage(postgres)
        sleeper.guard(ledger.engine)
        study = ledger.create_new_study([StudyDirection.MINIMIZE], "one")
        monkeypatch.setattr(sleeper, "_update", lambda **values: False)
        with pytest.raises(sa.exc.DBAPIError), ledger.engine.connect() as connection:
            connection.execute(sa.text(f"INSERT INTO study_user_attributes VALUES (1, {study}, 'a', '1')"))
            connection.execute(sa.select(rowlease._LEASES.c.token).with_for_update(read=True))  # and here it stops
            until(lambda: heir.holder() is None)
            with heir.held():
                connection.commit()
    assert database.storage(postgres).get_study_user_attrs(study) == {}


def test_who_lost_it_hears_of_it(url: str, monkeypatch: pytest.MonkeyPatch, short: None) -> None:
    sleeper, heir = row(url, "one"), row(url, "one")
    told: list[bool] = []
    sleeper.when_lost = lambda: told.append(True)
    monkeypatch.setattr(sleeper, "_update", lambda **values: False)
    with sleeper.held():
        until(lambda: heir.holder() is None)
        with heir.held():
            monkeypatch.undo()
            until(lambda: told == [True])
            assert sleeper.lost
        assert heir.holder() is None


def test_the_end_of_a_loser_takes_nothing_from_the_heir(url: str, short: None, monkeypatch: pytest.MonkeyPatch) -> None:
    sleeper, heir, third = (row(url, "one") for _ in range(3))
    monkeypatch.setattr(rowlease, "BEAT", 3600)
    held = sleeper.held()
    held.__enter__()
    until(lambda: heir.holder() is None)
    monkeypatch.setattr(rowlease, "BEAT", 0.1)
    with heir.held():
        held.__exit__(None, None, None)
        with third._engine.connect() as connection:
            standing = third._standing(connection)
        assert standing and standing.age < 60, "the loser's goodbye finds another's row"


def test_leases_of_two_sweeps_have_nothing_to_do_with_each_other(url: str) -> None:
    with row(url, "one").held(), row(url, "two").held():
        assert row(url, "three").holder() is None


def test_what_is_written_together_is_there_as_a_whole_or_not_at_all(url: str) -> None:
    study = database.Database(url).create("one", [StudyDirection.MINIMIZE])
    with pytest.raises(KeyboardInterrupt), study.together():
        study.storage.set_study_user_attr(study.id, "half", 1)
        raise KeyboardInterrupt
    with study.together():
        study.storage.set_study_user_attr(study.id, "first", 1)
        assert database.storage(url).get_study_user_attrs(study.id) == {}
        study.storage.set_study_user_attr(study.id, "second", 2)
    assert database.storage(url).get_study_user_attrs(study.id) == {"first": 1, "second": 2}


def test_a_database_without_a_fence_is_refused() -> None:
    with pytest.raises(UserError, match=r"can't be in mysql: use postgresql://… or sqlite:///…"):
        database.storage("mysql://u:p@h/db")


def test_a_lock_of_an_older_version_is_held_by_somebody(tmp_path: Path) -> None:
    one = FileLease(tmp_path / "lock", tmp_path / "stop", REFUSAL)
    with one.held():
        (tmp_path / "lock").write_text("4711")
        with pytest.raises(UserError, match="run by another process"), one.held():
            pass


@pytest.mark.parametrize("model", ["bad/name", "a:b", ""])
def test_a_model_that_mlflow_can_not_name_is_refused(tmp_path: Path, model: str):
    with pytest.raises(UserError, match="a name without / and :"):
        lease.promoting(model, Home(tmp_path))
