"""The user's config.toml: what it may say, what is told of one that is no use, and what a profile changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator import profiles, spec
from orchestrator.errors import UserError
from orchestrator.paths import Home
from orchestrator.profiles import Profile
from tests.orchestrator.small import sweep
from tests.orchestrator.test_cli import Terminal, gansweep, stand
from trainers.settings import SettingsError

__all__ = ["gansweep"]

LAB = """
[profiles.lab]
ledger = "postgresql://sweeper:${LAB_PASSWORD}@db.lab/gansweep"
tracking = "https://mlflow.lab"
artifacts = "s3://${LAB_BUCKET:-lab}/gansweep"
address = "ray-head.lab:6379"
environment = ["AWS_ACCESS_KEY_ID"]
[profiles.lab.resources]
gpus_per_worker = 1
workers_per_trial = 2
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the user's config.toml is looked for."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("GANSWEEP_CONFIG", raising=False)
    monkeypatch.setenv("LAB_PASSWORD", "s3cret")
    file = tmp_path / "config/gansweep/config.toml"
    file.parent.mkdir(parents=True)
    return file


def problems(name: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        profiles.load(name)
    return str(caught.value).splitlines()


def test_a_profile_is_read_with_variables_filled_in(config: Path) -> None:
    config.write_text(LAB)
    lab = profiles.load("lab")
    assert lab.ledger == "postgresql://sweeper:s3cret@db.lab/gansweep"
    assert (lab.artifacts, lab.cluster(None), lab.cluster("local")) == ("s3://lab/gansweep", "ray-head.lab:6379", None)
    assert lab.default_resources == {"gpus_per_worker": 1, "workers_per_trial": 2}
    assert lab.is_shared


def test_local_needs_no_file(config: Path) -> None:
    assert profiles.load("local") == Profile(ledger="auto", tracking="auto", artifacts="auto")


def test_another_file_can_be_named(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANSWEEP_CONFIG", str(tmp_path / "mine.toml"))
    assert problems("lab") == [f"{tmp_path}/mine.toml: can't be read: there is no such file"]
    (tmp_path / "mine.toml").write_text(LAB)
    assert profiles.load("lab").tracking == "https://mlflow.lab"


def test_an_unknown_profile_is_told_with_those_that_are_known(config: Path) -> None:
    assert problems("lab") == [f"{config} (not there): there is no profile 'lab'; profiles: local"]
    config.write_text(LAB)
    assert problems("lba") == [f"{config}: there is no profile 'lba'; profiles: local, lab"]


def test_every_problem_of_the_file_is_told_at_once(config: Path) -> None:
    config.write_text(
        'profile = 1\n[profiles.local]\nledger = "auto"\ntracking = "auto"\nartifacts = "auto"\n'
        '[profiles.half]\nledger = "postgresql://db/g"\n'
        '[profiles.left]\nledger = "postgresql://db/g"\ntracking = "auto"\nartifacts = "auto"\n'
        '[profiles.odd]\nledger = 5\ntracking = "auto"\nartifacts = ""\nadress = "auto"\n'
        "[profiles.odd.resources]\nworkers_per_trail = 2\ncpus_per_worker = -1\n"
    )
    assert sorted(problems("half")) == sorted(
        f"{config}: {line}"
        for line in (
            "profile: unknown setting; did you mean 'profiles'?",
            "profiles.local: is built in, and means the home: choose another name",
            "profiles.half.tracking: is required",
            "profiles.half.artifacts: is required",
            "profiles.left: the ledger is a database, so tracking and artifacts must lie where every machine reaches, "
            "not 'auto'",
            "profiles.odd.ledger: should be text, and this is read as 5: put it in quotes",
            "profiles.odd.artifacts: string should have at least 1 character, got ''",
            "profiles.odd.adress: unknown setting; did you mean 'address'?",
            "profiles.odd.resources.workers_per_trail: unknown setting; did you mean 'workers_per_trial'?",
            "profiles.odd.resources.cpus_per_worker: input should be greater than 0, got -1",
        )
    )


def test_a_variable_that_is_not_set_matters_only_for_its_profile(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAB_PASSWORD")
    config.write_text(LAB + '[profiles.here]\nledger = "auto"\ntracking = "auto"\nartifacts = "hdfs://x/y"\n')
    assert problems("lab") == [
        f"{config}: profiles.lab.ledger: the variable LAB_PASSWORD is not set; set it, or give a default: "
        "${LAB_PASSWORD:-…}"
    ]
    assert problems("here") == [
        f"{config}: profiles.here.artifacts: hdfs://… is no place that can be read; give a folder, or s3://bucket/prefix"
    ]


def test_a_file_that_is_no_toml_says_where(config: Path) -> None:
    config.write_text("[profiles.lab\n")
    (line,) = problems("lab")
    assert line.startswith(f"{config}: not valid TOML: ") and "line 1" in line


def test_auto_in_a_sweep_file_means_the_profiles(config: Path, tmp_path: Path) -> None:
    config.write_text(LAB)
    home = Home.open(tmp_path / "home", "lab")
    assert not home.root.exists(), "a cache is made when it is needed"
    assert (home.tracking(sweep()), home.store_url(sweep())) == ("https://mlflow.lab", "s3://lab/gansweep")
    own = sweep(tracking={"uri": "http://mine"}, artifacts={"url": "/mine"})
    assert (home.tracking(own), home.store_url(own)) == ("http://mine", "/mine")


def test_resources_of_a_profile_hold_where_the_file_says_nothing(tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text("name: one\nresources: {workers_per_trial: 4}\n")
    resources = spec.load(file, resources={"gpus_per_worker": 1, "workers_per_trial": 2}).resources
    assert (resources.workers_per_trial, resources.gpus_per_worker, resources.cpus_per_worker) == (4, 1, 1)


def test_a_command_to_copy_names_the_profile_where_it_is_not_the_next_ones_own(
    gansweep: Terminal, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text('[profiles.mine]\nledger = "auto"\ntracking = "auto"\nartifacts = "auto"\n')
    stand(gansweep.home, lambda leg, images: {})
    answer = gansweep.type("resume", "small", "--profile", "mine")
    assert "\n  gansweep ui --profile mine   shows the runs" in answer.out
    monkeypatch.setenv("GANSWEEP_PROFILE", "mine")
    for given in ([], ["--profile=mine"]):
        assert "\n  gansweep ui   shows the runs" in gansweep.type("resume", "small", *given).out
    assert gansweep.type("list", "--profile", "yours").message.endswith("no profile 'yours'; profiles: local, mine")


def test_a_profile_goes_to_another_machine_as_it_is_written(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text(LAB + '[profiles.other]\nledger = "auto"\ntracking = "auto"\nartifacts = "auto"\n')
    told = profiles.as_written("lab")
    assert "${LAB_PASSWORD}" in told and "s3cret" not in told and "other" not in told
    here = profiles.load("lab")
    config.write_text(told)
    assert profiles.load("lab") == here
    config.write_text(LAB.replace("${LAB_PASSWORD}", "${LAB_PASSWORD:-s3cret}"))
    with pytest.raises(UserError, match=r"profile 'lab' has a password in ledger, .*write \$\{NAME\} there"):
        profiles.as_written("lab")
