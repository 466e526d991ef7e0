"""What is thrown away, and what is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.artifacts import Store, store_of
from orchestrator.client.handle import Handle
from orchestrator.errors import UserError
from orchestrator.paths import Home, samples_key, trial_key
from orchestrator.search.lease import lease_of
from orchestrator.search.ledger import Ledger
from orchestrator.search.trial import Leg
from tests.orchestrator.small import report, sweep


@pytest.fixture
def ended(tmp_path: Path) -> tuple[Handle, Store, Ledger]:
    """Three trials to their end, each with two checkpoints and a grid in the store; the last is the best."""
    home, asked = Home(tmp_path / "home"), sweep(rungs=None, confirm={"top": 0})
    paths = home.sweep(asked.name)
    paths.root.mkdir(parents=True)
    paths.spec.write_text(asked.to_yaml())
    store, ledger = store_of(asked, home), Ledger.open(asked, paths.ledger)
    (tmp_path / "file").write_text("weights")
    while isinstance(leg := ledger.next_leg(), Leg):
        prefix = trial_key(ledger.key, leg.trial)
        keys = [f"{prefix}/checkpoints/{images}" for images in (60, 90)]
        for key in (*keys, samples_key(prefix, 90)):
            store.put(tmp_path / "file", key)
        ledger.report(leg, report(90, fid=30.0 - leg.trial, stored=tuple(keys)))
        ledger.end_leg(leg)
    ledger.close()
    ledger.set_state("finished")
    return Handle(asked.name, home), store, ledger


def test_checkpoints_that_nothing_needs_go_and_the_record_stays(ended: tuple[Handle, Store, Ledger]):
    handle, store, ledger = ended
    assert handle.delete_checkpoints() == 4
    there = {t.id: [store.exists(key) for key in t.checkpoints] for t in ledger.trials()}
    assert there == {0: [False, False], 1: [False, False], 2: [True, True]}
    assert all(store.exists(samples_key(trial_key(ledger.key, trial), 90)) for trial in range(3))
    assert list(handle.trials["score"]) == [30.0, 29.0, 28.0]
    assert handle.delete_checkpoints() == 0


def test_all_of_a_sweep_goes_and_its_name_is_free(ended: tuple[Handle, Store, Ledger]):
    handle, store, ledger = ended
    handle.delete()
    assert not any(store.exists(key) for trial in ledger.trials() for key in trial.checkpoints)
    assert not list(Path(store.url).glob(f"{ledger.key}*")) and handle.home.sweeps() == []
    with pytest.raises(UserError, match="no sweep 'small'"):
        handle.delete()


def test_what_somebody_drives_stays(ended: tuple[Handle, Store, Ledger]):
    handle, store, ledger = ended
    with lease_of(ledger.sweep, handle.home.sweep("small")).held():
        for act in (handle.delete, handle.delete_checkpoints):
            with pytest.raises(UserError, match="is being run by"):
                act()
    assert all(store.exists(key) for trial in ledger.trials() for key in trial.checkpoints)
