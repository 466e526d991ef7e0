"""The manifests of infra/kubernetes, rendered as kubectl would and checked without a cluster."""

from __future__ import annotations

import copy
import functools
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import jsonschema
import kubernetes_validate
import pytest
import ray
import yaml

from infra.kubernetes import crds
from infra.kubernetes.crds import FOLDER, OVERLAYS, Document
from orchestrator import api
from orchestrator import sweep as story
from orchestrator.paths import Home
from orchestrator.terminal.live import Quiet

README = (FOLDER / "README.md").read_text()
SCHEMA = json.loads(Path(__file__).with_name("ray.schema.json").read_text())
KUBERNETES = "1.34"

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl here to render the manifests with")


class AskedError(Exception):
    """The ledger would be asked now."""


_rendered = functools.cache(crds.rendered)


def documents(overlay: str, group: str = "") -> list[Document]:
    return [one for one in yaml.safe_load_all(_rendered(overlay)) if group in one["apiVersion"]]


def ray_spec(document: Document) -> Document:
    spec: Document = document["spec"]
    cluster: Document = spec.get("rayClusterSpec", spec)
    return cluster


def broken_rules(document: Document) -> Iterator[str]:
    """What KubeRay's controller refuses though its schema allows it."""
    spec, cluster = document["spec"], ray_spec(document)
    name = document["metadata"]["name"]
    if not re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name) or len(name) > (47 if "entrypoint" in spec else 53):
        yield f"name {name}"
    if spec.get("ttlSecondsAfterFinished") and not spec.get("shutdownAfterJobFinishes"):
        yield "a time to live without shutdownAfterJobFinishes"
    if spec.get("submissionMode") == "SidecarMode" and _pods(cluster)[0]["spec"].get("restartPolicy") != "Never":
        yield "SidecarMode and a head that restarts"
    if cluster.get("authOptions", {}).get("mode") == "token" and _version(cluster["rayVersion"]) < (2, 52):
        yield "a token before Ray 2.52"
    if cluster.get("autoscalerOptions", {}).get("version") == "v2":
        yield from (
            "autoscaler v2 and a restart" for pod in _pods(cluster) if pod["spec"].get("restartPolicy") != "Never"
        )
    for group in cluster["workerGroupSpecs"]:
        if not group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]:
            yield f"replicas of group {group['groupName']}"
        if "labels" in group["rayStartParams"]:
            yield f"labels of group {group['groupName']} among its start parameters"


def _pods(cluster: Document) -> list[Document]:
    return [group["template"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]


def _version(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(".")[:2]))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_core_kinds_fit_their_schemas(overlay: str) -> None:
    core = [one for one in documents(overlay) if "ray.io" not in one["apiVersion"] and "x-k8s" not in one["apiVersion"]]
    assert core
    for one in core:
        kubernetes_validate.validate(one, KUBERNETES, strict=True)


@pytest.mark.parametrize("overlay", ["cluster", "sweep", "queue"])
def test_ray_kinds_fit_what_the_operator_takes(overlay: str) -> None:
    (document,) = documents(overlay, "ray.io")
    jsonschema.validate(document, SCHEMA)
    assert list(broken_rules(document)) == []
    for template in _pods(ray_spec(document)):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "ray"}, "spec": template["spec"]}
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)


def test_the_rules_find_what_breaks_them() -> None:
    (document,) = documents("sweep", "ray.io")
    broken = copy.deepcopy(document)
    broken["metadata"]["name"] = "a" * 48
    broken["spec"]["shutdownAfterJobFinishes"] = False
    ray_spec(broken)["headGroupSpec"]["template"]["spec"]["restartPolicy"] = "Always"
    ray_spec(broken)["workerGroupSpecs"][0]["minReplicas"] = 9
    assert len(list(broken_rules(broken))) == 5
    broken["spec"]["submisionMode"] = "SidecarMode"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, SCHEMA)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_name_that_is_referred_to_is_there(overlay: str) -> None:
    """Secrets come from infra/kubernetes/secrets, all else from the overlay."""
    text, everything = _rendered(overlay), documents(overlay)
    secrets = set(re.findall(r"kind: Secret\nmetadata: {name: ([\w-]+)", (FOLDER / "secrets").read_text()))
    maps = {one["metadata"]["name"] for one in everything if one["kind"] == "ConfigMap"}
    asked = set(re.findall(r"configMap(?:Ref)?:\n\s+name: ([\w-]+)", text))
    assert asked <= maps
    assert set(re.findall(r"secret(?:Key)?Ref:\n(?:\s+key: \w+\n)?\s+name: ([\w-]+)|secretName: ([\w-]+)", text)) <= {
        pair for name in secrets for pair in ((name, ""), ("", name))
    }


def test_no_secret_has_the_name_under_which_kuberay_keeps_a_token() -> None:
    """KubeRay would take it for the token's, which then is missing in it, and no pod of Ray's would start."""
    (cluster,) = documents("cluster", "ray.io")
    name = cluster["metadata"]["name"]
    assert ray_spec(cluster)["authOptions"] == {"mode": "token"}
    assert name not in re.findall(r"kind: Secret\nmetadata: {name: ([\w-]+)", (FOLDER / "secrets").read_text())
    assert f"get secret {name} --output" in README


def test_the_readme_lets_prometheus_in_where_nothing_else_does() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", README, re.S)
    rule = yaml.safe_load(text)
    kubernetes_validate.validate(rule, KUBERNETES, strict=True)
    policies = [one for one in documents("base") if one["kind"] == "NetworkPolicy"]
    assert {"namespace": rule["metadata"]["namespace"], "labels": rule["spec"]["podSelector"]} in [
        {"namespace": one["metadata"]["namespace"], "labels": one["spec"]["podSelector"]} for one in policies
    ]
    ours = [source for one in policies for rule in one["spec"].get("ingress", []) for source in rule["from"]]
    assert [source["podSelector"] for source in ours if "namespaceSelector" in source] == [
        {"matchLabels": {"app.kubernetes.io/name": "kuberay-operator"}}
    ]


@pytest.mark.parametrize(
    ("version", "field", "told", "ended"),
    [
        ("v1beta2", "clusterQueue", "queue: kueue.x-k8s.io/v1beta2 LocalQueue sweeps: 0 errors\n", 0),
        ("v1beta2", "queue", "sweeps: 1 errors\n  spec: Additional properties are not allowed ('clusterQueue' was", 1),
        ("v1beta1", "clusterQueue", "no document is of its kind and version\n", 1),
    ],
    ids=["as defined", "an unknown field", "another version"],
)
def test_manifests_are_compared_with_definitions(
    version: str, field: str, told: str, ended: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = {name: {"type": "string"} for name in ("apiVersion", "kind")} | {"metadata": {"type": "object"}}
    spec = {"type": "object", "properties": {field: {"x-kubernetes-int-or-string": True, "anyOf": []}}}
    schema = {"type": "object", "properties": {**known, "spec": spec}}
    kind = {"group": "kueue.x-k8s.io", "names": {"kind": "LocalQueue"}}
    file = tmp_path / "definition.yaml"
    versions = [{"name": version, "schema": {"openAPIV3Schema": schema}}]
    file.write_text(yaml.safe_dump({"spec": {**kind, "versions": versions}}))
    assert crds.main([str(file)]) == ended
    assert told in capsys.readouterr().out


def test_cluster_wide_kinds_have_no_namespace() -> None:
    kinds = {one["kind"]: one["metadata"] for one in documents("queue", "kueue")}
    assert "namespace" not in kinds["ClusterQueue"]
    assert "namespace" not in kinds["ResourceFlavor"]
    assert kinds["LocalQueue"]["namespace"] == "gansweep"


@pytest.mark.parametrize("overlay", ["cluster", "sweep"])
def test_one_image_with_its_ray_and_grace_that_outlasts_the_drain(overlay: str) -> None:
    cluster = ray_spec(documents(overlay, "ray.io")[0])
    assert cluster["rayVersion"] == ray.__version__
    drain = int(
        dict(line.split("=", 1) for line in (FOLDER / "base/environment.env").read_text().splitlines())[
            "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"
        ]
    )
    assert all(pod["spec"]["terminationGracePeriodSeconds"] > drain for pod in _pods(cluster)[1:])
    images = {container["image"] for pod in _pods(cluster) for container in pod["spec"]["containers"]}
    assert len(images) == 1, "Ray needs the same Python on all nodes"


def test_the_sweep_is_taken_under_the_profile_of_its_pods(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the job's entrypoint does on its pod, until it would ask the ledger."""
    maps = {one["metadata"]["name"]: one["data"] for one in documents("sweep") if one["kind"] == "ConfigMap"}
    for name, text in (maps["gansweep"] | maps["sweep"]).items():
        (tmp_path / name).write_text(text)
    for name, value in maps["gansweep-environment"].items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GANSWEEP_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setenv("POSTGRES_PASSWORD", "secret")

    home = Home.at(tmp_path / "home")
    sweep = api.read(tmp_path / "sweep.yaml", (), home.profile, here=False)
    monkeypatch.setattr(story, "lease_of", Mock(side_effect=AskedError))
    with pytest.raises(AskedError):
        story.submit(sweep, home, Quiet(), address="auto")
    assert home.sweep(sweep.name).ledger == "postgresql://gansweep:secret@postgres:5432/ledger"
    assert home.tracking(sweep) == "http://mlflow:5000"
    assert home.store_url(sweep) == "s3://gansweep/artifacts"
