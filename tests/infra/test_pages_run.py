"""The blocks of the pages, run in order as their reader would: in a folder with the files that the page speaks of, with
an empty home, each line in a process of its own that must end well.

Where a line takes long, ``INSTEAD`` says what is run; what can't be run is in ``ELSEWHERE``, with the reason. All
else that a page shows is run.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from infra.docs.__main__ import PAGES
from tests.infra.given import FORCED, GIVEN, SMALL, save
from tests.infra.shell import ROOT, Shell
from tests.infra.test_docs import FENCE
from tests.infra.test_pages import free_port

FILES = {str(f.relative_to(PAGES).with_suffix("")): f for f in sorted(PAGES.rglob("*.md"))} | {
    "README": ROOT / "README.md"
}
SETS = " ".join(f"--set {word}" for word in SMALL)
PORT = free_port()


class Instead(NamedTuple):
    page: str  # "": any
    shown: str  # a pattern
    run: str


INSTEAD = [
    Instead("", r"gansweep promote [\w-]+", rf"\g<0> {FORCED}"),
    Instead("", r"sweep\.promote\(\)", "sweep.promote(force=True, reason='trained for a moment')"),
    Instead("", r"\btrials([ =])(8|24)\b", r"trials\g<1>3"),
    Instead("", r"(init images \S+)( --minutes \d+)?", r"\1 --minutes 1"),
    Instead("", r"(train\.images\W+)20_000", r"\g<1>512"),
    Instead("", r"/data/", "./"),
    Instead("", r"curl ", "curl -fsS "),
    Instead("README", r"submit faces.yaml", rf"\g<0> {SETS}"),
    Instead("tutorial", r"submit shapes.yaml", rf"\g<0> {SETS}"),
    Instead("faq", r"train.images=1?(8|2)0_000 --set", "train.images=512 --set"),
    Instead("faq", r"every_images=10_000", "every_images=256"),
    Instead("how-to/augmentation", r"--per-class \d+( --gain)?", "--per-class 4"),
    Instead("how-to/notify", r"submit faces.yaml", r"\g<0> --trials 8"),  # of the first two none finishes well
    Instead("how-to/resume", r"delete digits  ", "delete digits --yes"),  # asked at a terminal
    Instead("how-to/resume", r"sync digits", "sync digits-2"),  # as the other is deleted by then
    Instead("how-to/search", r"--trials 200", "--trials 10"),
    Instead("how-to/serve", r"\S*gansweep serve models:\S+( --host \S+)?", rf"\g<0> --port {PORT}"),
    Instead("how-to/serve", r"[\w.]+:8000", f"127.0.0.1:{PORT}"),
    Instead("how-to/several-gpus", r"--ranks 8", "--ranks 2"),
]


class Elsewhere(NamedTuple):
    page: str
    shown: str  # a part of the line; of Python, of the block
    why: str


ELSEWHERE = [
    Elsewhere("README", "make demo", "installs; its two commands are run first"),
    Elsewhere("README", "make test", "is what runs this"),
    Elsewhere("README", "torchrun", "several machines"),
    Elsewhere("README", "--address", "a cluster: tests/infra/test_pages.py::test_ray_jobs"),
    Elsewhere("tutorial", "pip install .", "tests/orchestrator/test_package.py::test_it_works_in_a_fresh_environment"),
    Elsewhere("how-to/cluster", "", "a cluster: tests/infra/test_pages.py::test_ray_jobs, tests/infra/test_cluster.py"),
    Elsewhere("how-to/medical", "pip install", "an installation"),
    Elsewhere("how-to/mlflow-server", "gansweep ", "tests/infra/test_pages.py::test_mlflow_server"),
    Elsewhere("how-to/mlflow-server", "pip install", "tests/infra/test_pages.py::test_mlflow_server"),
    Elsewhere("how-to/mlflow-server", "export", "tests/infra/test_pages.py::test_mlflow_server"),
    Elsewhere("how-to/mlflow-server", "mlflow server", "tests/infra/test_pages.py::test_mlflow_server"),
    Elsewhere("how-to/postgresql", "", "tests/infra/test_pages.py::test_postgresql"),
    Elsewhere("how-to/s3", "", "tests/infra/test_pages.py::test_s3"),
    Elsewhere("how-to/several-gpus", "torchrun", "several machines"),
    Elsewhere(
        "how-to/search",
        "stop 7",
        "one that runs: tests/orchestrator/test_python.py::test_single_trials_are_asked_for_and_ended",
    ),
    Elsewhere("how-to/serve", "@day.jpg", "a translator's: tests/orchestrator/test_serving.py"),
    Elsewhere("how-to/serve", "mlflow models serve", "tests/orchestrator/test_registered.py"),
    Elsewhere("how-to/serve", "/invocations", "tests/orchestrator/test_registered.py"),
]


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    (tmp_path / "configs").mkdir()
    for file in (ROOT / "configs").glob("*.yaml"):
        save(tmp_path / "configs" / file.name, file.read_text())
    return Shell(tmp_path)


# -- the pages ---------------------------------------------------------------------------------------------------------

QUICK = ("tutorial", "how-to/serve")
"""What is run with every other test, in a minute and a half on two cores; the rest takes ten, by hand with -m slow."""


def runnable() -> Iterator[Any]:
    for page in FILES:
        if any(kind != "yaml" for kind, _ in steps(page)):
            marks = [] if page in QUICK else [pytest.mark.slow]
            yield pytest.param(page, id=page, marks=marks)


def steps(page: str) -> Iterator[tuple[str, str]]:
    """Language and text of all that is run: lines of the console, blocks of Python, and files to save before."""
    for language, step in shown(page):
        if not any(page == row.page and row.shown in step for row in ELSEWHERE):
            yield language, step


def shown(page: str) -> Iterator[tuple[str, str]]:
    for fence in FENCE.finditer(FILES[page].read_text()):
        text = textwrap.dedent(fence[3])
        if fence[2] in ("console", "python", "yaml"):
            yield from ((fence[2], step) for step in (text.splitlines() if fence[2] == "console" else [text]))


def ours(page: str, step: str) -> str:
    for row in INSTEAD:
        if row.page in ("", page):
            step = re.sub(row.shown, row.run, step)
    return step


@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", runnable())
def test_the_blocks_of_a_page_run(page: str, shell: Shell) -> None:
    for make in GIVEN.get(page, []):
        make(shell)
    with ExitStack() as servers:
        for language, step in steps(page):
            run(shell, language, ours(page, step), servers)


def run(shell: Shell, language: str, step: str, servers: ExitStack) -> None:
    if language == "yaml":
        if "name" in (values := yaml.safe_load(step)):
            save(shell.folder / f"{values['name']}.yaml", step)
    elif language == "python" and (saved := re.match(r"# (\w+\.py)\n", step)):
        (shell.folder / saved[1]).write_text(step)
    elif language == "python":
        shell.python(step)
    elif re.match(r"\S*gansweep (ui|serve)\b", step):
        servers.close()  # there is one at a time
        servers.enter_context(shell.lasting(step))
    else:
        shell.type(step)


def test_what_is_said_of_the_pages_is_still_on_them() -> None:
    for row in ELSEWHERE:
        assert any(row.shown in step for _, step in shown(row.page)), f"no such line any more: {row}"
        for file, name in re.findall(r"(tests/\S+\.py)(?:::(\w+))?", row.why):
            assert f"def {name}" in (ROOT / file).read_text(), f"no such test any more: {row}"
    for change in INSTEAD:
        pages = [change.page] if change.page else FILES
        assert any(re.search(change.shown, step) for page in pages for _, step in steps(page)), f"idle: {change}"
    assert {*GIVEN, *QUICK} <= FILES.keys()
