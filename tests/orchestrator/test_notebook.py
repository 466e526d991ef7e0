"""A notebook in a real kernel: what its reader sees."""

from __future__ import annotations

import base64
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook
from PIL import Image

from orchestrator.artifacts import store_of
from orchestrator.paths import Home
from tests.orchestrator.test_cli import stand
from tests.orchestrator.test_python import SHORT
from tests.orchestrator.test_serving import trained
from tests.trainers.small import config
from trainers.pictures import image_grid


def shown(cells: list[str], home: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[dict[str, Any]]]:
    """What each cell shows, by kind."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path.cwd()), str(Path("orchestrator/python").absolute())]))
    monkeypatch.setenv("GANSWEEP_HOME", str(home))
    monkeypatch.setenv("IPYTHONDIR", str(home.parent / "ipython"))
    notebook = new_notebook(cells=[new_code_cell(cell) for cell in cells])  # type: ignore[no-untyped-call]
    NotebookClient(notebook, timeout=200, kernel_name="python3").execute()
    return [[output.get("data", {}) for output in cell.outputs] for cell in notebook.cells]


def pictures(html: str) -> list[Image.Image]:
    found = html.split("data:image/png;base64,")[1:]
    return [Image.open(io.BytesIO(base64.b64decode(text.partition('"')[0]))) for text in found]


def test_a_sweep_is_a_table_with_a_grid_and_a_generator_a_grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    ledger = stand(home, lambda leg, images: {"fid": 50.0 / images + leg.trial})
    best, checkpoint = ledger.best(), trained(config(train={"images": 160}), tmp_path / "out")
    assert best is not None
    grid = checkpoint.parents[1] / f"samples/{checkpoint.name}.png"
    store_of(ledger.sweep, Home.open(home)).put(grid, f"{ledger.key}/trials/{best.id}/samples/{best.images}.png")
    load = f"import gansweep\nsweep = gansweep.load('small')\ngenerator = gansweep.Generator.load({str(checkpoint)!r})"
    cells = [load, "sweep", "sweep.watch()", "generator", "sweep.trials"]
    nothing, table, watched, drawn, frame = shown(cells, home, monkeypatch)
    assert nothing == []
    assert "<b>small</b>: finished, 3 trials" in table[0]["text/html"] and "<table" in table[0]["text/html"]
    assert [picture.size for picture in pictures(table[0]["text/html"])] == [Image.open(grid).size]
    assert watched[0]["text/html"] == table[0]["text/html"], "it is over: shown once, and the cell returns"
    picture = Image.open(io.BytesIO(base64.b64decode(drawn[0]["image/png"])))
    assert picture.size == image_grid(np.zeros((64, 8, 8, 1), np.uint8)).size
    assert "params.train.generator_lr" in frame[0]["text/html"]


@pytest.mark.slow  # half a minute: a sweep runs
def test_a_sweep_that_runs_is_shown_until_its_end_in_one_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {**SHORT, "search": {**SHORT["search"], "trials": 2}}
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(asked))
    begin = f"import gansweep\nsweep = gansweep.submit({str(tmp_path / 'sweep.yaml')!r})"
    _, watched, state = shown([begin, "sweep.watch()", "sweep.state"], tmp_path / "home", monkeypatch)
    (only,) = watched
    assert "finished, 2 trials, best" in only["text/html"] and state[0]["text/plain"] == "'finished'"
