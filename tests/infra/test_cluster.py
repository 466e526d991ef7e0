"""The core of the scenario on a real cluster of namespaces: two ranks on two nodes, one of which loses its power."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from infra.cluster import machines, services
from infra.cluster.cluster import Cluster
from infra.cluster.machines import HOME, Machine, Switch
from infra.cluster.scenario import play

REASON = machines.missing() or services.missing()

pytestmark = [pytest.mark.cluster, pytest.mark.skipif(REASON is not None, reason=REASON or "")]


def test_machines_share_nothing_and_die_at_once(tmp_path: Path) -> None:
    switch = Switch("gstest")
    switch.start()
    here, there = (
        Machine(switch, name, f"10.77.0.{number}", tmp_path / name, {})
        for number, name in enumerate(("here", "there"), 2)
    )
    try:
        here.start()
        there.start()
        here.run("touch", f"{HOME}/mine", "/tmp/mine", "/dev/shm/mine")
        assert there.run("bash", "-c", f"ls {HOME} /tmp/mine /dev/shm 2>/dev/null || true").count("mine") == 0
        assert there.run("hostname").strip() == "there"
        serving = here.spawn("python", "-m", "http.server", "--bind", here.address, "8000", log="http.log")
        services.wait_for("the port", lambda: services.open_port(here, 8000), 20)
        ask = ("python", "-c", "import urllib.request as u; u.urlopen('http://10.77.0.2:8000', timeout=1)")
        there.run(*ask)
        here.cut()
        with pytest.raises(Exception, match="non-zero exit"):
            there.run(*ask)
        here.join()
        here.kill()
        assert serving.wait(10) != 0
        assert not here.is_on()
    finally:
        for machine in (here, there):
            machine.kill()
        switch.remove()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_lost_node_costs_neither_trial_nor_point(tmp_path: Path) -> None:
    """Compared bit by bit with a sweep that nothing disturbs."""
    folder = tmp_path / "cluster"
    with Cluster(folder) as cluster:
        cluster.up()
        seen = play(cluster, ["node_killed"])
    # A rank whose peer was lost is ended by Ray, and its temporary folder stays: infra/results/cluster.md.
    faults = {name: [f for f in outcome.faults if ": gansweep-" not in f] for name, outcome in seen.items()}
    assert faults == {"undisturbed": [], "node_killed": []}
    assert not any(machine.is_on() for machine in map(cluster.__getitem__, ("head", "node1", "services")))
    shutil.rmtree(folder)
