"""The core of the scenario on a real cluster of namespaces."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from infra.cluster import machines, services
from infra.cluster.cluster import Cluster
from infra.cluster.machines import HOME, REPOSITORY, Machine, Switch
from infra.cluster.play import Play, curve, left_behind, training_on

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


SMALL_DISK = "mkdir /mnt/small && mount -t tmpfs -o size=600m tmpfs /mnt/small"
OWN_CODE = """
import only_in_the_image
from trainers.losses import LOSSES

soft = LOSSES["non_saturating"]
"""
OLDER = "Metadata-Version: 2.1\nName: gansweep\nVersion: 0.0.9\n"


@pytest.mark.timeout(900)
def test_what_keeps_nodes_from_training_is_told_before_anything_trains(tmp_path: Path) -> None:
    """In one message of a line per node: a bucket that it can't reach, another version, a full disk, a package that
    the user's own code imports and it has not.
    """
    with Cluster(tmp_path) as cluster:
        cluster.up(nodes=0)
        environment = {**cluster.environment, "PYTHONPATH": f"{HOME}/lib:{REPOSITORY}"}
        for name in ("driver", "well", "cut-off", "older", "full", "bare"):
            node = cluster["driver"] if name == "driver" else cluster.machine(name)
            node.environment = environment
            (node.folder / "home/lib").mkdir()
            if name != "bare":
                (node.folder / "home/lib/only_in_the_image.py").touch()
        cluster["cut-off"].lose_sight_of(cluster["services"])
        (facts := cluster["older"].folder / "home/lib/gansweep-0.0.9.dist-info").mkdir()
        (facts / "METADATA").write_text(OLDER)
        cluster["full"].run("bash", "-c", SMALL_DISK)
        cluster["full"].environment = {**environment, "TMPDIR": "/mnt/small"}
        for name in ("well", "cut-off", "older", "full", "bare"):
            cluster.start_ray(name)

        play = Play(cluster, "refused", trials=1)
        (cluster["driver"].folder / "home/mine.py").write_text(OWN_CODE)
        play.submit("--set", "train.loss=./mine.py:soft")
        assert play.finish() == 2, play.output()
        _, told = play.output().split("gansweep: ")
        lines = {line.removeprefix("node ").partition(" ")[0]: line for line in told.splitlines()}
        assert lines.keys() == {"cut-off", "older", "full", "bare"}, "one line for each, and for no other"
        assert "s3://gansweep/artifacts" in lines["cut-off"] and "timeout" in lines["cut-off"]
        assert "gansweep 0.0.9, where the driver has" in lines["older"]
        assert "GiB are free under /mnt/small" in lines["full"]
        assert "train.loss" in lines["bare"] and "No module named 'only_in_the_image'" in lines["bare"]
        assert not play.has_begun() and not training_on(cluster) and left_behind(cluster) == set()


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
        before, trial = play.reports(), play.status()["trials"][0]
        calm = cluster["laptop"].spawn(*play.train(trial), log="calm.jsonl")
        services.wait_for("a report after the node", lambda: play.reports() > before)
        cluster.kill("driver")
        play.take_over(at="laptop")
        assert play.finish() == 0, play.output()
        seen = play.verify()
        assert (seen["faults"], seen["state"]) == ([], "finished")
        assert calm.wait(60) == 0
        assert seen["curves"] == {"0": curve((cluster["laptop"].folder / "calm.jsonl").read_text())}
        with suppress(TimeoutError):
            services.wait_for("ranks and their folders to go", lambda: not left_behind(cluster), 20)
        assert left_behind(cluster) == set()
    assert not any(machine.is_on() for machine in map(cluster.__getitem__, ("head", nodes[0], "services")))
