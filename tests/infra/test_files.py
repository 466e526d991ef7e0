"""Images, compose, cloud and Slurm files: each against the schema or linter that its own tool goes by."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray
import yaml
from ray.autoscaler.sdk import get_docker_host_mount_location

INFRA = Path(__file__).parents[2] / "infra"
TOOLS = Path(sys.executable).parent
DOCKERFILES = sorted((INFRA / "images").glob("*.Dockerfile"))
COMPOSE = INFRA / "compose/compose.yaml"
LAUNCHERS = [INFRA / "clouds/aws.yaml", INFRA / "clouds/gcp.yaml"]
SKYPILOT, SLURM = INFRA / "clouds/gansweep.sky.yaml", INFRA / "clouds/slurm.sh"
SCRIPTS = [
    INFRA / name for name in ("cluster/up", "cluster/down", "compose/secrets", "kubernetes/secrets", "clouds/slurm.sh")
]


def finds_nothing(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def loaded(file: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(file.read_text())
    return document


def header_of(file: Path) -> str:
    return "".join(line for line in file.read_text().splitlines(True) if line.startswith("#"))


def profiles() -> dict[str, Any]:
    """Those that the page for clusters shows."""
    (text,) = re.findall(r"```toml\n(\[profiles\.lab\].*?)```", (INFRA / "docs/how-to/cluster.md").read_text(), re.S)
    named: dict[str, Any] = tomllib.loads(text)["profiles"]
    return named


def packages(dockerfile: Path) -> set[str]:
    """What apt-get installs in the last stage, and in those that it begins from."""
    stages: dict[str, set[str]] = {}
    found: set[str] = set()
    for line in dockerfile.read_text().replace("\\\n", " ").splitlines():
        if stage := re.match(r"FROM (\S+)(?: AS (\S+))?", line):
            found = set(stages.get(stage[1], ()))
            stages[stage[2] or ""] = found
        for names in re.findall(r"apt-get install ([^&]*)", line):
            found |= {name.partition("=")[0] for name in names.split() if not name.startswith("-")}
    return found


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.stem)
def test_images_are_clean_and_locked_and_do_not_run_as_root(file: Path) -> None:
    finds_nothing(TOOLS / "hadolint", file)
    text = file.read_text()
    installs = re.findall(r"pip install .*", text)
    assert installs
    assert all("-c constraints.txt" in line for line in installs)
    assert re.findall(r"^USER (.*)", text, re.M) == ["1000"]


@pytest.mark.parametrize("file", SCRIPTS, ids=lambda file: f"{file.parent.name}-{file.name}")
def test_scripts_are_clean(file: Path) -> None:
    finds_nothing(TOOLS / "shellcheck", file)


def test_compose_fits_its_schema() -> None:
    finds_nothing(TOOLS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE)


def test_compose_has_no_default_password_and_opens_nothing_to_the_network() -> None:
    services = loaded(COMPOSE)["services"]
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)
    asked = set(re.findall(r"\$\{([A-Z0-9_]+)", COMPOSE.read_text())) - {"TORCH_INDEX"}
    made = subprocess.run([INFRA / "compose/secrets"], capture_output=True, text=True, check=True).stdout
    assert asked == {line.split("=")[0] for line in made.splitlines()}
    assert all(len(line.split("=")[1]) == 48 for line in made.splitlines())


def test_images_of_others_are_pinned_and_the_s3_server_has_one_winner() -> None:
    images = {service["image"] for service in loaded(COMPOSE)["services"].values()}
    others = {image for image in images if not image.startswith("gansweep:")}
    assert all(re.search(r":v?\d+\.\d+", image) for image in others)
    (seaweed,) = (image for image in others if "seaweedfs" in image)
    assert tuple(map(int, seaweed.rsplit(":", 1)[1].split("."))) >= (4, 18)


@pytest.mark.parametrize("file", LAUNCHERS, ids=lambda file: file.stem)
def test_launcher_files_fit_rays_schema(file: Path) -> None:
    schema = json.loads((Path(ray.__file__).parent / "autoscaler/ray-schema.json").read_text())
    document = loaded(file)
    jsonschema.validate(document, schema)
    assert document["head_node_type"] in document["available_node_types"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**document, "max_worker": 4}, schema)


@pytest.mark.parametrize("file", LAUNCHERS, ids=lambda file: file.stem)
def test_launchers_find_what_they_run_in_their_image(file: Path) -> None:
    """Ray's command_runner.py runs rsync in the container, ``ray exec --tmux`` tmux; the head's own runner ssh."""
    image = loaded(file)["docker"]["image"].rpartition(":")[2]
    assert packages(INFRA / f"images/{image}.Dockerfile") >= {"rsync", "tmux", "openssh-client"}


def test_googles_launcher_has_its_client_on_the_head() -> None:
    provider = Path(ray.__file__).parent / "autoscaler/_private/gcp/node_provider.py"
    assert "import googleapiclient\n" in provider.read_text()
    assert "--build-arg EXTRA=google-api-python-client" in header_of(INFRA / "clouds/gcp.yaml")
    assert "\nARG EXTRA" in (INFRA / "images/cuda.Dockerfile").read_text()


@pytest.mark.parametrize("file", LAUNCHERS, ids=lambda file: file.stem)
def test_launchers_give_their_containers_profile_and_passwords(file: Path) -> None:
    document = loaded(file)
    mounts = document["file_mounts"]
    options = [option.split("=", 1) for option in document["docker"]["run_options"]]
    variables = dict(value.split("=") for name, value in options if name == "--env")
    assert str(Path(variables["GANSWEEP_CONFIG"]).parent) in mounts
    assert variables["GANSWEEP_PROFILE"] in profiles()
    (passwords,) = (Path(value) for name, value in options if name == "--env-file")
    outside = Path(get_docker_host_mount_location(document["cluster_name"]))
    assert passwords.parent in {outside / target.lstrip("/") for target in mounts}, "docker run reads it on the node"
    assert set(mounts.values()) == {"~/.config/gansweep"}


@pytest.mark.parametrize("file", [*LAUNCHERS, SKYPILOT, SLURM], ids=lambda file: file.name)
def test_headers_name_the_passwords_that_the_profile_asks_for(file: Path) -> None:
    (name,) = set(re.findall(r"GANSWEEP_PROFILE(?:=|:-)(\w+)", file.read_text()))
    asked = re.findall(r"\$\{(\w+)\}", json.dumps(profiles()[name]))
    assert asked
    if file == SKYPILOT:
        secrets = loaded(file)["secrets"]
        assert secrets.keys() >= set(asked)
        assert re.findall(r"--secret (\w+)", header_of(file)) == list(secrets)
    else:
        assert all(re.search(rf"\b{variable}\b", header_of(file)) for variable in asked)


@pytest.mark.parametrize("file", [*LAUNCHERS, SKYPILOT, SLURM], ids=lambda file: file.name)
def test_headers_say_how_to_start_what_it_costs_and_how_to_end(file: Path) -> None:
    header = header_of(file)
    assert str(file.relative_to(INFRA.parent)) in header
    assert "# cost " in header
    assert "# ends " in header


def test_one_way_to_find_a_lost_node() -> None:
    """Every place that starts a head has the detection of the cluster that was measured."""
    from infra.cluster.cluster import DETECTION
    from orchestrator.execution.environment import HEALTH

    assert HEALTH == DETECTION
    starts = re.compile(r"--head\b|headGroupSpec|ray symmetric-run|ray/start_cluster")
    files = [file for ending in ("yaml", "sh", "md") for file in INFRA.rglob(f"*.{ending}")]
    heads = {
        file: text
        for file in files
        if file.parent.name not in ("results", "decisions") and starts.search(text := file.read_text())
    }
    assert heads.keys() >= {COMPOSE, *LAUNCHERS, SKYPILOT, SLURM, INFRA / "docs/how-to/cluster.md"}
    for file, text in heads.items():
        for name, value in DETECTION.items():
            assert re.findall(rf'{name}(?:=|: "|, value: ")(\w+)', text) == [value], f"{name} in {file.name}"
