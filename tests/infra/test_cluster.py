"""The core of the scenario on a real cluster of namespaces."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest

from infra.cluster import machines, services
from infra.cluster.cluster import Cluster
from infra.cluster.machines import HOME, Machine, Switch
from infra.cluster.play import Play, left_behind, training_on

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


@pytest.mark.timeout(600)
def test_a_sweep_outlives_a_node_and_its_drivers_machine(tmp_path: Path) -> None:
    """A node loses its power, then the machine that drives; a laptop whose home holds a profile goes on. Compared bit
    by bit with the same training on one machine.
    """
    with Cluster(tmp_path) as cluster:
        cluster.up()
        play = Play(cluster, "core", trials=1)
        play.submit()
        play.wait_for_report(8_192)
        nodes = training_on(cluster)
        assert len(nodes) == 2
        cluster.kill(nodes[-1])
        before, params = play.reports(), play.status()["trials"][0]["params"]
        calm = cluster["laptop"].spawn(*play.train(params), log="calm.jsonl")
        services.wait_for("a report after the node", lambda: play.reports() > before)
        cluster.kill("driver")
        play.take_over(at="laptop")
        assert play.finish() == 0, play.output()
        seen = play.verify()
        assert (seen["faults"], seen["state"]) == ([], "finished")
        assert calm.wait(60) == 0
        told = (cluster["laptop"].folder / "calm.jsonl").read_text().splitlines()
        lines = [json.loads(line) for line in told if line.startswith("{")]
        assert seen["curves"] == {"0": [[line["images"], line["metrics"]["fid"]] for line in lines]}
        with suppress(TimeoutError):
            services.wait_for("ranks and their folders to go", lambda: not left_behind(cluster), 20)
        assert left_behind(cluster) == set()
    assert not any(machine.is_on() for machine in map(cluster.__getitem__, ("head", nodes[0], "services")))
