"""The package as a user gets it: built, and installed into an environment of its own."""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAPERS = ("README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md")
PARTS = ("orchestrator", "trainers", "configs", "pyproject.toml", "MANIFEST.in", *PAPERS)


def build(folder: Path) -> tuple[Path, Path]:
    """Wheel and sdist, from a copy of the sources, so that nothing is left beside them; the wheel is made of the
    sdist.
    """
    source = folder / "source"
    source.mkdir(parents=True)
    for part in PARTS:
        if (ROOT / part).is_dir():
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / part, source / part, symlinks=True, ignore=ignore)
        else:
            shutil.copy2(ROOT / part, source)
    code = f"from setuptools import build_meta; print(build_meta.build_sdist({str(folder)!r}))"
    name = _run([sys.executable, "-c", code], source).splitlines()[-1]
    shutil.unpack_archive(folder / name, folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    code = f"from setuptools import build_meta; print(build_meta.build_wheel({str(folder)!r}))"
    return folder / _run([sys.executable, "-c", code], unpacked).splitlines()[-1], folder / name


def install(wheel: Path, folder: Path) -> Path:
    """Into a fresh environment, whose dependencies are those of this one; returns its folder of programs."""
    venv.create(folder, with_pip=False, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    offline = ["--no-deps", "--no-index", "--target", str(packages)]
    _run([sys.executable, "-m", "pip", "install", "-q", *offline, str(wheel)], ROOT)
    (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()))
    programs = folder / "bin"
    script = programs / "gansweep"  # which --target puts elsewhere
    script.write_text(f"#!{programs}/python\nfrom orchestrator.cli import main\nmain()\n")
    script.chmod(0o755)
    return programs


def environment() -> dict[str, str]:
    """Without what would lead to the sources."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def _run(command: list[str], where: Path) -> str:
    done = subprocess.run(command, cwd=where, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
