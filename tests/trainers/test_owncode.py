"""Code from files beside the settings: what travels, how it is found again, what is refused."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.trainers.small import config
from trainers.config import Config
from trainers.errors import OwnCodeError
from trainers.loop import train
from trainers.reading import owncode, ownimports
from trainers.reading.document import Document
from trainers.state import load_generator
from trainers.world import World

NET = """
import math
from parts.layers import block
from torch import nn

class Net(nn.Module):
    def __init__(self, settings, space):
        super().__init__()
        self.shape = space.shape
        self.body = block(settings.latent_dim, math.prod(space.shape))

    def forward(self, latents, labels=None):
        return self.body(latents).view(-1, *self.shape)
"""
LAYERS = """
from torch import nn

def block(a, b):
    return nn.Sequential(nn.Linear(a, b), nn.Tanh())
"""


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__loader__", None) is ownimports._LOADER:
            del sys.modules[name]
    ownimports._LOADER.bundles.clear()
    ownimports._LOADER._done.clear()
    ownimports._LOADER._current = None


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        file = folder / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder


def gathered(folder: Path, name: str, group: str = "model", key: str = "generator") -> Document:
    document = Document("sweep.yaml", {group: {key: name}})
    owncode.gather(document, folder)
    return document


def found(folder: Path, name: str) -> Any:
    document = gathered(folder, name)
    assert not document.problems
    ownimports.provide(document.values["code"])
    return ownimports.find(document.values["model"]["generator"], "model.generator")


def problem(folder: Path, name: str) -> str:
    (one,) = gathered(folder, name).problems
    assert one.where == "model.generator"
    return one.message


def test_a_file_travels_with_what_it_imports_from_beside_itself(tmp_path: Path) -> None:
    write(tmp_path, mynet=NET, other="x = 1", **{"parts/layers": LAYERS})
    values = gathered(tmp_path, "./mynet.py:Net").values
    ((sha, bundle),) = values["code"].items()
    assert list(bundle) == ["mynet.py", "parts/layers.py"]
    assert values["model"]["generator"] == f"./mynet.py:Net@{sha[:12]}"
    write(tmp_path, **{"parts/layers": LAYERS + "# changed"})
    assert gathered(tmp_path, "./mynet.py:Net").values["model"]["generator"] != values["model"]["generator"]


def test_a_training_brings_its_code_to_its_checkpoint_and_a_stranger_s_is_not_run(tmp_path: Path) -> None:
    write(tmp_path / "from", mynet=NET, **{"parts/layers": LAYERS})
    values = gathered(tmp_path / "from", "./mynet.py:Net").values
    settings = config(model=values["model"]).model_copy(update={"code": values["code"]})
    (report, _) = train(Config.model_validate(settings.model_dump()), World.single(), out=tmp_path)
    assert report.checkpoint is not None
    (sha,) = values["code"]
    with pytest.raises(OwnCodeError, match=rf"brings code of its own \(mynet.py, parts/layers.py\).*{sha}"):
        load_generator(report.checkpoint)
    theirs, generator = load_generator(report.checkpoint, trusted=[sha])
    assert type(generator).__name__ == "Net"
    assert owncode.standing(theirs.model_dump(mode="json"), tmp_path / "from") == {sha}
    write(tmp_path / "from", mynet=NET + "# changed")
    assert owncode.standing(theirs.model_dump(mode="json"), tmp_path / "from").isdisjoint({sha})


def test_two_versions_of_a_file_live_side_by_side(tmp_path: Path) -> None:
    write(tmp_path / "a", net="from part import word\nclass Net: says = word", part="word = 1")
    write(tmp_path / "b", net="from part import word\nclass Net: says = word", part="word = 2")
    one, two = (found(tmp_path / folder, "./net.py:Net") for folder in "ab")
    assert (one.says, two.says, found(tmp_path / "a", "./net.py:Net")) == (1, 2, one)


def test_packages_and_modules_beside_the_file(tmp_path: Path) -> None:
    net = "from .part import word\nfrom . import part\nclass Net: says = word"
    write(tmp_path, **{"pkg/__init__": "", "pkg/net": net, "pkg/part": "word = 3"})
    assert found(tmp_path, "./pkg/net.py:Net").says == 3
    assert found(tmp_path, "pkg.net:Net").says == 3
    assert gathered(tmp_path, "torch.nn:Linear").values == {"model": {"generator": "torch.nn:Linear"}}


def test_choices_of_a_search_space_are_gathered_too(tmp_path: Path) -> None:
    write(tmp_path, net="class Net: ...")
    document = Document("", {"search": {"space": {"model.generator": {"choice": ["mlp", "./net.py:Net"]}}}})
    owncode.gather(document, tmp_path)
    mlp, own = document.values["search"]["space"]["model.generator"]["choice"]
    assert (mlp, own[:14]) == ("mlp", "./net.py:Net@" + own[13])


def test_what_is_wrong_with_a_file_is_said_before_anything_runs(tmp_path: Path) -> None:
    write(tmp_path, broken="x = (\n", net="class Net: ...\nraise SystemExit(1)", big="x = 1 #" + "." * 1_000_000)
    assert problem(tmp_path, "./gone.py:Net") == f"there is no {tmp_path}/gone.py"
    assert problem(tmp_path, "./broken.py:Net") == f"{tmp_path}/broken.py, line 1: '(' was never closed"
    assert problem(tmp_path, "./net.py:Nett") == f"{tmp_path}/net.py defines no 'Nett'; did you mean 'Net'?"
    assert "at most 1,000,000 can travel" in problem(tmp_path, "./big.py:x")


def test_a_module_that_fails_to_import_is_told_with_file_line_and_node(tmp_path: Path) -> None:
    write(tmp_path, net="import part\nclass Net: ...", part="\nimport not_installed_here")
    values = gathered(tmp_path, "./net.py:Net").values
    (sha,) = values["code"]
    ownimports.provide(values["code"])
    where = rf"\({sha[:12]}/part.py, line 2\)"
    says = rf"model.generator: .*{socket.gethostname()}: ModuleNotFoundError: .*'not_installed_here' {where}"
    with pytest.raises(OwnCodeError, match=says):
        ownimports.try_all(values)


def test_a_file_called_like_a_loaded_module_is_refused(tmp_path: Path) -> None:
    write(tmp_path, yaml="class Net: ...")
    with pytest.raises(OwnCodeError, match=r"yaml.py is called like a module that is loaded here"):
        found(tmp_path, "./yaml.py:Net")


def test_edited_sources_do_not_pass_for_those_that_were_gathered(tmp_path: Path) -> None:
    write(tmp_path, net="class Net: ...")
    code = gathered(tmp_path, "./net.py:Net").values["code"]
    (sha,) = code
    with pytest.raises(ValueError, match=r"net.py: the sources have changed"):
        Config.model_validate({"code": {sha: {"net.py": "class Net: evil = True"}}})
