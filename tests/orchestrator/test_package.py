"""What is built is whole: a wheel, made of the sdist, works where there are no sources."""

from __future__ import annotations

import re
import subprocess
import tarfile
import venv
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

from tests.installed import PAPERS, ROOT, build, environment, install


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return build(tmp_path_factory.mktemp("build"))


def test_the_wheel_has_all_that_is_read_at_run_time_and_nothing_twice(built: tuple[Path, Path]):
    names = zipfile.ZipFile(built[0]).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {
        "gansweep",
        "orchestrator",
        "trainers",
    }
    assert not [name for name in names if name.startswith("orchestrator/python")]
    wanted = [
        f.relative_to(ROOT) for kind in ("*.css", "*.js", "py.typed") for f in (ROOT / "orchestrator").rglob(kind)
    ]
    assert [str(f) for f in wanted if "python" not in f.parts and str(f) not in names] == []
    assert {"gansweep/py.typed", "gansweep/configs/digits.yaml"} <= set(names)
    with tarfile.open(built[1]) as sdist:
        packed = sdist.getnames()
    assert "gansweep/configs/digits.yaml" in "\n".join(packed)
    assert {*PAPERS, "MANIFEST.in", "pyproject.toml"} <= {name.partition("/")[2] for name in packed}


def test_the_wheel_holds_its_licence_and_the_extras_that_people_are_told_of(built: tuple[Path, Path]):
    with zipfile.ZipFile(built[0]) as wheel:
        (info,) = (name.split("/")[0] for name in wheel.namelist() if name.endswith("/METADATA"))
        metadata = message_from_bytes(wheel.read(f"{info}/METADATA"))
        assert wheel.read(f"{info}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
        assert "gansweep = orchestrator.cli:main" in wheel.read(f"{info}/entry_points.txt").decode().splitlines()
    assert metadata.get_payload(decode=True) == (ROOT / "README.md").read_bytes()
    assert [told[-4:] for told in metadata.get_all("Classifier", [])] == ["3.11", "3.12", "3.13"]
    assert metadata["License-Expression"] == "Apache-2.0"
    texts = [f.read_text() for part in ("README.md", "infra", "orchestrator", "trainers") for f in files(ROOT / part)]
    told = {name for text in texts for names in re.findall(r"gansweep\[([\w,]+)\]", text) for name in names.split(",")}
    assert {"docs", "medical"} <= told <= set(metadata.get_all("Provides-Extra", []))


def files(place: Path) -> list[Path]:
    return [place] if place.is_file() else [f for kind in ("*.md", "*.py", "*Dockerfile") for f in place.rglob(kind)]


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_pip_installs_it_with_all_that_it_needs(built: tuple[Path, Path], tmp_path: Path):
    """Into an environment that has nothing: minutes, most of them for torch."""
    venv.create(tmp_path / "venv", with_pip=True)
    programs = tmp_path / "venv/bin"
    pip = [str(programs / "python"), "-m", "pip", "install", "-q", "-c", str(ROOT / "constraints.txt"), str(built[0])]
    subprocess.run(pip, check=True, env=environment())
    works(programs, tmp_path)


def test_it_works_in_a_fresh_environment(built: tuple[Path, Path], tmp_path: Path):
    """With the dependencies of this one."""
    works(install(built[0], tmp_path / "venv"), tmp_path)


def works(programs: Path, tmp_path: Path) -> None:
    def run(*words: str) -> str:
        command = [str(programs / words[0]), *words[1:]]
        done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = run("python", "-W", "error", "-c", "import gansweep; print(gansweep.__file__, gansweep.__version__)")
    assert where.startswith(str(tmp_path / "venv"))
    assert run("gansweep", "--version").split()[1] == where.split()[1]
    assert "written: digits.yaml" in run("gansweep", "init", "digits")
    assert (tmp_path / "digits.yaml").read_text() == (ROOT / "configs/digits.yaml").read_text()
    assert "24 trials" in run("gansweep", "plan", "digits.yaml")
