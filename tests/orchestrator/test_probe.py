"""Nodes say what is wrong with them before anything trains there, each by its name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.artifacts.directory import DirectoryStore
from orchestrator.errors import UserError
from orchestrator.execution import probe as module
from orchestrator.execution.probe import Facts, faults
from tests.orchestrator import nodes
from tests.orchestrator.sweeps import User

CODE = {"net.py": "import torch\nimport only_at_home\n"}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch, nodes.cluster(tmp_path_factory.mktemp("cluster"), patch) as made:
        made.add_node(num_cpus=1)
        made.add_node(num_cpus=1)
        yield made


class Unshared:
    """A folder of the same name on every node, and another on each."""

    url = "/artifacts"

    def __init__(self, root: Path) -> None:
        self._root = root

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        import ray

        return getattr(DirectoryStore(self._root / ray.get_runtime_context().get_node_id()), name)


def test_a_folder_that_nodes_do_not_share_is_refused(cluster: Any, tmp_path: Path):
    from orchestrator.execution.slots import Slots

    gang = nodes.gang(tmp_path)
    assert Slots(gang, 10).count() == 2
    assert not [file for file in (tmp_path / "store").rglob("*") if file.is_file()], "nothing stays"
    with pytest.raises(UserError) as refused:
        Slots(replace(gang, store=Unshared(tmp_path / "own")), 10).count()
    assert "what the driver wrote there is not seen from here" in str(refused.value)
    assert str(refused.value).count("\n") == 1, "a line per node"


def test_a_gpu_that_torch_can_not_use_is_told_before_the_first_leg(cluster: Any, tmp_path: Path):
    from orchestrator.execution.slots import Slots

    gpus = cluster.add_node(num_cpus=1, num_gpus=1)
    with pytest.raises(UserError, match=r"gpus_per_worker is 1, and torch .* finds no GPU that it can use"):
        Slots(replace(nodes.gang(tmp_path), gpus=1), 10).count()
    cluster.remove_node(gpus, allow_graceful=False)


def test_own_code_that_a_node_can_not_import_is_told_before_the_first_leg(cluster: Any, tmp_path: Path):
    from orchestrator.execution.slots import Slots

    sha = hashlib.sha256(CODE["net.py"].encode()).hexdigest()
    settings = {"code": {sha: CODE}, "model": {"generator": f"./net.py:Net@{sha[:12]}"}}
    with pytest.raises(UserError) as refused:
        Slots(nodes.gang(tmp_path), 10, settings=settings).count()
    lines = str(refused.value).splitlines()
    assert len(lines) == 2 and all(line.startswith("node ") for line in lines)
    assert "model.generator" in lines[0] and "No module named 'only_at_home'" in lines[0] and "line 2" in lines[0]


def test_a_node_that_died_while_ray_still_lists_it_is_at_no_fault(cluster: Any, tmp_path: Path):
    from orchestrator.execution import gcs
    from orchestrator.execution.slots import Slots

    known = set(gcs.nodes())
    dead = cluster.add_node(num_cpus=1)
    (its_id,) = set(gcs.nodes()) - known
    cluster.remove_node(dead, allow_graceful=False)
    listed = gcs.nodes() | {its_id: "dead"}
    said = module.probe(nodes.gang(tmp_path), listed, {"code": {}})
    assert its_id not in said and not faults(said, 0.0, 1e12) and len(said) >= 2
    assert Slots(nodes.gang(tmp_path), 10).count() == 2


def test_versions_and_clocks_that_differ_are_named(monkeypatch: pytest.MonkeyPatch):
    mine = dict(module._versions())
    facts = Facts("gpu-7", versions=(("gansweep", "0.0.9"), ("torch", mine["torch"])), clock=1000.0)
    assert faults({"a": facts}, 999.5, 1001.0) == {
        "a": f"node gpu-7: gansweep 0.0.9, where the driver has {mine['gansweep']}; give all nodes the same image"
    }
    for clock, off in ((990.0, "-10"), (1004.5, "+4")):
        (said,) = faults({"a": Facts("gpu-7", clock=clock)}, 1000.0, 1000.5).values()
        assert f"its clock is off by {off} s" in said
    assert not faults({"a": Facts("gpu-7", clock=999.2)}, 1000.0, 1000.5)


def test_doctor_shows_every_node(cluster: Any, tmp_path: Path):
    done = User(tmp_path).run("doctor", "--address", cluster.address, "--json")
    found = {finding["what"]: finding for finding in json.loads(done.stdout)}
    assert done.returncode == 0, done.stdout
    told = [finding["columns"] for finding in json.loads(done.stdout) if finding["what"].startswith("node ")]
    assert sorted(columns["ranks"] for columns in told) == ["0", "1", "1"], "the head has no CPUs"
    wanted = {"node", "GPUs", "CPUs", "free disk", "gansweep", "torch", "ray", "clock", "artifacts"}
    assert all(wanted <= columns.keys() and columns["artifacts"] == "shared" for columns in told)
    assert found["room"]["detail"] == "2 trials of 1 x (1 CPU) at once"
    assert found["all-reduce over gloo"]["detail"].startswith("between 2 nodes: ")
    assert "all-reduce over nccl" not in found
    shown = User(tmp_path).run("doctor", "--address", cluster.address)
    assert shown.stdout.count("shared") == 3 and "ok   room: 2 trials" in shown.stdout
