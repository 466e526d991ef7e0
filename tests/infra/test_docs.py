"""What the pages say holds: links, sweep files, Python, commands, and what was generated from the code."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import gansweep
import pytest
import typer.main
import yaml

from infra.docs.__main__ import PAGES, pages
from orchestrator import profiles
from orchestrator.cli import app
from orchestrator.spec import Sweep, load

ROOT = Path(__file__).parents[2]
FILES = sorted([ROOT / "README.md", *(ROOT / "infra").rglob("*.md")])
FENCE = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.M | re.S)


class Block(NamedTuple):
    file: Path
    language: str
    text: str


def blocks(*languages: str) -> list[Any]:
    found = [Block(f, m[2], textwrap.dedent(m[3])) for f in FILES for m in FENCE.finditer(f.read_text())]
    chosen = [block for block in found if block.language in languages]
    return [pytest.param(block, id=f"{named(block.file)}-{number}") for number, block in enumerate(chosen)]


def named(file: Path) -> str:
    return str(file.relative_to(ROOT).with_suffix(""))


# -- links -------------------------------------------------------------------------------------------------------------


def anchors(file: Path) -> set[str]:
    """As MkDocs and GitHub make them of headings."""
    headings = re.findall(r"^#+ (.*)$", file.read_text(), re.M)
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}


@pytest.mark.parametrize("file", FILES, ids=named)
def test_links_lead_somewhere(file: Path) -> None:
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", file.read_text())):
        place, _, anchor = link.partition("#")
        target = (file.parent / place) if place else file
        if ":" in place:
            continue
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


def test_pages_refer_to_parts_of_the_repository_that_exist() -> None:
    for file in [ROOT / "README.md", *PAGES.rglob("*.md")]:
        for path in re.findall(r"`((?:trainers|orchestrator|infra|tests|configs)/[\w./-]*)`", file.read_text()):
            assert (ROOT / path).exists(), f"{named(file)}: {path}"


# -- sweep files and profiles ------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With the files that pages ask their readers to save."""
    for block in blocks("python"):
        text = block.values[0].text
        if saved := re.match(r"# (\w+\.py)\n", text):
            (tmp_path / saved[1]).write_text(text)
    monkeypatch.setenv("LEDGER_PASSWORD", "secret")
    return tmp_path


@pytest.mark.parametrize("block", blocks("yaml"))
def test_sweep_files_are_accepted(block: Block, folder: Path) -> None:
    values = yaml.safe_load(block.text)
    if not values.keys() & Sweep.model_fields.keys():
        assert PAGES not in block.file.parents and block.file.parent != ROOT, "no part of a sweep file"
        return
    (folder / "sweep.yaml").write_text(yaml.safe_dump({"name": "part", **values}))
    load(folder / "sweep.yaml")


@pytest.mark.parametrize("block", blocks("toml"))
def test_profiles_are_accepted(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.toml").write_text(block.text)
    monkeypatch.setenv("GANSWEEP_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setenv("LAB_PASSWORD", "secret")
    assert "secret" in profiles.load("lab").ledger


@pytest.mark.parametrize("name", ["mine", "circle"])
def test_own_code_trains(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (block.values[0] for block in blocks("yaml") if "own-code" in block.id)
    (text,) = (block.text for block in page if f"./{name}.py:" in block.text)
    (folder / "sweep.yaml").write_text(yaml.safe_dump({"name": name, **yaml.safe_load(text)}))
    short: dict[str, Any] = {
        "train.images": 128,
        "evaluate.every_images": 128,
        "evaluate.samples": 32,
        "evaluate.real_samples": 100,
    }
    short |= {"evaluate.extractor": "random-conv"} if name == "mine" else {}  # that of digits is trained first
    trained = gansweep.train(folder / "sweep.yaml", set=short, out=folder / "out")
    assert [report.images for report in trained.reports] == [128]


# -- Python ------------------------------------------------------------------------------------------------------------

SCOPE = {
    "gansweep": gansweep,
    "sweep": gansweep.Handle,
    "report": gansweep.TrialReport,
    "generator": gansweep.Generator,
    "trained": gansweep.Trained,
}
"""What the names in the pages stand for; of instances, their class."""


def resolved(node: ast.expr) -> Any:
    """What an expression such as ``sweep.promote`` stands for; None where that can't be said."""
    if isinstance(node, ast.Name):
        return SCOPE.get(node.id)
    if not isinstance(node, ast.Attribute) or (owner := resolved(node.value)) is None:
        return None
    assert node.attr in {*dir(owner), *owner.__annotations__}, f"{ast.unparse(node)} does not exist"
    known = getattr(owner, node.attr, None)
    return None if isinstance(known, property) else known


@pytest.mark.parametrize("block", blocks("python"))
def test_python_calls_what_exists(block: Block) -> None:
    tree = ast.parse(block.text)
    compile(tree, str(block.file), "exec")
    if not re.search(r"^import gansweep$", block.text, re.M):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            resolved(node)
        if isinstance(node, ast.Call) and (called := resolved(node.func)) is not None:
            of_instance = inspect.isfunction(called) and "." in called.__qualname__
            given = [*([None] if of_instance else []), *node.args]
            inspect.signature(called).bind(*given, **{key.arg: key.value for key in node.keywords if key.arg})


def test_python_that_costs_nothing_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (text,) = (b.values[0].text for b in blocks("python") if "gansweep.plan(" in b.values[0].text)
    exec(compile(text, "page", "exec"), {})
    assert "did you mean 'batch_size'" in capsys.readouterr().out


# -- commands ----------------------------------------------------------------------------------------------------------


def commands(text: str) -> Iterator[str]:
    """Of lines in code, fenced or indented, and of code within sentences: what follows ``gansweep``."""
    code = [line for line in text.splitlines() if line.startswith("    ")]
    code += [line for fence in FENCE.finditer(text) if fence[2] == "console" for line in fence[3].splitlines()]
    code += re.findall(r"`([^`\n]+)`", FENCE.sub("", text))
    for line in (part for whole in code for part in whole.split("&&")):
        if found := re.match(r"\s*(?:\w+=\S+ |.*exec \w+ |\S*/)?gansweep( [a-z-].*)", re.sub(r"\s#.*", "", line)):
            yield re.sub(r"[][]|…", " ", found[1])


@pytest.mark.parametrize("file", FILES, ids=named)
def test_commands_exist_with_their_options(file: Path) -> None:
    root: Any = typer.main.get_command(app)
    for line in commands(file.read_text()):
        command, words = root, shlex.split(line)
        while hasattr(command, "commands") and words:
            assert words[0] in command.commands or words[0].startswith("-"), f"gansweep{line}"
            command = command.commands.get(words[0], command)
            words = words[1:]
        if not hasattr(command, "commands"):
            context = command.make_context("gansweep", [], resilient_parsing=True)
            context.resilient_parsing = False  # from here on a wrong option is an error
            _, left, _ = command.make_parser(context).parse_args(words)
            assert not left, f"gansweep{line}"


# -- what is generated -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", pages())
def test_generated_pages_are_those_of_this_code(name: str) -> None:
    assert (PAGES / name).read_text() == pages()[name], "run: python -m infra.docs"


def test_html_is_built_without_a_warning(tmp_path: Path) -> None:
    words = ["-m", "mkdocs", "build", "--strict", "-f", PAGES / "mkdocs.yml", "-d", tmp_path / "site"]
    done = subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "site/docs/index.html").read_text()
    assert not re.search(r'(?:src|href)="https?://', re.sub(r"<a [^>]*>", "", page)), "asks the network"
    assert "<table>" not in page, "has no lines"
