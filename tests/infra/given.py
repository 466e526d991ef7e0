"""What the pages presume: pictures, sweep files, sweeps and registered generators, each as small as will do."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from tests.benchmarks.reach import draw
from tests.infra.shell import Shell
from tests.orchestrator.registered import registered
from tests.orchestrator.test_augmenting import trained
from tests.trainers.small import config as gan
from tests.trainers.test_translate import config as translator
from trainers.config import Config
from trainers.settings import read

SMALL = [
    "train.images=512",
    "evaluate.every_images=256",
    "evaluate.samples=32",
    "search.trials=2",
    "rungs=null",
    "health.stop=never",
    "confirm.top=0",
    "resources.workers_per_trial=1",
]
"""Laid over every sweep file that a page begins with."""

FORCED = "--force --reason 'trained for a moment'"


def digits(shell: Shell) -> None:
    """What ``make demo`` leaves."""
    shell.type("gansweep submit configs/digits.yaml")
    shell.type(f"gansweep promote digits {FORCED}")


def pictures(name: str) -> Callable[[Shell], None]:
    return lambda shell: draw(shell.folder / name, 80, 8)


def champion(name: str, config: Config, shell: Shell) -> None:
    """A registered generator, without the sweep."""
    registry = shell.folder / "gansweep-home/mlflow"
    registry.mkdir(parents=True, exist_ok=True)
    registered(trained(config, shell.folder / "user" / name), name, registry)


def pets(shell: Shell) -> None:
    for kind in ("cats", "dogs"):
        draw(shell.folder / "pets" / kind, 20, 8)
    data = {"name": "images", "path": str(shell.folder / "pets"), "resolution": 8, "channels": 3}
    champion("pets", gan(data=data, model=CONDITIONAL), shell)


def celeba(shell: Shell) -> None:
    """As the page's sweep file has it."""
    draw(shell.folder / "people", 40, 8)
    images = [{"bytes": file.read_bytes()} for file in sorted((shell.folder / "people").iterdir())]
    columns = {"image": images, "Smiling": [-1, 1] * 20, "age": [20.5 + n for n in range(40)]}
    pq.write_table(pa.table(columns), shell.folder / "celeba.parquet")
    data = {"name": "parquet", "path": str(shell.folder / "celeba.parquet"), "resolution": 8, "channels": 3}
    champion("celeba", gan(data=data | {"label_column": ["Smiling", "age"]}, model=CONDITIONAL), shell)


def inked_digits(shell: Shell) -> None:
    champion("inked-digits", translator(), shell)


def flags(shell: Shell) -> None:
    champion("flags", gan(data={"name": "flags", "resolution": 32}, model=CONDITIONAL), shell)
    shell.type("gansweep sample models:/flags@champion -n 1 -o x.png")


def drawn_faces(shell: Shell) -> None:
    champion("faces", gan(data={"name": "faces", "resolution": 64}, model=CONDITIONAL), shell)


def plain_digits(shell: Shell) -> None:
    champion("digits", gan(), shell)


def sweep_of_digits(shell: Shell) -> None:
    shutil.copy(shell.folder / "configs/digits.yaml", shell.folder)
    shell.type("gansweep submit digits.yaml")


def sweep_of_faces(shell: Shell) -> None:
    shell.type("gansweep submit faces.yaml --trials 8")
    save(shell.folder / "cats.yaml", FACES.replace("name: faces", "name: cats"))


def faces_file(shell: Shell) -> None:
    draw(shell.folder / "faces", 80, 8)
    save(shell.folder / "faces.yaml", FACES)


CONDITIONAL = {"conditional": True}
FACES = """
name: faces
data: {name: images, path: faces, resolution: 8, channels: 3}
model: {generator: mlp, discriminator: mlp, latent_dim: 8, width: 16, depth: 2}
train: {batch_size: 16, generator_lr: 2.0e-3, discriminator_lr: 2.0e-3}
search: {space: {train.generator_lr: {float: [1.0e-4, 1.0e-2], log: true}, train.beta1: {float: [0.0, 0.9]}}}
"""
GIVEN: dict[str, list[Callable[[Shell], None]]] = {
    "README": [digits, pictures("faces")],
    "tutorial": [pictures("shapes")],
    "how-to/augmentation": [pets, inked_digits],
    "how-to/conditions": [celeba, drawn_faces],
    "how-to/images": [faces_file, pets],
    "how-to/medical": [flags],
    "how-to/mlflow-server": [plain_digits],
    "how-to/notify": [faces_file],
    "how-to/resume": [sweep_of_digits],
    "how-to/search": [faces_file, sweep_of_faces],
    "how-to/serve": [plain_digits],
    "how-to/several-gpus": [faces_file],
    "how-to/translation": [inked_digits, pictures("PICTURES")],
}


def save(file: Path, text: str) -> None:
    """A sweep file, made small."""
    file.write_text(text)
    values = read(file, SMALL).values
    if values["data"]["name"] == "digits" and "family" not in values:
        values["evaluate"]["extractor"] = "raw"  # theirs is trained first
    file.write_text(yaml.safe_dump(values))
